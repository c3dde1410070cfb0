"""Fig. 1d: accuracy against the networks that real images passed through, from the cells of Table 3.

    python -m experiments.paper.figure1 --dataset cifar10 --ipc 1

Writes results/figure1_SCALE_DATASET_ipcN.png; rows that have not been run are left out.
"""

import argparse
import pathlib
from typing import Any

from experiments import cells, charts, records, sweep
from experiments.paper import table3


def collect_points(results: dict[str, dict[str, Any]], dataset: str, ipc: int) -> list[charts.Series]:
    """A point for each row that passes real images through any network."""
    points = []
    for name in table3.ROWS:
        result = cells.get(results, name, dataset, ipc)
        if result and (count := sweep.networks(result)):
            method = cells.METHODS[name]
            points.append(charts.Series([count], [cells.score(result)["mean"]], method.family, method.title))
    return points


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of every figure that is drawn from what Table 3 left."""
    parser.add_argument("--scale", choices=cells.SCALES, default="cpu")
    parser.add_argument("--dataset", default="cifar10", choices=list(cells.IPCS))
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs"), help="where Table 3 left its runs")
    parser.add_argument("--out", type=pathlib.Path, default=records.FOLDER, help="the folder for the picture")


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(prog="python -m experiments.paper.figure1")
    add_arguments(parser)
    arguments = parser.parse_args()
    points = collect_points(cells.load(arguments.scale), arguments.dataset, arguments.ipc)
    if not points:
        raise SystemExit(f"{parser.prog}: no cell of Table 3 has been run for this; run experiments.paper.table3 first")
    path = arguments.out / f"figure1_{arguments.scale}_{arguments.dataset}_ipc{arguments.ipc}.png"
    charts.scatter(path, points, "networks that real images passed through", "test accuracy (%)")
    print(f"picture: {path}")


if __name__ == "__main__":
    main()
