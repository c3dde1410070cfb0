"""Images that tests write, each of one colour so that it can be told from the others."""

import pathlib

import numpy as np
from PIL import Image


def plain(value: int, *, side: int = 4, channels: int = 3) -> np.ndarray:
    """An image all of whose values are the same."""
    return np.full((side, side, channels) if channels > 1 else (side, side), value, np.uint8)


def save(path: pathlib.Path, value: int, **options) -> None:
    """A lossless file of `plain`, by its suffix; JPEG has the value within 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(plain(value)).save(path, **options)


def shown(images: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]) -> list[tuple[str, int]]:
    """Class name and value of each image, in order."""
    return [(class_names[label], int(image[0, 0, 0])) for image, label in zip(images, labels, strict=True)]


def of_train(real) -> list[tuple[str, int]]:
    """What `shown` says of the training split."""
    return shown(real.train_images, real.train_labels, real.class_names)


def of_test(real) -> list[tuple[str, int]]:
    """What `shown` says of the test split."""
    return shown(real.test_images, real.test_labels, real.class_names)
