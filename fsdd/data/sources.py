"""Where real sets come from: scikit-learn's digits, arrays, image folders and TensorFlow Datasets."""

import dataclasses
import pathlib
import re

import numpy as np
import sklearn.datasets

from fsdd.data import images
from fsdd.data.folder import load_folder
from fsdd.data.real_set import RealSet
from fsdd.data.tfds import load_tfds
from fsdd.errors import UserError, one_line

_NATIVE_KEYS = ("train_images", "train_labels", "test_images", "test_labels")
_KERAS_KEYS = ("x_train", "y_train", "x_test", "y_test")


def load(
    dataset: str,
    *,
    data_dir: str | None = None,
    image_size: int = 0,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.0,
    seed: int = 0,
) -> RealSet:
    """Load a real set into host memory.

    Args:
        dataset: "digits" (scikit-learn's, no download); a `.npz` file; a folder of images, which starts with "/", "."
            or "~", ends with "/", or exists; or the name of a TFDS set, such as "cifar10" or "imagenet_resized/32x32".
        data_dir: where TFDS keeps its sets; None for its own default. Other sources do not use it.
        image_size: 0 to keep the images as they are, which must then be squares of one size; else the side in pixels
            to which each image is centre-cropped and resized.
        test_fraction: the part of each class held out for the test where there is no test split, below 1; with 0 there
            are then no test images.
        validation_fraction: the part of each class's training images that takes the place of the test split, below 1.
        seed: which images are held out.

    Returns:
        The set, checked: images uint8 `[n, h, h, c]` with c = 1 or 3, labels int32 `[n]`.

    Raises:
        UserError: anything about the data or the arguments that a person can mend.
    """
    if image_size < 0:
        raise UserError(f"image_size: {image_size}; allowed are 0 (keep the size) and a side in pixels above 0")
    for name, value in (("test_fraction", test_fraction), ("validation_fraction", validation_fraction)):
        if not 0 <= value < 1:
            raise UserError(f"{name}: {value}; allowed are 0 and numbers above 0 and below 1")
    return complete(_read(dataset, data_dir, image_size), test_fraction, validation_fraction, seed)


def complete(real: RealSet, test_fraction: float, validation_fraction: float, seed: int) -> RealSet:
    """A set, which may have no test images, checked and with those held out that `load` holds out.

    Raises:
        UserError: it does not keep the promises of `RealSet`.
    """
    _check(real)
    if test_fraction and not len(real.test_images):
        real = _hold_out(real, test_fraction, seed, "no test split; held out")
    if validation_fraction:
        real = _hold_out(real, validation_fraction, seed, "in place of the test split, held out")
    return real


def _read(dataset: str, data_dir: str | None, image_size: int) -> RealSet:
    """The set as its source has it: with zero test images where there is no test split."""
    if dataset == "digits":
        return _load_digits(image_size)
    if dataset.endswith(".npz"):
        return _load_arrays(dataset, image_size)
    if dataset.startswith(("/", ".", "~")) or dataset.endswith("/") or (dataset and pathlib.Path(dataset).is_dir()):
        return load_folder(dataset, image_size)
    if not re.fullmatch(r"\w+", re.split("[:/]", dataset)[0]):
        raise UserError(
            f"dataset {dataset!r}: no such folder, and no name for TFDS; allowed are 'digits', a TFDS name, a "
            "folder of images and a .npz file"
        )
    return load_tfds(dataset, data_dir, image_size)


def _load_digits(image_size: int) -> RealSet:
    digits = sklearn.datasets.load_digits()
    pixels = np.rint(digits.images[..., None] * (255 / 16)).astype(np.uint8)
    pixels, labels = images.resize(pixels, image_size), digits.target.astype(np.int32)
    return RealSet("digits", pixels, labels, pixels[:0], labels[:0], tuple(str(name) for name in digits.target_names))


def _load_arrays(path: str, image_size: int) -> RealSet:
    """Arrays under this package's names or Keras's; images `[n, h, w]` or `[n, h, w, c]`, uint8 or floats in [0, 1]."""
    arrays = _open_arrays(path)
    keys = next((keys for keys in (_NATIVE_KEYS, _KERAS_KEYS) if keys[0] in arrays), None)
    if keys is None or keys[1] not in arrays:
        raise UserError(
            f"{path}: has arrays {sorted(arrays)}; needed are train_images and train_labels, or x_train and y_train"
        )
    if (keys[2] in arrays) != (keys[3] in arrays):
        raise UserError(f"{path}: has one of {keys[2]} and {keys[3]}; allowed are both or neither")
    parts = []
    for image_key, label_key in (keys[:2], keys[2:]):
        if image_key in arrays:
            pixels = accepted_images(f"{path}: {image_key}", arrays.pop(image_key))
            labels = accepted_labels(f"{path}: {label_key}", arrays[label_key])
            if len(pixels) != len(labels):
                raise UserError(f"{path}: {len(pixels)} {image_key} but {len(labels)} {label_key}")
            if not image_size and pixels.shape[1] != pixels.shape[2]:
                height, width = pixels.shape[1:3]
                raise UserError(f"{path}: {image_key} of {width}x{height} pixels are not square; set image_size")
            parts += [images.resize(pixels, image_size), labels]
    if len(parts) == 2:
        parts += [parts[0][:0], parts[1][:0]]
    if "class_names" in arrays:
        class_names = tuple(str(name) for name in np.atleast_1d(arrays["class_names"]))
    else:
        class_names = tuple(str(label) for label in range(len(np.unique(parts[1]))))
    return RealSet(pathlib.Path(path).stem, *parts, class_names)


