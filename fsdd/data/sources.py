"""Where real sets come from: scikit-learn's digits, arrays, image folders, TensorFlow Datasets and Hugging Face's."""

import dataclasses
import re

import numpy as np

from fsdd.config import dataset_names
from fsdd.data import images
from fsdd.data.arrays import holds_arrays, load_arrays
from fsdd.data.folder import load_folder
from fsdd.data.hub import load_hub
from fsdd.data.images import Reading
from fsdd.data.real_set import RealSet
from fsdd.data.tfds import load_tfds
from fsdd.errors import UserError, require


def load(
    dataset: str,
    *,
    data_dir: str | None = None,
    image_size: int = 0,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.0,
    seed: int = 0,
    pixel_range: tuple[float, ...] = (),
    alpha_background: tuple[int, ...] = (255, 255, 255),
) -> RealSet:
    """Load a real set into host memory.

    Args:
        dataset: "digits" (scikit-learn's, no download); "hf:NAME" or "hf:NAME:CONFIG", what Hugging Face's datasets
            loads by that name, such as "hf:cifar10"; a `.npz` file; a folder of images or of `.npy` files, which
            starts with "/", "." or "~", ends with "/", or exists; one of these `.npy` files; or the name of a TFDS set,
            such as "cifar10" or "imagenet_resized/32x32".
        data_dir: where TFDS, or datasets, keeps its sets; None for its own default. Other sources do not use it.
        image_size: 0 to keep the images as they are, which must then be squares of one size; else the side in pixels
            to which each image is centre-cropped and resized.
        test_fraction: the part of each class held out for the test where there is no test split, below 1; with 0 there
            are then no test images.
        validation_fraction: the part of each class's training images that takes the place of the test split, below 1.
        seed: which images are held out.
        pixel_range: see `images.Reading`; as is `alpha_background`.
        alpha_background: the colour on which transparent images are laid.

    Returns:
        The set, checked: images uint8 `[n, h, h, c]` with any number of channels, labels int32 `[n]`.

    Raises:
        UserError: anything about the data or the arguments that a person can mend.
    """
    if image_size < 0:
        raise UserError(f"image_size: {image_size}; allowed are 0 (keep the size) and a side in pixels above 0")
    for name, value in (("test_fraction", test_fraction), ("validation_fraction", validation_fraction)):
        if not 0 <= value < 1:
            raise UserError(f"{name}: {value}; allowed are 0 and numbers above 0 and below 1")
    reading = Reading(image_size, tuple(pixel_range), tuple(alpha_background))
    return complete(_read(dataset, data_dir, reading), test_fraction, validation_fraction, seed)


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


def _read(dataset: str, data_dir: str | None, reading: Reading) -> RealSet:
    """The set as its source has it: with zero test images where there is no test split."""
    if dataset == "digits":
        return _load_digits(reading.image_size)
    if dataset.startswith(dataset_names.HUB):
        return load_hub(dataset, data_dir, reading)
    if dataset.endswith((".npz", ".npy")):
        return load_arrays(dataset, reading)
    if dataset_names.is_path(dataset):
        return load_arrays(dataset, reading) if holds_arrays(dataset) else load_folder(dataset, reading)
    if not re.fullmatch(r"\w+", re.split("[:/]", dataset)[0]):
        raise UserError(
            f"dataset {dataset!r}: no such folder, and no name for TFDS; allowed are 'digits', a TFDS name, "
            "hf:NAME, a folder of images and a .npz file"
        )
    return load_tfds(dataset, data_dir, reading)


def _load_digits(image_size: int) -> RealSet:
    require("digits", "dataset 'digits'", "sklearn")
    import sklearn.datasets

    digits = sklearn.datasets.load_digits()
    pixels = np.rint(digits.images[..., None] * (255 / 16)).astype(np.uint8)
    pixels, labels = images.resize(pixels, image_size), digits.target.astype(np.int32)
    return RealSet("digits", pixels, labels, pixels[:0], labels[:0], tuple(str(name) for name in digits.target_names))


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
    if height != width:
        raise UserError(f"{real.name}: images of shape {[height, width, channels]}; allowed are squares")
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
        raise UserError(
            f"{real.name}: no test images can be held out because each class has a single training image; add a test "
            "split, or set config.test_fraction=0 and config.evaluate.networks=0 to distil without a test"
        )
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
