"""What was read right before is read the same: the digests by which old workdirs know their data are those of then."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from fsdd.data.sources import load


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save_images(folder: pathlib.Path, class_names: tuple[str, ...], count: int, seed: int, channels: int = 3) -> None:
    for position, name in enumerate(class_names):
        (folder / name).mkdir(parents=True)
        for index, image in enumerate(noise(count, 6, 8, channels, seed=seed + position)):
            image = image[:, :, 0] if channels == 1 else image
            Image.fromarray(image).save(folder / name / f"{index}{'.png' if index % 2 else '.bmp'}")


def with_splits(root: pathlib.Path) -> str:
    save_images(root / "pets/train", ("dog", "Cat", "9"), 12, 0)
    save_images(root / "pets/test", ("dog", "Cat", "9"), 2, 10)
    return str(root / "pets")


def with_validation(root: pathlib.Path) -> str:
    save_images(root / "pets/train", ("dog", "cat"), 3, 0)
    save_images(root / "pets/val", ("dog", "cat"), 2, 10)
    return str(root / "pets")


def without_splits(root: pathlib.Path) -> str:
    # Names that are those of splits elsewhere.
    save_images(root / "tickets", ("valid", "dev", "0", "1"), 5, 0, channels=1)
    return f"{root / 'tickets'}/"


def opaque_and_palette(root: pathlib.Path) -> str:
    save_images(root / "icons", ("a", "b"), 3, 0, channels=4)
    for name in "ab":
        for file in (root / "icons" / name).iterdir():
            image = Image.open(file).convert("RGBA")
            image.putalpha(255)
            image.save(file.with_suffix(".png"))
            Image.fromarray(noise(6, 8)).convert("P").save(file.with_suffix(".png").with_stem(f"p{file.stem}"))
    return str(root / "icons")


def native_arrays(root: pathlib.Path) -> str:
    floats = noise(9, 8, 8, 3).astype(np.float32) / 255
    names = np.array(["a", "b", "c"])
    np.savez(root / "mine.npz", train_images=floats, train_labels=np.arange(9) % 3, class_names=names, more=floats)
    return str(root / "mine.npz")


def keras_arrays(root: pathlib.Path) -> str:
    labels = (np.arange(9) % 3)[:, None]
    np.savez(root / "k.npz", x_train=noise(9, 8, 8), y_train=labels, x_test=noise(9, 8, 8, seed=1), y_test=labels)
    return str(root / "k.npz")


def digits(root: pathlib.Path) -> str:
    return "digits"


# As the version of November 2026 (e6df861) gave them, with an image_size of 5.
IDENTITIES = {
    with_splits: ("pets", 36, 6, "f9f6e17736fb2b98", "18f5b62993adac92"),
    with_validation: ("pets", 6, 4, "5c8d978d1fcb2c01", "c9b746dadc3dd37d"),
    without_splits: ("tickets", 16, 4, "baf7bf76a05171c3", "d8e86049a8782fde"),
    opaque_and_palette: ("icons", 12, 4, "f913b0a208cc8a69", "110dc80a648b4ce4"),
    native_arrays: ("mine", 6, 3, "cf6e12214ac496f3", "bb3b01e18dbf7c5e"),
    keras_arrays: ("k", 9, 9, "6fa4da6f7ef07f7c", "c2e181aa8e36cd00"),
    digits: ("digits", 1438, 359, "34b37df8bddeed95", "2dddcbd063d22750"),
}


@pytest.mark.parametrize("make", IDENTITIES)
def test_identities(tmp_path, make):
    real = load(make(tmp_path), image_size=5)
    identity = real.identity()
    assert (identity["name"], identity["images"], identity["test_images"]) == IDENTITIES[make][:3]
    assert (identity["sha256"][:16], identity["test_sha256"][:16]) == IDENTITIES[make][3:]
