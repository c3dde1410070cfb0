"""Real sets that a program hands in: arrays, PyTorch's map-style datasets and Hugging Face's, by what they can do.

Neither PyTorch nor `datasets` is imported: whatever has `__len__` and `__getitem__` -> (image, label) is the one, and
what has `features`, with an image column and a label column, is the other.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fsdd.data import arrays, images
from fsdd.data.real_set import RealSet
from fsdd.errors import UserError

ALLOWED = (
    "a path, a TFDS name, hf:NAME, a fsdd.RealSet, arrays (images, labels) or (images, labels, test_images, "
    "test_labels), a dataset of pairs (image, label) or two of them (train, test), or Hugging Face splits of images "
    "and labels"
)
_TEST_SPLITS = ("test", "validation", "valid", "val")


def name_of(data: Any) -> str:
    """What a set that is handed in is called in results: letters, digits and underscores.

    Raises:
        UserError: it is none that can be distilled.
    """
    if isinstance(data, RealSet):
        return data.name
    kind, train, _ = _split(data)
    if kind == "arrays":
        return "arrays"
    info = getattr(train, "info", None)
    name = getattr(info, "dataset_name", None) if kind == "hugging face" else type(train).__name__
    return re.sub(r"\W+", "_", str(name or "dataset")).lower()


def read(
    data: Any,
    image_size: int = 0,
    pixel_range: Sequence[float] = (),
    alpha_background: Sequence[int] = (255, 255, 255),
) -> RealSet:
    """What is handed in as a real set, with no test images where none are handed in.

    Args:
        data: one of `ALLOWED` but a path and a name.
        image_size: 0 to keep the images as they are, squares of one size then; else the side in pixels to which each
            image is centre-cropped and resized.
        pixel_range: the numbers that are black and white, as in `images.Reading`.
        alpha_background: the colour on which transparent images are laid.

    Returns:
        The set: images uint8 `[n, h, h, c]`, labels int32 `[n]` in the order of its class names. Names are those that
        the dataset has, else the sorted labels.

    Raises:
        UserError: it is none that can be distilled; the line names the argument `data`.
    """
    if isinstance(data, RealSet):
        resized = [images.resize(data.train_images, image_size), images.resize(data.test_images, image_size)]
        return RealSet(data.name, resized[0], data.train_labels, resized[1], data.test_labels, data.class_names)
    reading = images.Reading(image_size, tuple(pixel_range), tuple(alpha_background))
    kind, train, test = _split(data)
    names = _class_names(kind, train)
    parts = [_read_split(kind, part, "data" if place == 0 else "data (test)", reading)
             for place, part in enumerate((train, test)) if part is not None]  # fmt: skip
    if len(parts) == 1:
        parts.append((parts[0][0][:0], parts[0][1][:0]))
    (train_images, train_labels), (test_images, test_labels) = parts
    train_images, test_images = _same_channels(train_images, test_images)
    numbers = [train_labels, test_labels]
    if names is None or train_labels.dtype.kind not in "iu":
        names, numbers = _number(train_labels, test_labels)
    labels = [arrays.accepted_labels("data: labels", part) for part in numbers]
    return RealSet(name_of(data), train_images, labels[0], test_images, labels[1], names)


def _split(data: Any) -> tuple[str, Any, Any]:
    """The kind of what is handed in, its training split and its test split or None."""
    if isinstance(data, tuple | list) and len(data) in (2, 4) and _is_array(data[0]) and _is_array(data[1]):
        return "arrays", tuple(data[:2]), tuple(data[2:]) or None
    if isinstance(data, tuple | list) and len(data) == 2 and all(_kind(part) for part in data):
        return _kind(data[0]), data[0], data[1]
    if isinstance(data, Mapping) and "train" in data and _kind(data["train"]):
        test = next((data[name] for name in _TEST_SPLITS if name in data), None)
        return _kind(data["train"]), data["train"], test
    kind = _kind(data)
    if kind is None or isinstance(data, tuple | list):
        raise UserError(f"data is {_describe(data)}; allowed: {ALLOWED}")
    return kind, data, None


def _kind(part: Any) -> str | None:
    if isinstance(getattr(part, "features", None), Mapping) and hasattr(part, "__getitem__"):
        return "hugging face"
    is_pairs = hasattr(part, "__len__") and hasattr(part, "__getitem__") and not _is_array(part)
    return "pairs" if is_pairs and not isinstance(part, str | bytes | Mapping) else None


def _is_array(value: Any) -> bool:
    """Whether it is an array or tensor, or a list of numbers or texts, as labels are."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return True
    return isinstance(value, list | range) and len(value) > 0 and isinstance(value[0], int | str | np.generic)


def _describe(data: Any) -> str:
    if hasattr(data, "shape"):
        return f"an array of shape {list(data.shape)} without labels"
    if hasattr(data, "dataset") and hasattr(data, "batch_size"):
        return f"a {type(data).__name__}, which yields batches (its .dataset will do)"
    if isinstance(data, tuple | list):
        return f"a {type(data).__name__} of {len(data)}"
    return f"{data!r:.60}" if isinstance(data, str | bytes | int | float | None) else f"a {type(data).__name__}"


def _class_names(kind: str, train: Any) -> tuple[str, ...] | None:
    """The names that a dataset has for its classes."""
    if kind == "arrays":
        return None
    if kind == "hugging face":
        names = getattr(train.features[columns(train)[1]], "names", None)
    else:
        names = getattr(train, "classes", None)
    is_list = isinstance(names, list | tuple) and len(names) > 0
    return tuple(str(name) for name in names) if is_list else None


