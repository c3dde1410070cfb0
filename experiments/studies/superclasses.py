"""An image folder that is no benchmark: the 20 superclasses of CIFAR-100, 500 training and 100 test images of each.

python -m experiments.studies.superclasses runs/superclasses --data_dir ~/tensorflow_datasets
"""

import argparse
import pathlib

import numpy as np
from PIL import Image

from fsdd.data import sources

# The superclass of each class, in the order of their labels (CIFAR-100's own table).
SUPERCLASSES = (
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1, 10,
    12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16,
    12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14,
    13,
)  # fmt: skip
NAMES = (
    "aquatic mammals", "fish", "flowers", "food containers", "fruit and vegetables", "household electrical devices",
    "household furniture", "insects", "large carnivores", "large man-made outdoor things",
    "large natural outdoor scenes", "large omnivores and herbivores", "medium-sized mammals",
    "non-insect invertebrates", "people", "reptiles", "small mammals", "trees", "vehicles 1", "vehicles 2",
)  # fmt: skip


def choose(labels: np.ndarray, superclass: int, count: int) -> np.ndarray:
    """Indices of the first `count` images of a superclass, as many of each of its five classes."""
    classes = [label for label, own in enumerate(SUPERCLASSES) if own == superclass]
    return np.concatenate([np.flatnonzero(labels == label)[: count // len(classes)] for label in classes])


def write(folder: pathlib.Path, data_dir: str | None, train: int = 500, test: int = 100) -> None:
    """Write so many images of each superclass as PNGs, `folder/train/<name>/*` and `folder/test/<name>/*`."""
    data = sources.load("cifar100", data_dir=data_dir)
    splits = {
        "train": (data.train_images, data.train_labels, train),
        "test": (data.test_images, data.test_labels, test),
    }
    for split, (images, labels, count) in splits.items():
        for superclass, name in enumerate(NAMES):
            place = folder / split / name
            place.mkdir(parents=True, exist_ok=True)
            for row in choose(labels, superclass, count):
                Image.fromarray(images[row]).save(place / f"{row}.png")


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(prog="python -m experiments.studies.superclasses")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--data_dir")
    arguments = parser.parse_args()
    write(arguments.folder, arguments.data_dir)


if __name__ == "__main__":
    main()
