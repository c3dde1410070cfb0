"""What a stored set gives whoever takes its pixels and its hard labels alone: no whitening, cross-entropy.

    python -m experiments.pixels runs/cpu/cifar10_ipc1_refine --data_dir ~/tensorflow_datasets

Networks, steps, augmentations and schedule are those of the run that made the set; only what they learn from differs:
its 8-bit pixels, standardised by channel, and the class that each was made for. Writes results/pixels.json.
"""

import argparse
import json
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import held_out, sweep
from fsdd import config as configs
from fsdd import pipeline, provenance
from fsdd import run as runs
from fsdd.core import augment
from fsdd.core.whitening import Whitening
from fsdd.evaluation import training
from fsdd.io import progress, stored, workdir
from fsdd.methods import optimisers
from fsdd.networks import sampling


def train(
    network: nn.Module, recipe: training.Recipe, images: np.ndarray, classes: np.ndarray, key: jax.Array, watch
) -> sampling.Variables:
    """A fresh network, without norm, trained by cross-entropy on images `[n, h, w, c]` of classes `[n]`."""
    steps = training.steps_of(recipe, len(images))
    optimiser = optimisers.build(recipe.optimiser, training.rate_schedule(recipe, steps))
    params = sampling.sample(network, jax.random.fold_in(key, 0), images.shape[1:])["params"]
    moments, images, classes = optimiser.init(params), jnp.asarray(images), jnp.asarray(classes)

    @jax.jit
    def step(params, moments, index):
        turned = augment.augment(jax.random.fold_in(key, 1 + index), images, recipe.policy, recipe.mirror)

        def loss(params):
            logits = network.apply({"params": params}, turned).logits
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, classes))

        updates, moments = optimiser.update(jax.grad(loss)(params), moments, params)
        return optax.apply_updates(params, updates), moments

    for index in range(steps):
        params, moments = jax.block_until_ready(step(params, moments, index))
        watch(1)
    return {"params": params}


def main() -> None:
    """Score the sets of workdirs so."""
    parser = argparse.ArgumentParser(prog="python -m experiments.pixels")
    parser.add_argument("workdirs", type=pathlib.Path, nargs="+", help="of finished runs")
    parser.add_argument("--networks", type=int, default=3)
    parser.add_argument("--data_dir")
    parser.add_argument("--out", type=pathlib.Path, default=sweep.RESULTS / "pixels.json")
    arguments = parser.parse_args()
    found = json.loads(arguments.out.read_text())["rows"] if arguments.out.exists() else []
    for folder in arguments.workdirs:
        if any(one["set"] == folder.name for one in found):
            continue
        config = held_out.config_of(folder)
        config.data_dir = arguments.data_dir
        config = configs.resolve(config)
        data = runs.load(config, config.test_fraction, config.validation_fraction)
        made = stored.load(folder / "synthetic.npz", need_whitening=True)
        network, recipe = pipeline.scorer(config, data.num_classes)
        by_channel = Whitening(made.whitening.channel_mean, made.whitening.channel_std)
        images, test_images = by_channel.apply(made.eight_bits), by_channel.apply(data.test_images)
        accuracies = []
        with progress.bar(folder.name, arguments.networks * training.steps_of(recipe, len(images))) as bar:
            for index in range(arguments.networks):
                key = pipeline.scoring_key(config.seed, index)
                variables = train(network, recipe, images, made.classes, key, bar.update)
                alone = jax.tree.map(lambda leaf: leaf[None], variables)
                accuracies.append(100 * float(training.score(network, alone, test_images, data.test_labels)[0]))
        row = {"set": folder.name, "accuracies": np.round(accuracies, 2).tolist()}
        found.append(row)
        print(row, flush=True)
        workdir.write(arguments.out, {"rows": found} | provenance.summary())


if __name__ == "__main__":
    main()
