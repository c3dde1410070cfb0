"""Figs. 1d, 3 and 4 at one dataset and IPC, drawn from the cells of Table 3 and what they left in their workdirs.

    python -m experiments.table3 --dataset cifar10 --ipc 1 --data_dir ~/tensorflow_datasets
    python -m experiments.figures --dataset cifar10 --ipc 1

figure1d: accuracy against networks used. figure3: the images of each class as they went from one network through the
translator. figure4: NFR loss and ridge accuracy on the networks of adaptation, from the three starts. Each is
results/FIGURE_SCALE_DATASET_ipcN.png, with the JSON that it is drawn from; what has not been run is left out.
"""

import argparse
import json
import pathlib
from typing import Any

import numpy as np

from experiments import cells, sweep, table3
from fsdd.io import pictures
from fsdd.io import stored_set
from fsdd.io import workdir

STARTS = ("without_pretraining", "with_autoencoder", "with_adaptation")
PANELS = {
    "one_net": "1 Net",
    "without_adaptation": "w/o Ada",
    "with_adaptation": "w Ada",
    "refine": "Refine",
}


def networks(result: dict[str, Any]) -> int:
    """Networks that real images passed through."""
    return sum(stage["networks"] for stage in result["stages"].values())


def figure1d(found: dict[str, dict[str, Any]], dataset: str, ipc: int) -> dict[str, Any]:
    """Title -> `[networks, accuracy]` of each row that is done."""
    points = {}
    for name in table3.ROWS:
        result = cells.of(found, name, dataset, ipc)
        if result and networks(result):
            points[cells.METHODS[name].title] = [networks(result), cells.score(result)["mean"]]
    return points


def figure4(folders: dict[str, pathlib.Path], window: int = 5) -> dict[str, dict[str, list[float]]]:
    """Title -> step, loss and accuracy of an adaptation, means over `window` recorded points."""
    series = {}
    for name, folder in folders.items():
        result = workdir.read(folder / "translate" / "result.json")
        if not result or len(result["curve"]) < window:
            continue
        columns = {key: [point[key] for point in result["curve"]] for key in ("step", "nfr", "accuracy")}
        whole = len(columns["step"]) // window * window
        means = {key: np.reshape(values[:whole], (-1, window)).mean(1).tolist() for key, values in columns.items()}
        series[cells.METHODS[name].title] = means
    return series


def draw(found: dict[str, dict[str, Any]], root: pathlib.Path, out: pathlib.Path, dataset: str, ipc: int, tag: str):
    """Write all figures for which there is something."""
    folders = {name: root / f"{dataset}_ipc{ipc}_{name}" for name in cells.METHODS}
    if points := figure1d(found, dataset, ipc):
        workdir.write(out / f"figure1d_{tag}.json", points)
        series = {name: ([at], [accuracy]) for name, (at, accuracy) in points.items()}
        path = out / f"figure1d_{tag}.png"
        pictures.curve(path, series, xlabel="networks used", ylabel="test accuracy (%)", log_x=True)
    if series := figure4({name: folders[name] for name in STARTS}):
        workdir.write(out / f"figure4_{tag}.json", series)
        for key, label in (("nfr", "NFR loss"), ("accuracy", "ridge accuracy")):
            lines = {name: (values["step"], values[key]) for name, values in series.items()}
            pictures.curve(out / f"figure4_{key}_{tag}.png", lines, xlabel="step of adaptation", ylabel=label)
    kept = {name: folders[name] / "synthetic.npz" for name in PANELS if (folders[name] / "synthetic.npz").is_file()}
    if kept:
        sets = {name: stored_set.load(path) for name, path in kept.items()}
        first = next(iter(sets.values()))
        panels = {PANELS[name]: one.pixels for name, one in sets.items()}
        pictures.grid(out / f"figure3_{tag}.png", panels, first.classes, first.class_names)


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(prog="python -m experiments.figures")
    parser.add_argument("--scale", choices=cells.SCALES, default="cpu")
    parser.add_argument("--dataset", default="cifar10", choices=list(cells.IPCS))
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs"))
    parser.add_argument("--out", type=pathlib.Path, default=sweep.RESULTS, help="the folder for the figures")
    arguments = parser.parse_args()
    tag = f"{arguments.scale}_{arguments.dataset}_ipc{arguments.ipc}"
    found = cells.load(arguments.scale)
    draw(found, arguments.root / arguments.scale, arguments.out, arguments.dataset, arguments.ipc, tag)
    print(json.dumps(figure1d(found, arguments.dataset, arguments.ipc)))


if __name__ == "__main__":
    main()
