"""Fig. 3: the images of each class, as they left one network, as a translator changed them, and refined.

    python -m experiments.paper.table3 --dataset cifar10 --ipc 1 --data_dir ~/tensorflow_datasets
    python -m experiments.paper.figure3 --dataset cifar10 --ipc 1

It needs the workdirs of Table 3. Writes results/figure3_SCALE_DATASET_ipcN.png.
"""

import argparse
import pathlib

from experiments import cells
from experiments.paper import figure1
from fsdd.io import pictures, stored_files

ROWS = ("one_net", "without_adaptation", "with_adaptation", "refine")


def draw(root: pathlib.Path, path: pathlib.Path, dataset: str, ipc: int) -> bool:
    """Draw the sets that are in the workdirs of a scale's root; whether there is any."""
    files = {name: root / cells.cell_name(name, dataset, ipc) / "synthetic.npz" for name in ROWS}
    sets = {cells.METHODS[name].title: stored_files.load(file) for name, file in files.items() if file.is_file()}
    if sets:
        first = next(iter(sets.values()))
        pictures.grid(path, {title: one.pixels for title, one in sets.items()}, first.classes, first.class_names)
    return bool(sets)


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(prog="python -m experiments.paper.figure3")
    figure1.add_arguments(parser)
    arguments = parser.parse_args()
    root, (dataset, ipc) = arguments.root / arguments.scale, (arguments.dataset, arguments.ipc)
    path = arguments.out / f"figure3_{arguments.scale}_{dataset}_ipc{ipc}.png"
    if not draw(root, path, dataset, ipc):
        raise SystemExit(f"{parser.prog}: {root} has no set of Table 3; run experiments.paper.table3 first")
    print(f"picture: {path}")


if __name__ == "__main__":
    main()
