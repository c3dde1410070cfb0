"""What the size of a set's values is worth: networks trained on one set, its whitened images times a factor.

    python -m experiments.scale runs/cpu/cifar10_ipc1_one_net --data_dir ~/tensorflow_datasets
    python -m experiments.scale runs/paper/cifar10_ipc1_without_adaptation --factors 1 2
    python -m experiments.scale runs/paper/cifar10_ipc1_without_adaptation --factors 1 --steps 3000 --networks 2
    python -m experiments.scale runs/paper/cifar10_ipc1_with_adaptation --stage translate --factors 2

A translator that only enlarged images would seem to have learned something, where networks gain from larger ones. Same
networks as the run's own evaluation, or as many steps of them as `--steps` says. Writes results/scale.json.
"""

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Callable

import ml_collections
import numpy as np

from experiments import held_out, sweep
from fsdd import config as configs
from fsdd.distilling import pipeline
from fsdd.io import provenance
from fsdd.distilling import context as runs
from fsdd.core import whitening
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.evaluation import training
from fsdd.io import workdir


def learner(config: ml_collections.ConfigDict, steps: int) -> tuple[training.Recipe, Callable]:
    """How a run's networks train, and what gives the accuracy in percent of one of them by its index.

    That takes a set whose images `[n, h, w, c]` are whitened as the run's own are. `steps` of 0 are the run's own.
    """
    data = runs.load(config, config.test_fraction, config.validation_fraction)
    fitted = whitening.fit(data.train_images, config.whitening.kind, config.whitening.regularisation)
    images, (network, recipe) = fitted.apply(data.test_images), pipeline.scorer(config, data.num_classes)
    recipe = dataclasses.replace(recipe, steps=steps or recipe.steps)

    def accuracy(synthetic: SyntheticSet, index: int) -> float:
        keys = pipeline.scoring_key(config.seed, index)[None]
        state = training.train(network, recipe, synthetic, keys, config.compute.dispatch)
        return 100 * float(training.score(network, state.variables, images, data.test_labels)[0])

    return recipe, accuracy


def main() -> None:
    """Train on each enlarged set."""
    parser = argparse.ArgumentParser(prog="python -m experiments.scale")
    parser.add_argument("workdir", type=pathlib.Path)
    parser.add_argument("--stage", default="distill")
    parser.add_argument("--factors", type=float, nargs="+", default=[0.7, 1.0, 1.4, 2.0])
    parser.add_argument("--networks", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0, help="of training; 0: as many as the protocol has")
    parser.add_argument("--data_dir")
    parser.add_argument("--out", type=pathlib.Path, default=sweep.RESULTS / "scale.json")
    arguments = parser.parse_args()
    if arguments.networks < 2:
        parser.error(f"--networks is {arguments.networks}; allowed: at least 2, whose spread is told")
    config = held_out.config_of(arguments.workdir)
    config.data_dir = arguments.data_dir
    config = configs.resolve(config)
    recipe, accuracy = learner(config, arguments.steps)
    made = held_out.load(arguments.workdir / arguments.stage / "set.npz").decoded(config.factor)
    what = {"set": arguments.workdir.name, "stage": arguments.stage, "protocol": config.protocol}
    what |= {"T": config.distill.uses, "steps": training.steps_of(recipe, len(made))}
    found = json.loads(arguments.out.read_text())["rows"] if arguments.out.exists() else []
    for factor in arguments.factors:
        row = what | {"factor": factor}
        if any(row.items() <= one.items() for one in found):
            continue
        scaled = made.replace(images=factor * made.images)
        scores = np.array([accuracy(scaled, index) for index in range(arguments.networks)])
        spread = {"mean": round(float(scores.mean()), 2), "std": round(float(scores.std(ddof=1)), 2)}
        found.append(row | spread | {"accuracies": np.round(scores, 2).tolist()})
        print(found[-1], flush=True)
        workdir.write(arguments.out, {"rows": found} | provenance.summary())


if __name__ == "__main__":
    main()
