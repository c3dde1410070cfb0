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

import numpy as np

from experiments import held_out, sweep
from fsdd import config as configs
from fsdd import pipeline, provenance
from fsdd import run as runs
from fsdd.core import whitening
from fsdd.evaluation import training
from fsdd.io import workdir


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
    config = held_out.config_of(arguments.workdir)
    config.data_dir = arguments.data_dir
    # Of this machine, not of the one that made the set.
    config.compute = configs.default().compute
    config = configs.resolve(config)
    data = runs.load(config, config.test_fraction, config.validation_fraction)
    fitted = whitening.fit(data.train_images, config.whitening.kind, config.whitening.regularisation)
    images, made = fitted.apply(data.test_images), held_out.load(arguments.workdir / arguments.stage / "set.npz")
    made = made.decoded(config.factor)
    network, recipe = pipeline.scorer(config, data.num_classes)
    recipe = dataclasses.replace(recipe, steps=arguments.steps or training.steps_of(recipe, len(made)))
    what = {"set": arguments.workdir.name, "stage": arguments.stage, "protocol": config.protocol}
    what |= {"T": config.distill.uses, "steps": recipe.steps}
    found = json.loads(arguments.out.read_text())["rows"] if arguments.out.exists() else []
    for factor in arguments.factors:
        row = what | {"factor": factor}
        if any(row.items() <= one.items() for one in found):
            continue
        scaled, accuracies = made.replace(images=factor * made.images), []
        for index in range(arguments.networks):
            keys = pipeline.scoring_key(config.seed, index)[None]
            state = training.train(network, recipe, scaled, keys, config.compute.dispatch)
            accuracies.append(100 * float(training.score(network, state.variables, images, data.test_labels)[0]))
        spread = {"mean": round(float(np.mean(accuracies)), 2), "std": round(float(np.std(accuracies, ddof=1)), 2)}
        found.append(row | spread | {"accuracies": np.round(accuracies, 2).tolist()})
        print(found[-1], flush=True)
        workdir.write(arguments.out, {"rows": found} | provenance.summary())


if __name__ == "__main__":
    main()
