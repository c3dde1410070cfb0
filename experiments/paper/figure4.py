"""Fig. 4a and 4b: NFR loss and ridge accuracy in the networks of adaptation, from three starts of the translator.

    python -m experiments.paper.table3 --dataset cifar10 --ipc 1 --data_dir ~/tensorflow_datasets
    python -m experiments.paper.figure4 --dataset cifar10 --ipc 1

Where the workdirs of Table 3 are there, their records become results/figure4_SCALE_DATASET_ipcN.json; the pictures are
drawn from that.
"""

import argparse
import pathlib

import numpy as np

from experiments import cells, charts, records
from experiments.paper import figure1
from fsdd.io import workdir

ROWS = ("without_pretraining", "with_autoencoder", "with_adaptation")
_LABELS = {"nfr": "NFR loss", "accuracy": "ridge accuracy"}


def collect(root: pathlib.Path, dataset: str, ipc: int, window: int = 5) -> dict[str, dict[str, list[float]]]:
    """Title -> step, loss and accuracy of an adaptation, means over `window` recorded points."""
    curves = {}
    for name in ROWS:
        result = workdir.read(root / cells.cell_name(name, dataset, ipc) / "translate" / "result.json")
        if not result or len(result["curve"]) < window:
            continue
        columns = {key: [point[key] for point in result["curve"]] for key in ("step", *_LABELS)}
        whole = len(columns["step"]) // window * window
        means = {key: np.reshape(values[:whole], (-1, window)).mean(1).tolist() for key, values in columns.items()}
        curves[cells.METHODS[name].title] = means
    return curves


def draw(curves: dict[str, dict[str, list[float]]], folder: pathlib.Path, tag: str) -> list[pathlib.Path]:
    """Both pictures; where they are."""
    paths = []
    for key, label in _LABELS.items():
        series = [charts.Series(values["step"], values[key], title, title) for title, values in curves.items()]
        paths.append(folder / f"figure4_{key}_{tag}.png")
        charts.lines(paths[-1], series, "step of adaptation", label)
    return paths


def main() -> None:
    """Collect what there is, and draw."""
    parser = argparse.ArgumentParser(prog="python -m experiments.paper.figure4")
    figure1.add_arguments(parser)
    arguments = parser.parse_args()
    tag = f"{arguments.scale}_{arguments.dataset}_ipc{arguments.ipc}"
    out = arguments.out / f"figure4_{tag}.json"
    if curves := collect(arguments.root / arguments.scale, arguments.dataset, arguments.ipc):
        workdir.write(out, curves)
    if not (curves := records.read(out)):
        raise SystemExit(f"{parser.prog}: no adaptation of Table 3 is there; run experiments.paper.table3 first")
    for path in draw(curves, arguments.out, tag):
        print(f"picture: {path}")


if __name__ == "__main__":
    main()