def _read_split(kind: str, part: Any, where: str, reading: images.Reading) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 `[n, h, h, c]` and the labels `[n]` as they are."""
    if kind == "arrays":
        pixels, labels = np.asarray(part[0]), np.asarray(part[1])
        pixels = _channels_last(pixels) if pixels.ndim == 4 else pixels
        pixels = _accept(f"{where}: images", pixels, reading)
        if not reading.image_size and pixels.shape[1] != pixels.shape[2]:
            height, width = pixels.shape[1:3]
            raise UserError(f"{where}: images of {width}x{height} pixels are not square; allowed with image_size only")
        pixels = images.resize(pixels, reading.image_size)
    else:
        if not len(part):
            raise UserError(f"{where} has no items; allowed: at least one of each class")
        labels = []
        pixels = images.stack(_items(kind, part, where, reading, labels), len(part), where)
        labels = np.array(labels)
    if (
        labels.ndim == 2
        and labels.shape[1] > 1
        and np.all((labels == 0) | (labels == 1))
        and np.all(labels.sum(1) == 1)
    ):
        labels = labels.argmax(1)
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.shape != (len(pixels),):
        raise UserError(
            f"{where}: {len(pixels)} images and labels of shape {list(labels.shape)}; allowed: one for each"
        )
    return pixels, labels


def _items(kind: str, part: Any, where: str, reading: images.Reading, labels: list) -> Iterator[tuple[str, np.ndarray]]:
    """A name and the image of each item; its label is appended to `labels`."""
    keys = columns(part) if kind == "hugging face" else (0, 1)
    for index in range(len(part)):
        name = f"{where}[{index}]"
        try:
            item = part[index]
            image, label = item[keys[0]], item[keys[1]]
        except (TypeError, KeyError, IndexError, ValueError) as error:
            raise UserError(f"{name} is no pair of an image and a label; allowed: {ALLOWED}") from error
        labels.append(label if isinstance(label, str) else np.asarray(label)[()])
        yield name, _image(name, image, reading)


def _image(name: str, image: Any, reading: images.Reading) -> np.ndarray:
    """One image as uint8 `[h, h, c]`: Pillow's, an array, a tensor, or encoded bytes."""
    if isinstance(image, Mapping) and (image.get("bytes") or image.get("path")):
        return images.decode(io.BytesIO(image["bytes"]) if image.get("bytes") else image["path"], name, reading)
    if hasattr(image, "mode") and hasattr(image, "save"):
        file = io.BytesIO()
        # By way of a file, so that modes and transparency are treated as those of files are.
        image = image if image.mode in ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA") else image.convert("RGB")
        image.save(file, "png", compress_level=0)
        return images.decode(file, name, reading)
    pixels = np.asarray(image.numpy() if hasattr(image, "numpy") else image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3:
        raise UserError(f"{name}: an image of shape {list(pixels.shape)}; allowed are [h, w], [h, w, c] and [c, h, w]")
    pixels = _accept(name, _channels_last(pixels[None]), reading)
    if not reading.image_size and pixels.shape[1] != pixels.shape[2]:
        raise UserError(
            f"{name}: {pixels.shape[2]}x{pixels.shape[1]} pixels are no square; allowed with image_size only"
        )
    return images.resize(pixels, reading.image_size)[0]


def _channels_last(pixels: np.ndarray) -> np.ndarray:
    """Images `[n, h, w, c]`; the channels were first, as in PyTorch, if only that gives a plausible number of them."""
    return np.moveaxis(pixels, 1, -1) if pixels.shape[1] <= 4 < pixels.shape[3] else pixels


def _accept(where: str, pixels: np.ndarray, reading: images.Reading) -> np.ndarray:
    try:
        return arrays.accepted_images(where, pixels, reading.pixel_range)
    except UserError as error:
        hint = "; leave out what normalises them, such as transforms.Normalize" if pixels.dtype.kind == "f" else ""
        raise UserError(f"{error}{hint}") from error


def columns(part: Any) -> tuple[str, str]:
    """The image column and the label column of a Hugging Face split."""
    kinds = {name: type(feature).__name__ for name, feature in part.features.items()}
    image = next((name for name, kind in kinds.items() if kind == "Image"), None)
    label = next((name for name, kind in kinds.items() if kind == "ClassLabel"), None)
    label = label or next((name for name in ("label", "labels") if name in kinds), None)
    if image is None or label is None:
        raise UserError(f"data has the columns {kinds}; allowed: an Image, and a ClassLabel or a column called label")
    return image, label


def _same_channels(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grey images of one split as colour where the other has colour."""
    most = max(train.shape[3], test.shape[3] if len(test) else 1)
    if not len(test):
        return train, np.zeros((0, *train.shape[1:]), np.uint8)
    return tuple(part.repeat(most, 3) if part.shape[3] < most else part for part in (train, test))


def _number(train: np.ndarray, test: np.ndarray) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """The sorted labels of the training split as names, and both splits' labels by their places among them."""
    if train.dtype.kind not in "iuUb":
        raise UserError(f"data: labels of type {train.dtype}; allowed are integers and texts")
    values, positions = np.unique(train, return_inverse=True)
    strange = np.setdiff1d(test, values)
    if len(strange):
        raise UserError(
            f"data: test label {strange[0]}; allowed: those of the training labels, {values[0]} to {values[-1]}"
        )
    return tuple(str(value) for value in values), [positions, np.searchsorted(values, test)]