def _open_arrays(path: str) -> dict[str, np.ndarray]:
    try:
        with np.load(pathlib.Path(path).expanduser(), allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            return {key: file[key] for key in file if key in (*_NATIVE_KEYS, *_KERAS_KEYS, "class_names")}
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except Exception as error:  # damaged files and pickled objects raise many types
        raise UserError(
            f"{path}: not a readable .npz file of plain arrays, as numpy.savez writes ({one_line(error)})"
        ) from error


def accepted_images(where: str, pixels: np.ndarray) -> np.ndarray:
    """An array of images as uint8 `[n, h, w, c]`, c = 1 or 3.

    Raises:
        UserError: it is none that is accepted; the line begins with `where`.
    """
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 2, 3, 4) or 0 in pixels.shape[1:3]:
        raise UserError(f"{where}: shape {list(pixels.shape)}; allowed are [n, h, w] and [n, h, w, c] with c 1 to 4")
    pixels = pixels[..., : 1 if pixels.shape[3] <= 2 else 3]  # two channels are grey and alpha, four are RGB and alpha
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    if pixels.dtype.kind != "f":
        raise UserError(f"{where}: of type {pixels.dtype}; allowed are uint8 and floats in [0, 1]")
    if not np.isfinite(pixels).all():
        raise UserError(f"{where}: has NaN or infinite values; allowed are uint8 and floats in [0, 1]")
    if pixels.size and not 0 <= pixels.min() <= pixels.max() <= 1:
        raise UserError(f"{where}: floats from {pixels.min():g} to {pixels.max():g}; allowed are floats in [0, 1]")
    return np.rint(pixels.astype(np.float32) * 255).astype(np.uint8)


def accepted_labels(where: str, labels: np.ndarray) -> np.ndarray:
    """An array of labels as int32 `[n]`.

    Raises:
        UserError: it is none that is accepted; the line begins with `where`.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:  # the form in which Keras delivers CIFAR's
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UserError(f"{where}: {labels.dtype} of shape {list(labels.shape)}; allowed are integers of shape [n]")
    if labels.size and (labels.min() < 0 or labels.max() > np.iinfo(np.int32).max):
        bad = labels.min() if labels.min() < 0 else labels.max()
        raise UserError(f"{where}: label {bad}; allowed are 0, 1, ... up to the number of classes less one")
    return labels.astype(np.int32)


def _check(real: RealSet) -> None:
    """Raise a UserError unless `real` keeps the promises of `RealSet`; that there are test images is not among them."""
    if not len(real.train_images):
        raise UserError(f"{real.name}: has no training images")
    height, width, channels = real.image_shape
    for split, pixels, labels in (
        ("train", real.train_images, real.train_labels),
        ("test", real.test_images, real.test_labels),
    ):
        if len(pixels) != len(labels):
            raise UserError(f"{real.name}: {len(pixels)} {split} images but {len(labels)} labels")
        if pixels.shape[1:] != real.image_shape:
            raise UserError(
                f"{real.name}: {split} images of shape {list(pixels.shape[1:])}, but those of train have "
                f"{list(real.image_shape)}; both must agree"
            )
        strange = labels[(labels < 0) | (labels >= real.num_classes)]
        if len(strange):
            raise UserError(
                f"{real.name}: {split} label {strange[0]}; with {real.num_classes} classes, 0 to "
                f"{real.num_classes - 1} are allowed"
            )
    if height != width or channels not in (1, 3):
        raise UserError(f"{real.name}: images of shape {[height, width, channels]}; allowed are grey or RGB squares")
    empty = np.flatnonzero(np.bincount(real.train_labels, minlength=real.num_classes) == 0)
    if len(empty):
        raise UserError(
            f"{real.name}: class {real.class_names[empty[0]]!r} (label {empty[0]}) has no training images; each "
            "class needs at least one"
        )


def _hold_out(real: RealSet, fraction: float, seed: int, why: str) -> RealSet:
    """Make a test split of `fraction` of each class: at least one image and not all, but none of a single image."""
    generator = np.random.default_rng(seed)
    held_out = np.zeros(len(real.train_labels), bool)
    for label in range(real.num_classes):
        members = np.flatnonzero(real.train_labels == label)
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        held_out[generator.permutation(members)[:count]] = True
    if not held_out.any():
        raise UserError(f"{real.name}: no test images can be held out because each class has a single training image")
    total = len(held_out)
    note = f"{real.name}: {why} {held_out.sum()} of {total} images, stratified, with seed {seed}"
    return dataclasses.replace(
        real,
        train_images=real.train_images[~held_out],
        train_labels=real.train_labels[~held_out],
        test_images=real.train_images[held_out],
        test_labels=real.train_labels[held_out],
        notes=(*real.notes, note),
    )
