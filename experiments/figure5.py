"""Fig. 5: continual learning. Classes arrive in steps; of each step only its synthetic set is kept.

    python -m experiments.figure5 --data_dir ~/tensorflow_datasets

The figure's scale is CIFAR-100, 5 steps of 20 classes, 20 images a class and 5 class orders: `--scale=paper --ipc 20
--orders 5 --width 128`. At scale `cpu` it is CIFAR-10, 5 steps of 2 classes, 1 image a class, 1 order, and networks of
width 64 to score them: of CIFAR-100 at 1 image a class, training on the sets of one row and order takes over 9 minutes
at width 32, most of it for the 1,500 to 2,000 steps on the last steps' 60 to 100 images.

A step's set is distilled as the cell of Table 3 of the same row is, but a stream does not wait: at scale `cpu` over a
fifth of its networks, or two fifths for half as many uses. Images of all steps are whitened by what the first step's
real images gave: later ones would not be there. Writes results/figure5_SCALE.json and a picture.
"""

import argparse
import json
import pathlib
import sys
from typing import Any

import jax
import numpy as np

from experiments import cells, sweep
from fsdd import config as configs
from fsdd.distilling import pipeline
from fsdd.io import provenance
from fsdd.data import sources
from fsdd.errors import UserError
from fsdd.evaluation import continual
from fsdd.io import pictures
from fsdd.io import progress
from fsdd.io import stored_set
from fsdd.io import workdir

ROWS = ("random", "herding", "baseline", "one_net", "without_adaptation", "with_adaptation", "refine")
_DATASETS = {"smoke": "digits", "cpu": "cifar10", "paper": "cifar100"}
# What of a cell of scale `cpu` a step of the stream has time for.
_HURRIED = {
    "baseline": {"refine.networks": 400},
    "refine": {"refine.networks": 25},
    "with_adaptation": {"translate.networks": 10, "translate.uses": 20},
}


def step_config(row: str, dataset: str, ipc: int, scale: str, classes: tuple[int, ...], data_dir: str | None):
    """The config of one step's set."""
    cell = cells.row(row, dataset, 1, scale)
    config = sweep.resolved(cell, data_dir)
    # What scores a step is the network that learns on all of them.
    fields = {"classes": classes, "ipc": ipc, "evaluate.stages": ()}
    fields |= _HURRIED.get(row, {}) if scale == "cpu" else {}
    config.update_from_flattened_dict(fields)
    return config


def _wanted(row: str, order: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """What an entry of the results is of."""
    names = ("dataset", "steps", "ipc", "width")
    return {"row": row, "order": order} | {name: getattr(arguments, name) for name in names}


def learn(row: str, order: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """One row in one class order: accuracy after each step, and seconds of distilling that each took."""
    scale, dataset = arguments.scale, arguments.dataset
    data = sources.load(dataset, data_dir=arguments.data_dir, test_fraction=0.2, seed=0)
    groups = continual.class_order(data.num_classes, arguments.steps, order)
    arrivals, seconds, whitening = [], [], None
    for step, classes in enumerate(groups):
        root, suffix = arguments.root / f"{scale}_continual", f"_ipc{arguments.ipc}_order{order}_step{step}"
        folder = root / f"{row}{suffix}"
        config = step_config(row, dataset, arguments.ipc, scale, tuple(map(int, classes)), arguments.data_dir)
        config.evaluate.networks = 0
        for other in ROWS:
            sweep.borrow(config, root / f"{other}{suffix}", folder)
        results = pipeline.run(config, folder)
        seconds.append(round(sum(stage["wall_seconds"] for stage in results["stages"].values()), 2))
        kept = stored_set.load(folder / "synthetic.npz", need_whitening=True)
        whitening = whitening or kept.whitening
        images = whitening.apply(kept.whitening.invert(np.asarray(kept.decoded.images)))
        arrivals.append(continual.Arrival(classes, kept.decoded.replace(images=jax.numpy.asarray(images))))
    config.evaluate.width = arguments.width
    resolved = configs.resolve(config)
    _, recipe = pipeline.scorer(resolved, data.num_classes)

    def network_of(count: int):
        return pipeline.scorer(resolved, count)[0]

    images, key = whitening.apply(data.test_images), jax.random.key(order)
    with progress.bar(f"{row}, networks trained", len(arrivals), unit="network") as bar:
        found = continual.accuracies(
            arrivals, network_of, recipe, images, data.test_labels, key, resolved.compute.dispatch, bar.update
        )
    percent = [round(100 * value, 2) for value in found]
    return _wanted(row, order, arguments) | {"accuracies": percent, "seconds": seconds}


def render(found: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Accuracy over the classes so far after each step, mean over orders, a line a row."""
    series, orders = {}, set()
    for row in ROWS:
        runs = [one["accuracies"] for one in found if one["row"] == row]
        if runs:
            mean = np.mean(runs, axis=0)
            orders.add(len(runs))
            series[cells.METHODS[row].title] = (list(range(1, len(mean) + 1)), mean.tolist())
    if series:
        over = " or ".join(map(str, sorted(orders)))
        xlabel = f"steps so far, {over} class order{'s' * (orders != {1})}"
        pictures.curve(path, series, xlabel=xlabel, ylabel="accuracy on the classes so far (%)")


def main() -> None:
    """Run what is not done, and draw all."""
    parser = argparse.ArgumentParser(prog="python -m experiments.figure5")
    parser.add_argument("--scale", choices=cells.SCALES, default="cpu")
    parser.add_argument("--dataset", help=f"default, by the scale: {_DATASETS}")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--orders", type=int, default=1)
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--width", type=int, default=64, help="of the networks that score")
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=ROWS)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs"))
    parser.add_argument("--data_dir", default=None)
    parser.add_argument("--out", type=pathlib.Path, help="default results/figure5_SCALE.json; the picture is beside it")
    arguments = parser.parse_args()
    arguments.dataset = arguments.dataset or _DATASETS[arguments.scale]
    out = arguments.out or sweep.RESULTS / f"figure5_{arguments.scale}.json"
    found = json.loads(out.read_text())["runs"] if out.exists() else []
    try:
        for order in range(arguments.orders):
            for row in arguments.rows:
                wanted = _wanted(row, order, arguments)
                if any(wanted.items() <= one.items() for one in found):
                    continue
                found.append(learn(row, order, arguments))
                print(found[-1], flush=True)
                workdir.write(out, {"steps": arguments.steps, "runs": found} | provenance.summary())
    except UserError as error:
        sys.exit(f"{parser.prog}: {error}")
    render(found, out.with_suffix(".png"))


if __name__ == "__main__":
    main()
