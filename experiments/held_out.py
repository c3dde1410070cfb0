"""Score stages' sets without training: the ridge head in networks that no stage has seen, on test images.

    python -m experiments.held_out runs/cifar10_ipc1 --data_dir ~/tensorflow_datasets

A minute for any number of sets, against a minute for each trained network: for choosing between settings. It does not
replace `evaluate`: what it prefers by less than about a point, trained networks may not.
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


def main() -> None:
    """Print accuracy and loss of every stage of the given workdirs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workdirs", nargs="+", type=pathlib.Path)
    parser.add_argument("--data_dir")
    parser.add_argument("--networks", type=int, default=16)
    parser.add_argument("--images", type=int, default=1000)
    arguments = parser.parse_args()
    config = json.loads((arguments.workdirs[0] / "results.json").read_text())["config"]
    data = sources.load(config["dataset"], data_dir=arguments.data_dir, image_size=config["image_size"])
    images = whitening.fit(data.train_images).apply(data.test_images[: arguments.images])
    labels = jnp.asarray(synthetic.centred_labels(data.test_labels[: arguments.images], data.num_classes))
    network = ConvNet(data.num_classes, config["network.width"], config["network.depth"], config["network.norm"])
    features = jax.jit(lambda variables, x: sampling.features(network, variables, x))
    # Far from the seeds of stages, which count from 0.
    keys = jax.random.split(jax.random.key(2**31), arguments.networks)
    networks = [sampling.sample(network, key, data.image_shape) for key in keys]
    chunks = [images[at : at + 125] for at in range(0, len(images), 125)]
    tests = [jnp.concatenate([features(variables, chunk) for chunk in chunks]) for variables in networks]
    for folder in arguments.workdirs:
        for path in sorted(folder.glob("*/set.npz")):
            with np.load(path) as arrays:
                rows = SyntheticSet(arrays["images"], arrays["labels"]).mirrored()
            predictions = [
                krr.predict(test, features(variables, rows.images), rows.labels)
                for variables, test in zip(networks, tests, strict=True)
            ]
            accuracy = 100 * np.mean([losses.accuracy(prediction, labels) for prediction in predictions])
            loss = np.mean([losses.squared_error(prediction, labels) for prediction in predictions])
            print(f"{path.parent}: accuracy {accuracy:.2f} %, loss {loss:.4f}", flush=True)


if __name__ == "__main__":
    main()
