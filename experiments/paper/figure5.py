"""Fig. 5: continual learning. Classes arrive in steps; of each step only its synthetic set is kept.

    python -m experiments.paper.figure5 --data_dir ~/tensorflow_datasets

The figure's scale is CIFAR-100, 5 steps of 20 classes, 20 images per class and 5 class orders: `--scale=paper --ipc 20
--orders 5 --width 128`. At scale `cpu` it is CIFAR-10, 5 steps of 2 classes, 1 image per class, 1 order, and networks
of width 64 to score them: of CIFAR-100 at 1 image per class, training on the sets of one row and order takes over 9
minutes at width 32, most of it for the 1,500 to 2,000 steps on the last steps' 60 to 100 images.

A step's set is distilled as the cell of Table 3 of the same row is, but a stream does not wait: at scale `cpu` over a
fifth of its networks, or two fifths for half as many uses.

As in FRePo's code, whose protocol the paper's figure follows, images of all steps are whitened by what the real images
of all classes gave, and networks have an output for each of these. With `--knows past` they are whitened by what the
first step's real images gave, and there are outputs for the classes so far: later ones would not be known in a stream.
Writes results/figure5_SCALE.json and a picture.
"""

import argparse
import itertools
import pathlib
from typing import Any

import jax
import numpy as np

from experiments import cells, charts, records, sweep
from fsdd import api
from fsdd import config as configs
from fsdd.assembly import environment, scorers
from fsdd.data import sources
from fsdd.data.real_set import RealSet
from fsdd.evaluation import continual
from fsdd.io import progress, provenance, stored_files, whitening_files, workdir
from fsdd.io.atomic import replacing

ROWS = ("random", "herding", "baseline", "one_net", "without_adaptation", "with_adaptation", "refine")
# What is known of the classes of later steps: how images of all look and how many there are, or nothing.
KNOWS = ("all", "past")
_DATASETS = {"smoke": "digits", "cpu": "cifar10", "paper": "cifar100"}
# What of a cell of scale `cpu` a step of the stream has time for.
_HURRIED = {
    "baseline": {"refine.networks": 400},
    "refine": {"refine.networks": 25},
    "with_adaptation": {"translate.networks": 10, "translate.uses": 20},
}


def step_config(row: str, classes: np.ndarray, arguments: argparse.Namespace) -> configs.Resolved:
    """The config of one step's set, which is scored by the network that learns on all of them."""
    scale = arguments.scale
    config = sweep.build_config(cells.build_row(row, arguments.dataset, 1, scale), arguments.data_dir)
    fields = {"classes": tuple(map(int, classes)), "ipc": arguments.ipc}
    fields |= {"evaluate.stages": (), "evaluate.networks": 0, "evaluate.width": arguments.width}
    fields |= _HURRIED.get(row, {}) if scale == "cpu" else {}
    config.update_from_flattened_dict(fields)
    return configs.resolve(config)


