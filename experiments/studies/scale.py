"""What the size of a set's values is worth: networks trained on one set, its whitened images times a factor.

    python -m experiments.studies.scale runs/cpu/cifar10_ipc1_one_net --data_dir ~/tensorflow_datasets
    python -m experiments.studies.scale runs/paper/cifar10_ipc1_without_adaptation --factors 1 2
    python -m experiments.studies.scale runs/paper/cifar10_ipc1_without_adaptation --factors 1 --steps 3000 --networks 2
    python -m experiments.studies.scale runs/paper/cifar10_ipc1_with_adaptation --stage translate --factors 2

A translator that only enlarged images would seem to have learned something, where networks gain from larger ones. Same
networks as the run's own evaluation, or as many steps of them as `--steps` says. Writes results/scale.json.
"""

import argparse
import dataclasses
import pathlib

import numpy as np

from experiments import cells, records
from experiments.studies import held_out
from experiments.studies.learner import Learner
from fsdd import config as configs
from fsdd.assembly import environment
from fsdd.assembly.real_sets import load_real_set
from fsdd.assembly.scorers import build_scorer
from fsdd.core import whitening
from fsdd.evaluation import training_recipes
from fsdd.io import provenance, workdir
from fsdd.io.synthetic_files import read_set


def build_learner(config: configs.Resolved, steps: int) -> Learner:
    """What trains and scores networks as a run does, for so many steps; 0 are the run's own."""
    data = load_real_set(config, config.test_fraction, config.validation_fraction)
    fitted = whitening.fit(data.train_images, config.whitening.kind, config.whitening.regularisation)
    network, recipe = build_scorer(config, data.num_classes)
    recipe = dataclasses.replace(recipe, steps=steps or recipe.steps)
    return Learner(network, recipe, fitted.apply(data.test_images), data.test_labels, config.compute.dispatch)


def markdown() -> str:
    """Networks trained on sets with their values made larger or smaller."""
    rows = []
    for row in (records.load("scale") or {"rows": []})["rows"]:
        made = row["set"].split("_", 2)[-1] if row["stage"] != "distill" else "one_net"
        title = cells.METHODS[made].title if made in cells.METHODS else row["set"]
        what = [row["protocol"], title, f"{row['T']:,}", f"{row['steps']:,}", row["factor"]]
        rows.append([*what, records.accuracy(row)])
    return records.table(["protocol", "set", "T", "steps of training", "values times", "accuracy (%)"], rows)


def main() -> None:
    """Train on each enlarged set."""
    parser = argparse.ArgumentParser(prog="python -m experiments.studies.scale")
    parser.add_argument("workdir", type=pathlib.Path)
    parser.add_argument("--stage", default="distill")
    parser.add_argument("--factors", type=float, nargs="+", default=[0.7, 1.0, 1.4, 2.0])
    parser.add_argument("--networks", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0, help="of training; 0: as many as the protocol has")
    parser.add_argument("--data_dir")
    parser.add_argument("--out", type=pathlib.Path, default=records.FOLDER / "scale.json")
    arguments = parser.parse_args()
    if arguments.networks < 2:
        parser.error(f"--networks is {arguments.networks}; allowed: at least 2, whose spread is told")
    environment.prepare()
    config = held_out.read_config(arguments.workdir, arguments.data_dir)
    learn = build_learner(config, arguments.steps)
    made = read_set(arguments.workdir / arguments.stage / "set.npz").decoded(config.factor)
    what = {"set": arguments.workdir.name, "stage": arguments.stage, "protocol": config.protocol}
    what |= {"T": config.distill.steps, "steps": training_recipes.steps_of(learn.recipe, len(made))}
    found = (records.read(arguments.out) or {"rows": []})["rows"]
    for factor in arguments.factors:
        row = what | {"factor": factor}
        if records.find(found, **row):
            continue
        scaled = made.replace(images=factor * made.images)
        scores = np.array([learn(scaled, config.seed, index) for index in range(arguments.networks)])
        spread = {"mean": round(float(scores.mean()), 2), "std": round(float(scores.std(ddof=1)), 2)}
        found.append(row | spread | {"accuracies": np.round(scores, 2).tolist()})
        print(found[-1], flush=True)
        workdir.write(arguments.out, {"rows": found} | provenance.summary())


if __name__ == "__main__":
    main()
