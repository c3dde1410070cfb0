"""Score sets without training: the ridge head in networks that no stage has seen, on images of the training split.

    python -m experiments.held_out runs/cifar10_ipc1 --data_dir ~/tensorflow_datasets

A minute for any number of sets, against a minute for each trained network, and no test image is looked at: for choosing
between settings. It does not replace `evaluate`: what it prefers by less than about a point, trained networks may not.
"""

import argparse
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from fsdd.core import krr, losses, synthetic, whitening
from fsdd.core.synthetic import SyntheticSet
from fsdd.data import sources
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet


class Judge:
    """Networks that no stage has seen, with the features of real images in them."""

    def __init__(self, config: dict, data_dir: str | None, networks: int = 16, images: int = 1000):
        """Of the set and the networks of a run's config, by dotted names."""
        data = sources.load(config["dataset"], data_dir=data_dir, image_size=config["image_size"])
        fitted = whitening.fit(data.train_images, config["whitening.kind"], config["whitening.regularisation"])
        rows = np.random.default_rng(0).permutation(len(data.train_labels))[:images]
        real = fitted.apply(data.train_images[rows])
        self._labels = jnp.asarray(synthetic.centred_labels(data.train_labels[rows], data.num_classes))
        self._flip = config["objective.flip"]
        network = ConvNet(
            data.num_classes,
            config["network.width"],
            config["network.depth"],
            config["network.norm"],
            config["network.initialisation"],
        )
        self._features = jax.jit(lambda variables, x: sampling.features(network, variables, x))
        # Far from the seeds of stages, which count from 0.
        keys = jax.random.split(jax.random.key(2**31), networks)
        self._networks = [sampling.sample(network, key, data.image_shape) for key in keys]
        chunks = [real[at : at + 125] for at in range(0, len(real), 125)]
        self._real = [jnp.concatenate([self._features(one, chunk) for chunk in chunks]) for one in self._networks]

    def __call__(self, found: SyntheticSet) -> dict[str, float]:
        """Means over networks of a set's ridge heads.

        `nfr` is the squared error summed over classes, `nfr_std` its spread, `scale` the factor of the predictions that
        is best for it and `nfr_scaled` what it then is; `accuracy` is in percent.
        """
        found = found.mirrored() if self._flip else found
        predictions = [
            krr.predict(real, self._features(variables, found.images), found.labels)
            for variables, real in zip(self._networks, self._real, strict=True)
        ]
        scales = [float(losses.best_scale(prediction, self._labels)) for prediction in predictions]
        nfr = np.array([losses.squared_error(prediction, self._labels) for prediction in predictions])
        pairs = zip(scales, predictions, strict=True)
        scaled = np.mean([losses.squared_error(scale * prediction, self._labels) for scale, prediction in pairs])
        accuracy = 100 * np.mean([losses.accuracy(prediction, self._labels) for prediction in predictions])
        return {
            "nfr": round(float(nfr.mean()), 4),
            "nfr_std": round(float(nfr.std(ddof=1)), 4),
            "scale": round(float(np.mean(scales)), 3),
            "nfr_scaled": round(float(scaled), 4),
            "accuracy": round(float(accuracy), 2),
        }


def load(path: pathlib.Path) -> SyntheticSet:
    """A stage's set."""
    with np.load(path) as arrays:
        return SyntheticSet(jnp.asarray(arrays["images"]), jnp.asarray(arrays["labels"]))


def main() -> None:
    """Print accuracy and loss of every stage of the given workdirs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workdirs", nargs="+", type=pathlib.Path)
    parser.add_argument("--data_dir")
    parser.add_argument("--networks", type=int, default=16)
    parser.add_argument("--images", type=int, default=1000)
    arguments = parser.parse_args()
    config = json.loads((arguments.workdirs[0] / "results.json").read_text())["config"]
    judge = Judge(config, arguments.data_dir, arguments.networks, arguments.images)
    for folder in arguments.workdirs:
        for path in sorted(folder.glob("*/set.npz")):
            scores = judge(load(path))
            print(f"{path.parent}: {', '.join(f'{name} {value}' for name, value in scores.items())}", flush=True)


if __name__ == "__main__":
    main()