def _name(row: str, order: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """What an entry of the results is of."""
    names = ("dataset", "steps", "ipc", "width", "knows")
    return {"row": row, "order": order} | {name: getattr(arguments, name) for name in names}


def learn(row: str, order: int, arguments: argparse.Namespace, root: pathlib.Path) -> dict[str, Any]:
    """One row in one class order: accuracy after each step, and seconds of distilling that each took."""
    environment.prepare()
    data = sources.load(arguments.dataset, data_dir=arguments.data_dir, test_fraction=0.2, seed=0)
    groups = continual.class_order(data.num_classes, arguments.steps, order)
    place = root / f"{arguments.scale}_continual{'_all' if arguments.knows == 'all' else ''}"
    arrivals, seconds, whitening = [], [], None
    for step, classes in enumerate(groups):
        suffix = f"_ipc{arguments.ipc}_order{order}_step{step}"
        folder, config = place / f"{row}{suffix}", step_config(row, classes, arguments)
        if arguments.knows == "all":
            _whiten_by_all(data, config, place, folder)
        for other in ROWS:
            sweep.borrow(config, place / f"{other}{suffix}", folder)
        results = api.run(config, folder)
        seconds.append(round(sum(stage["wall_seconds"] for stage in results["stages"].values()), 2))
        kept = stored_files.load(folder / "synthetic.npz", need_whitening=True)
        whitening = whitening or kept.whitening
        images = whitening.apply(kept.whitening.invert(np.asarray(kept.decoded.images)))
        arrivals.append(
            continual.Arrival(classes, jax.tree.map(jax.numpy.asarray, kept.decoded.replace(images=images)))
        )
    _, recipe = scorers.build_scorer(config, data.num_classes)
    images, key = whitening.apply(data.test_images), jax.random.key(order)
    with progress.bar(f"{row}, networks trained", len(arrivals), unit="network") as bar:
        shares = continual.accuracies(
            arrivals,
            lambda count: scorers.build_scorer(config, count)[0],
            recipe,
            images,
            data.test_labels,
            key,
            config.compute.dispatch,
            bar.update,
            data.num_classes if arguments.knows == "all" else None,
        )
    percent = [round(100 * share, 2) for share in shares]
    return _name(row, order, arguments) | {"accuracies": percent, "seconds": seconds}


def _whiten_by_all(data: RealSet, config: configs.Resolved, place: pathlib.Path, folder: pathlib.Path) -> None:
    """Leave in a step's workdir, unless it is there, the whitening that the images of all classes gave."""
    if not (folder / "whitening.npz").is_file():
        settings, common = config.whitening, place / f"{data.name.replace('/', '_')}_whitening.npz"
        fitted = whitening_files.fit_once(
            common, data.train_images, data.identity(), settings.kind, settings.regularisation
        )
        with replacing(folder / "whitening.npz") as path:
            whitening_files.write(path, fitted)


def markdown(found: dict[str, Any]) -> str:
    """Accuracy after each step, mean and standard deviation over class orders."""
    steps, rows = found["steps"] if found else 0, []
    for (name, knows), runs in _by_row(found).items():
        means, spreads = np.mean([one["accuracies"] for one in runs], 0), [""] * steps
        if len(runs) > 1:
            spreads = [f" ± {value:.1f}" for value in np.std([one["accuracies"] for one in runs], 0, ddof=1)]
        shown = [f"{mean:.1f}{spread}" for mean, spread in zip(means, spreads, strict=True)]
        seconds = np.mean([one["seconds"] for one in runs])
        rows.append([cells.METHODS[name].title, knows, len(runs), *shown, f"{seconds:.0f}"])
    after = [f"after step {step}" for step in range(1, steps + 1)]
    return records.table(["row", "knows", "orders", *after, "seconds a step"], rows)


def _by_row(found: dict[str, Any]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The runs of each row and of what was known."""
    runs, kinds = found["runs"] if found else [], itertools.product(KNOWS, ROWS)
    alike = {(row, knows): [one for one in runs if (one["row"], one["knows"]) == (row, knows)] for knows, row in kinds}
    return {kind: some for kind, some in alike.items() if some}


def draw(found: dict[str, Any], path: pathlib.Path) -> None:
    """Accuracy over the classes so far after each step, mean over orders, a line a row."""
    series, orders = [], set()
    for (name, knows), runs in _by_row(found).items():
        mean, method = np.mean([one["accuracies"] for one in runs], axis=0), cells.METHODS[name]
        title = method.title if knows == "all" else f"{method.title}, past"
        orders.add(len(runs))
        series.append(charts.Series(list(range(1, len(mean) + 1)), mean.tolist(), method.family, title))
    over = " or ".join(map(str, sorted(orders)))
    xlabel = f"steps so far, {over} class order{'s' * (orders != {1})}"
    charts.lines(path, series, xlabel, "accuracy on the classes so far (%)", whole=True)


def main() -> None:
    """Run what is not done, draw all, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m experiments.paper.figure5")
    cells.add_arguments(parser)
    parser.add_argument("--dataset", help=f"default, by the scale: {_DATASETS}")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--orders", type=int, default=1)
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--width", type=int, default=64, help="of the networks that score")
    parser.add_argument("--knows", choices=KNOWS, default="all", help="what is known of classes to come; see above")
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=ROWS)
    parser.add_argument("--render", action="store_true", help="run nothing; show what there is")
    arguments = parser.parse_args()
    arguments.dataset = arguments.dataset or _DATASETS[arguments.scale]
    root, out = cells.choose_places(arguments, "figure5")
    runs = (records.read(out) or {"runs": []})["runs"]
    with sweep.one_line_errors(parser.prog):
        for order in range(0 if arguments.render else arguments.orders):
            for row in arguments.rows:
                if not records.find(runs, **_name(row, order, arguments)):
                    runs.append(learn(row, order, arguments, root))
                    workdir.write(out, {"steps": arguments.steps, "runs": runs} | provenance.summary())
    found, picture = records.read(out), out.with_suffix(".png")
    if not found:
        raise SystemExit(f"{parser.prog}: {out} is not there; run without --render")
    draw(found, picture)
    cells.show(markdown(found), out, [picture])


if __name__ == "__main__":
    main()
