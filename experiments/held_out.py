"""Score sets without training: the ridge head in networks that no stage has seen, on images of the training split.

    python -m experiments.held_out runs/cifar10_ipc1 --data_dir ~/tensorflow_datasets

A minute for any number of sets, against a minute for each trained network, and no test image is looked at: for choosing
between settings. It does not replace `evaluate`: what it prefers by less than about a point, trained networks may not,
and sets that fit their own network too well (T of thousands) score lower here than they train.
"""

import argparse
import json
import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from fsdd import config as configs
from fsdd.distilling import context as runs
from fsdd.core import losses
from fsdd.core import synthetic_set
from fsdd.core import whitening
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.methods.nfr import Objective
from fsdd.methods.streams import Draw
from fsdd.methods.streams import Real
from fsdd.networks import sampling

CHUNK = 125


class Judge:
    """Networks that no stage has seen, with the features of real images in them."""

    def __init__(self, objective: Objective, real: Real, networks: int = 16):
        """Of whitened real images `[n, h, w, c]` and centred labels `[n, classes]`."""
        features = jax.jit(lambda variables, images: sampling.features(objective.network, variables, images))
        # Far from the seeds of stages, which count from 0.
        keys = jax.random.split(jax.random.key(2**31), networks)
        self._draws = []
        for key in keys:
            variables = sampling.sample(objective.network, key, real.images.shape[1:])
            chunks = [features(variables, real.images[at : at + CHUNK]) for at in range(0, len(real.images), CHUNK)]
            self._draws.append(Draw(variables, jnp.concatenate(chunks), real.labels))
        self._predict = jax.jit(objective.predict)

    def __call__(self, found: SyntheticSet) -> dict[str, float]:
        """Means over networks of a set's ridge heads.

        `nfr` is the squared error summed over classes, `nfr_std` its spread, `scale` the factor of the predictions that
        is best for it and `nfr_scaled` what it then is; `accuracy` is in percent.
        """
        labels, predictions = self._draws[0].labels, [self._predict(found, draw) for draw in self._draws]
        scales = [float(losses.best_scale(prediction, labels)) for prediction in predictions]
        nfr = np.array([losses.squared_error(prediction, labels) for prediction in predictions])
        pairs = zip(scales, predictions, strict=True)
        scaled = np.mean([losses.squared_error(scale * prediction, labels) for scale, prediction in pairs])
        accuracy = 100 * np.mean([losses.accuracy(prediction, labels) for prediction in predictions])
        return {
            "nfr": round(float(nfr.mean()), 4),
            "nfr_std": round(float(nfr.std(ddof=1)), 4),
            "scale": round(float(np.mean(scales)), 3),
            "nfr_scaled": round(float(scaled), 4),
            "accuracy": round(float(accuracy), 2),
        }


def config_of(folder: pathlib.Path) -> ml_collections.ConfigDict:
    """The config with which a finished run was made, but for `compute`: that is this machine's own affair."""
    known, config = configs.flat(configs.default()), configs.default()
    fields = json.loads((folder / "results.json").read_text())["config"]
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    config.update_from_flattened_dict(
        {name: value for name, value in fields.items() if name in known and not name.startswith("compute.")}
    )
    return config


def of_target(config: ml_collections.ConfigDict, data_dir: str | None, networks: int = 16, images: int = 1000) -> Judge:
    """A judge by random training images of a config's set."""
    config = config.copy_and_resolve_references()
    config.data_dir = data_dir
    data = runs.load(config, config.test_fraction, config.validation_fraction)
    fitted = whitening.fit(data.train_images, config.whitening.kind, config.whitening.regularisation)
    rows = np.random.default_rng(0).permutation(len(data.train_labels))[:images]
    labels = synthetic_set.centred_labels(data.train_labels[rows], data.num_classes)
    real = Real(jnp.asarray(fitted.apply(data.train_images[rows])), jnp.asarray(labels))
    return Judge(runs.build_objective(config, data.num_classes), real, networks)


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
    judge = of_target(config_of(arguments.workdirs[0]), arguments.data_dir, arguments.networks, arguments.images)
    for folder in arguments.workdirs:
        for path in sorted(folder.glob("*/set.npz")):
            scores = judge(load(path))
            print(f"{path.parent}: {', '.join(f'{name} {value}' for name, value in scores.items())}", flush=True)


if __name__ == "__main__":
    main()
