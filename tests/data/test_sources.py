import io
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import sklearn.datasets
import tensorflow_datasets
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fsdd.data import images
from fsdd.data.sources import load
from fsdd.errors import UserError


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: pathlib.Path, pixels: np.ndarray, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)


def assert_one_line_with(error: pytest.ExceptionInfo, *words: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def assert_equal(found: np.ndarray, expected) -> None:
    np.testing.assert_array_equal(found, expected, strict=True)


# ---- digits


def test_digits_are_scaled_and_partitioned():
    real = load("digits")
    digits = sklearn.datasets.load_digits()
    assert real.image_shape == (8, 8, 1) and real.class_names == tuple("0123456789")
    assert real.train_images.dtype == np.uint8 and real.train_labels.dtype == np.int32
    expected = {
        (np.floor(image * 255 / 16 + 0.5).astype(np.uint8).tobytes(), int(label))
        for image, label in zip(digits.images, digits.target, strict=True)
    }
    found = [
        (image.tobytes(), int(label))
        for image, label in [
            *zip(real.train_images, real.train_labels, strict=True),
            *zip(real.test_images, real.test_labels, strict=True),
        ]
    ]
    assert len(found) == 1797 and set(found) == expected
    counts = np.bincount(digits.target)
    np.testing.assert_allclose(np.bincount(real.test_labels), 0.2 * counts, atol=0.5)
    assert len(real.notes) == 1 and "held out" in real.notes[0]


def test_image_size_applies_to_digits():
    real, plain = load("digits", image_size=16), load("digits")
    assert real.image_shape == (16, 16, 1)
    one = Image.fromarray(plain.train_images[5, :, :, 0]).resize((16, 16), Image.Resampling.LANCZOS)
    assert_equal(real.train_images[5, :, :, 0], np.asarray(one))


# ---- held-out splits


def ids(pixels: np.ndarray) -> list[int]:
    return pixels.astype(int)[:, 0, 0, 0].tolist()


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 25), min_size=1, max_size=6).filter(lambda counts: max(counts) > 1),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
)
def test_held_out_split_is_a_stratified_partition(tmp_path_factory, counts, fraction, seed):
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    pixels = np.broadcast_to(np.arange(len(labels), dtype=np.uint8)[:, None, None], (len(labels), 2, 2))
    path = tmp_path_factory.getbasetemp() / "held_out.npz"
    np.savez(path, train_images=pixels, train_labels=labels)
    real = load(str(path), test_fraction=fraction, seed=seed)
    train, test = ids(real.train_images), ids(real.test_images)
    assert sorted(train + test) == list(range(len(labels)))
    assert_equal(real.train_labels, labels[train].astype(np.int32))
    assert_equal(real.test_labels, labels[test].astype(np.int32))
    for label, count in enumerate(counts):
        held_out = int((real.test_labels == label).sum())
        assert held_out < count
        assert (held_out >= 1) == (count >= 2)
        assert held_out in (1, count - 1) or abs(held_out - fraction * count) <= 0.5 or count == 1
    assert ids(load(str(path), test_fraction=fraction, seed=seed).test_images) == test


def test_validation_images_come_from_the_training_split_alone(tmp_path):
    pixels = np.broadcast_to(np.arange(60, dtype=np.uint8)[:, None, None], (60, 2, 2))
    labels = np.arange(60) % 3
    arrays = {"train_images": pixels[:40], "train_labels": labels[:40]}
    np.savez(tmp_path / "whole.npz", test_images=pixels[40:], test_labels=labels[40:], **arrays)
    np.savez(tmp_path / "train.npz", **arrays)
    real = load(str(tmp_path / "whole.npz"), validation_fraction=0.25)
    assert sorted(ids(real.train_images) + ids(real.test_images)) == list(range(40))
    # As if there were no test split at all.
    assert ids(real.test_images) == ids(load(str(tmp_path / "train.npz"), test_fraction=0.25).test_images)
    assert "in place of the test split" in real.notes[-1]


def test_another_seed_holds_out_other_images():
    assert not np.array_equal(load("digits", seed=0).test_images, load("digits", seed=1).test_images)


# ---- arrays


def test_arrays_with_a_test_split_are_read_as_they_are(tmp_path):
    train, test = noise(6, 5, 5, 3), noise(2, 5, 5, 3, seed=1)
    np.savez(
        tmp_path / "mine.npz",
        train_images=train,
        train_labels=np.array([2, 0, 1, 1, 1, 2], np.uint8),
        test_images=test,
        test_labels=np.array([2, 0]),
        class_names=np.array(["a", "b", "c"]),
    )
    real = load(str(tmp_path / "mine.npz"))
    assert_equal(real.train_images, train)
    assert_equal(real.test_images, test)
    assert_equal(real.train_labels, np.array([2, 0, 1, 1, 1, 2], np.int32))
    assert_equal(real.test_labels, np.array([2, 0], np.int32))
    assert (real.name, real.class_names, real.notes) == ("mine", ("a", "b", "c"), ())
    assert real.num_classes == 3 and real.image_shape == (5, 5, 3)


def test_keras_names_grey_images_and_column_labels(tmp_path):
    train, test = noise(4, 3, 3), noise(2, 3, 3, seed=1)
    np.savez(tmp_path / "mnist.npz", x_train=train, y_train=[[0], [1], [0], [1]], x_test=test, y_test=[[1], [1]])
    real = load(str(tmp_path / "mnist.npz"))
    assert_equal(real.train_images, train[..., None])
    assert_equal(real.test_images, test[..., None])
    assert_equal(real.train_labels, np.array([0, 1, 0, 1], np.int32))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_in_the_unit_interval_give_back_their_bytes(tmp_path, dtype):
    levels = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    floats = (levels / 255).astype(dtype)
    np.savez(tmp_path / "floats.npz", train_images=floats, train_labels=[0, 0, 1, 1])
    real = load(str(tmp_path / "floats.npz"))
    assert sorted(np.concatenate([real.train_images, real.test_images]).ravel()) == list(range(256))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 13])
def test_all_channels_of_arrays_are_kept(tmp_path, channels):
    pixels = noise(4, 3, 3, channels)
    np.savez(
        tmp_path / "a.npz", train_images=pixels, train_labels=[0, 1, 0, 1], test_images=pixels, test_labels=[0, 1, 0, 1]
    )
    assert_equal(load(str(tmp_path / "a.npz")).test_images, pixels)
    resized = load(str(tmp_path / "a.npz"), image_size=5).test_images
    last = Image.fromarray(pixels[2, :, :, -1]).resize((5, 5), Image.Resampling.LANCZOS)
    assert_equal(resized[2, :, :, -1], np.asarray(last))


def test_image_size_crops_and_resizes_arrays(tmp_path):
    pixels = noise(4, 6, 9, 3)
    np.savez(
        tmp_path / "wide.npz",
        train_images=pixels,
        train_labels=[0, 1, 0, 1],
        test_images=pixels,
        test_labels=[0, 1, 0, 1],
    )
    assert_equal(load(str(tmp_path / "wide.npz"), image_size=6).train_images, pixels[:, :, 1:7])
    assert load(str(tmp_path / "wide.npz"), image_size=4).test_images.shape == (4, 4, 4, 3)


GOOD = {"train_images": noise(4, 3, 3), "train_labels": np.array([0, 1, 0, 1])}
ARRAY_ERRORS = {
    "no labels": ({"train_images": GOOD["train_images"]}, ["train_labels", "has arrays train_images [4, 3, 3]"]),
    "no images": ({"train_labels": GOOD["train_labels"]}, ["train_images"]),
    "half a test split": (GOOD | {"test_images": noise(2, 3, 3)}, ["test_images", "test_labels", "both"]),
    "NaN": (GOOD | {"train_images": np.full((4, 3, 3), np.nan)}, ["train_images", "NaN", "[0, 1]"]),
    "infinity": (GOOD | {"train_images": np.full((4, 3, 3), -np.inf)}, ["train_images", "infinite"]),
    "floats to 255": (
        GOOD | {"train_images": np.linspace(0, 255, 36).reshape(4, 3, 3)},
        ["255", "[0, 1]", "config.pixel_range"],
    ),
    "negative floats": (GOOD | {"train_images": np.full((4, 3, 3), -0.5)}, ["-0.5", "[0, 1]"]),
    "integers": (GOOD | {"train_images": np.ones((4, 3, 3), np.int64)}, ["int64", "uint8", "config.pixel_range"]),
    "flat": (GOOD | {"train_images": noise(4, 9)}, ["[4, 9]", "[n, h, w]"]),
    "channels nowhere": (GOOD | {"train_images": noise(4, 9, 8, 9)}, ["[4, 9, 8, 9]", "[n, h, w, c]"]),
    "no pixels": (GOOD | {"train_images": noise(4, 0, 0)}, ["[4, 0, 0, 1]"]),
    "not square": (GOOD | {"train_images": noise(4, 3, 5)}, ["5x3", "image_size"]),
    "lengths": (GOOD | {"train_labels": np.array([0, 1, 0])}, ["4", "3", "train_labels"]),
    "negative label": (GOOD | {"train_labels": np.array([0, 1, 0, -1])}, ["train_labels", "-1"]),
    "huge label": (GOOD | {"train_labels": np.array([0, 1, 0, 1e30])}, ["train_labels", "1e+30"]),
    "fractional labels": (
        GOOD | {"train_labels": np.array([0, 1, 0, 0.5])},
        ["train_labels", "float64", "whole numbers"],
    ),
    "several labels": (GOOD | {"train_labels": np.ones((4, 2), int)}, ["train_labels", "[4, 2]", "one-hot"]),
    "class without training images": (GOOD | {"class_names": np.array(["a", "b", "c"])}, ["'c'", "no training images"]),
    "too few class names": (GOOD | {"class_names": np.array(["a"])}, ["up to 1", "1 class_names"]),
    "unknown test class": (GOOD | {"test_images": noise(1, 3, 3), "test_labels": np.array([2])}, ["test", "label 2"]),
    "test of another size": (
        GOOD | {"test_images": noise(1, 4, 4), "test_labels": np.array([0])},
        ["[4, 4, 1]", "[3, 3, 1]"],
    ),
    "test in colour": (GOOD | {"test_images": noise(1, 3, 3, 3), "test_labels": np.array([0])}, ["[3, 3, 3]", "train"]),
    "empty": ({"train_images": noise(0, 3, 3), "train_labels": np.zeros(0, int)}, ["no training images"]),
    "nothing to hold out": (
        {"train_images": noise(2, 3, 3), "train_labels": np.array([0, 1])},
        ["no test images", "single training image"],
    ),
    "objects": (GOOD | {"train_labels": np.array([0, 1, 0, None], dtype=object)}, ["plain arrays"]),
}


@pytest.mark.parametrize("case", ARRAY_ERRORS)
def test_bad_arrays(tmp_path, case):
    arrays, words = ARRAY_ERRORS[case]
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(UserError) as error:
        load(str(tmp_path / "bad.npz"))
    assert_one_line_with(error, "bad", *words)


def test_files_that_are_no_npz(tmp_path):
    single, text, folder, empty = (tmp_path / f"{name}.npz" for name in ("single", "text", "folder", "empty"))
    with single.open("wb") as file:
        np.save(file, np.zeros(3))
    text.write_text("a,b\n1,2\n")
    folder.mkdir()
    empty.touch()
    for path in (single, text, folder, empty):
        with pytest.raises(UserError) as error:
            load(str(path))
        assert_one_line_with(error, str(path), ".npz")
    with pytest.raises(UserError) as error:
        load(str(tmp_path / "missing.npz"))
    assert_one_line_with(error, "missing.npz", "no such file")


def test_a_cut_npz_is_a_user_error(tmp_path):
    np.savez(tmp_path / "whole.npz", **GOOD)
    whole = (tmp_path / "whole.npz").read_bytes()
    for length in range(0, len(whole), 37):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(UserError) as error:
            load(str(tmp_path / "cut.npz"))
        assert_one_line_with(error, "cut.npz")


# ---- image folders


def test_folder_with_both_splits_gives_back_exact_pixels(tmp_path):
    root = tmp_path / "pets"
    pixels = noise(5, 6, 6, 3)
    save(root / "train/dog/1.png", pixels[0])
    save(root / "train/cat/2.bmp", pixels[1])
    save(root / "train/cat/1.PNG", pixels[2])
    save(root / "test/dog/9.png", pixels[3])
    save(root / "test/cat/9.png", pixels[4])
    Image.fromarray(pixels[0]).save(root / "train/dog/2.webp", lossless=True)
    (root / "train/dog/notes.txt").write_text("not an image")
    (root / "train/dog/.hidden.png").write_text("not an image")
    (root / "train/.cache").mkdir()
    (root / "train/README").write_text("not a class")
    real = load(str(root))
    assert (real.name, real.class_names) == ("pets", ("cat", "dog"))
    assert real.notes == ("pets: 2 files are not used: train/README, train/dog/notes.txt",)
    assert_equal(real.train_images, pixels[[2, 1, 0, 0]])
    assert_equal(real.train_labels, np.array([0, 0, 1, 1], np.int32))
    assert_equal(real.test_images, pixels[[4, 3]])
    assert_equal(real.test_labels, np.array([0, 1], np.int32))


def test_folder_without_train_is_held_out_from_and_stays_grey(tmp_path, monkeypatch):
    pixels = noise(9, 4, 4)
    for index, image in enumerate(pixels):
        save(tmp_path / "set" / "ab"[index % 2] / f"{index}.png", image)
    monkeypatch.chdir(tmp_path)
    by_path, by_name, by_dots = load(str(tmp_path / "set")), load("set"), load("./set")
    assert by_path.image_shape == (4, 4, 1) and "held out" in by_path.notes[0]
    both = np.concatenate([by_path.train_images, by_path.test_images])
    assert {image.tobytes() for image in both} == {image.tobytes() for image in pixels} and len(both) == 9
    for other in (by_name, by_dots):
        assert_equal(other.test_images, by_path.test_images)
    assert by_dots.name == "set"


def test_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for index in range(4):
        save(tmp_path / f"set/{index % 2}/{index}.png", noise(4, 4))
    assert load("~/set").num_classes == 2


def test_validation_folder_stands_in_for_test(tmp_path):
    for split in ("train", "val"):
        save(tmp_path / split / "a" / "0.png", noise(4, 4))
    real = load(str(tmp_path))
    assert len(real.test_images) == 1 and "val/" in real.notes[0]


@pytest.mark.filterwarnings("error")
def test_one_colour_image_makes_all_rgb(tmp_path):
    grey, colour = noise(2, 4, 4), noise(2, 4, 4, 3, seed=1)
    save(tmp_path / "train/a/0.png", grey[0])
    save(tmp_path / "train/a/1.png", colour[0])
    save(tmp_path / "train/a/2.png", grey[1])
    palette = Image.fromarray(noise(4, 4) % 2).convert("P")
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.save(tmp_path / "train/a/3.png")
    save(tmp_path / "test/a/0.png", grey[1])
    real = load(str(tmp_path))
    assert_equal(real.train_images[0], np.stack([grey[0]] * 3, axis=2))
    assert_equal(real.train_images[1], colour[0])
    assert_equal(real.train_images[2], np.stack([grey[1]] * 3, axis=2))
    assert_equal(real.train_images[3], np.array([[10, 20, 30], [200, 100, 50]], np.uint8)[noise(4, 4) % 2])
    assert_equal(real.test_images[0], np.stack([grey[1]] * 3, axis=2))


def test_grey_with_alpha_and_bitmaps_are_grey(tmp_path):
    save(tmp_path / "train/a/0.png", np.stack([noise(4, 4), np.full((4, 4), 255, np.uint8)], axis=2))
    save(tmp_path / "train/a/1.png", np.eye(4, dtype=bool))
    save(tmp_path / "test/a/0.png", noise(4, 4))
    real = load(str(tmp_path))
    assert_equal(real.train_images[0, :, :, 0], noise(4, 4))
    assert_equal(real.train_images[1, :, :, 0], np.eye(4, dtype=np.uint8) * 255)


def test_image_size_crops_the_centre_and_resizes_with_lanczos(tmp_path):
    wide, tall = noise(6, 10, 3), noise(9, 6, 3, seed=1)
    save(tmp_path / "train/a/wide.png", wide)
    save(tmp_path / "test/a/tall.png", tall)
    real = load(str(tmp_path), image_size=6)
    assert_equal(real.train_images[0], wide[:, 2:8])
    assert_equal(real.test_images[0], tall[1:7])
    shrunk = Image.fromarray(wide[:, 2:8]).resize((4, 4), Image.Resampling.LANCZOS)
    assert_equal(load(str(tmp_path), image_size=4).train_images[0], np.asarray(shrunk))


def test_orientation_tag_is_obeyed(tmp_path):
    pixels = noise(4, 4, 3)
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    for split in ("train", "test"):
        (tmp_path / split / "a").mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / split / "a" / "0.png", exif=exif)
    assert_equal(load(str(tmp_path)).train_images[0], pixels[::-1, ::-1])


def cut_png(path: pathlib.Path) -> None:
    save(path, noise(32, 32, 3))
    path.write_bytes(path.read_bytes()[:1000])


FOLDER_ERRORS = {
    "other size": (lambda root: save(root / "train/b/1.png", noise(5, 5)), ["b/1.png", "5x5", "4x4", "image_size"]),
    "not square": (lambda root: save(root / "train/a/0.png", noise(4, 6)), ["a/0.png", "6x4", "image_size"]),
    "other size in test": (lambda root: save(root / "test/a/0.png", noise(8, 8)), ["test/a/0.png", "image_size"]),
    "cut file": (lambda root: cut_png(root / "train/b/cut.png"), ["b/cut.png", "readable"]),
    "text": (lambda root: (root / "train/b/x.jpg").write_text("hello"), ["b/x.jpg", "readable"]),
    "empty file": (lambda root: (root / "train/b/x.jpg").touch(), ["b/x.jpg", "readable"]),
    "16 bits": (
        lambda root: save(root / "train/b/x.png", noise(4, 4).astype(np.uint16) * 256),
        ["b/x.png", "uint16", "config.pixel_range"],
    ),
    "empty class": (lambda root: (root / "train/none").mkdir(), ["train/none", "no images"]),
    "unknown test class": (lambda root: save(root / "test/c/0.png", noise(4, 4)), ["test/c", "'c'", "no training"]),
}


@pytest.mark.parametrize("case", FOLDER_ERRORS)
def test_bad_folders(tmp_path, case):
    spoil, words = FOLDER_ERRORS[case]
    for name in ("a/0.png", "a/1.png", "b/0.png", "b/1.png"):
        save(tmp_path / "train" / name, noise(4, 4))
    spoil(tmp_path)
    with pytest.raises(UserError) as error:
        load(str(tmp_path))
    assert_one_line_with(error, *words)


def test_a_large_cut_file_is_named_when_images_are_resized(tmp_path):
    for index in range(8):
        save(tmp_path / f"a/{index}.png", noise(40, 50, 3))
    cut_png(tmp_path / "a/5.png")
    with pytest.raises(UserError) as error:
        load(str(tmp_path), image_size=8)
    assert_one_line_with(error, "a/5.png")


def test_folders_of_another_layout(tmp_path):
    (tmp_path / "empty").mkdir()
    save(tmp_path / "only_test/test/a/0.png", noise(4, 4))
    (tmp_path / "a_file").touch()
    for name, words in {
        "empty": ["no class folders"],
        "only_test": ["no train/"],
        "missing": ["no such folder"],
        "a_file": ["no such folder"],
    }.items():
        with pytest.raises(UserError) as error:
            load(str(tmp_path / name))
        assert_one_line_with(error, name, *words)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of some damage before it raises
@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF"]),
    damage=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    keep=st.floats(0, 1),
)
def test_damaged_bytes_give_an_image_or_a_user_error(kind, damage, keep):
    buffer = io.BytesIO()
    Image.fromarray(noise(9, 9, 3)).save(buffer, kind)
    raw = bytearray(buffer.getvalue())
    for place, value in damage:
        raw[int(place * len(raw))] = value
    try:
        pixels = images.decode(io.BytesIO(bytes(raw[: int(keep * len(raw))])), "picture", images.Reading(4))
    except UserError as error:
        assert str(error).startswith("picture: ") and "\n" not in str(error)
    else:
        assert pixels.dtype == np.uint8 and pixels.shape in ((4, 4, 1), (4, 4, 3))


# ---- TFDS


class FsddTestSet(tensorflow_datasets.core.GeneratorBasedBuilder):
    """Tiny PNG images of the splits and labels that a config asks for; it needs neither network nor TensorFlow."""

    name = "fsdd_test_set"
    VERSION = tensorflow_datasets.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012
        tensorflow_datasets.core.BuilderConfig(name=name)
        for name in (
            "both",
            "validation",
            "train",
            "withheld",
            "gap",
            "no_train",
            "two_images",
            "wide",
            "text",
            "needs_more",
        )
    ]
    SPLITS = {  # noqa: RUF012
        "both": {"train": [0, 1, 1, 2], "test": [2, 0], "validation": [1]},
        "validation": {"train": [0, 1, 1, 2], "validation": [1, 2]},
        "train": {"train": [0, 1, 1, 2, 0, 2]},
        "withheld": {"train": [0, 1, 2], "test": [-1, -1], "validation": [1, 2]},
        "gap": {"train": [0, 2, 2], "test": [2]},
        "no_train": {"test": [0, 1, 2]},
    }

    def _info(self):
        config = self.builder_config.name
        kinds = tensorflow_datasets.features
        features = {
            "image": kinds.Image(shape=(None, None, 3)),
            "label": kinds.ClassLabel(names=["x", "y", "z"]),
            "other": kinds.ClassLabel(num_classes=7),
        }
        if config == "two_images":
            features["mask"] = kinds.Image(shape=(4, 4, 1))
        if config == "wide":
            features["image"] = kinds.Image(shape=(4, 4, 3), dtype=np.uint16)
        if config == "text":
            features = {"text": kinds.Text(), "label": kinds.ClassLabel(num_classes=2)}
        supervised = None if config in ("two_images", "text") else ("image", "label")
        return tensorflow_datasets.core.DatasetInfo(
            builder=self, features=kinds.FeaturesDict(features), supervised_keys=supervised
        )

    def _split_generators(self, dl_manager):
        if self.builder_config.name == "needs_more":
            import a_library_that_is_not_installed  # noqa: F401 - as TFDS does for sets that need TensorFlow
        splits = self.SPLITS.get(self.builder_config.name, {"train": [0, 1]})
        return {split: self._generate_examples(split, labels) for split, labels in splits.items()}

    def _generate_examples(self, split, labels):
        for index, label in enumerate(labels):
            example = {"image": tfds_image(split, index), "label": label, "other": 0}
            if self.builder_config.name == "two_images":
                example["mask"] = tfds_image(split, index)
            if self.builder_config.name == "text":
                example = {"text": "hello", "label": label}
            yield index, example


def tfds_image(split: str, index: int) -> io.BytesIO:
    buffer = io.BytesIO()
    Image.fromarray(tfds_pixels(split, index)).save(buffer, "PNG")
    buffer.seek(0)
    return buffer


def tfds_pixels(split: str, index: int) -> np.ndarray:
    return noise(4, 4, 3, seed=index + 100 * len(split))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


def by_pixels(pixels: np.ndarray, labels: np.ndarray) -> dict[bytes, int]:
    return {image.tobytes(): int(label) for image, label in zip(pixels, labels, strict=True)}


def expected_split(split: str, labels: list[int]) -> dict[bytes, int]:
    return {tfds_pixels(split, index).tobytes(): label for index, label in enumerate(labels)}


@pytest.mark.parametrize("name", ["fsdd_test_set/both", "fsdd_test_set/both:1.0.0"])
def test_tfds_set_is_prepared_once_and_read(data_dir, name):
    real = load(name, data_dir=data_dir)
    assert by_pixels(real.train_images, real.train_labels) == expected_split("train", [0, 1, 1, 2])
    assert by_pixels(real.test_images, real.test_labels) == expected_split("test", [2, 0])
    assert (real.name, real.class_names, real.notes) == (name, ("x", "y", "z"), ())
    assert real.train_labels.dtype == np.int32 and real.train_images.shape == (4, 4, 4, 3)
    assert load(name, data_dir=data_dir, image_size=2).image_shape == (2, 2, 3)


@pytest.mark.parametrize("config", ["validation", "withheld"])
def test_tfds_validation_stands_in_for_a_missing_or_unlabelled_test(data_dir, config):
    real = load(f"fsdd_test_set/{config}", data_dir=data_dir)
    assert by_pixels(real.test_images, real.test_labels) == expected_split("validation", [1, 2])
    assert len(real.notes) == 1 and "validation" in real.notes[0]


def test_tfds_set_without_test_is_held_out_from(data_dir):
    real = load("fsdd_test_set/train", data_dir=data_dir)
    assert sorted(real.train_labels) == sorted(real.test_labels) == [0, 1, 2]
    both = by_pixels(real.train_images, real.train_labels) | by_pixels(real.test_images, real.test_labels)
    assert both == expected_split("train", [0, 1, 1, 2, 0, 2]) and "held out" in real.notes[0]


def test_tfds_classes_without_images_are_left_out(data_dir):
    real = load("fsdd_test_set/gap", data_dir=data_dir)
    assert real.class_names == ("x", "z") and "y" in real.notes[0]
    assert by_pixels(real.train_images, real.train_labels) == expected_split("train", [0, 1, 1])
    assert real.test_labels.tolist() == [1]


def test_tfds_set_is_read_from_files_alone_and_without_tensorflow(data_dir):
    load("fsdd_test_set/both", data_dir=data_dir)
    program = (
        "import sys; from fsdd.data.sources import load; "
        f"print(load('fsdd_test_set/both', data_dir={data_dir!r}).train_images.shape, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(4, 4, 4, 3) False"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fsdd_no_such_set", ["neither TFDS nor", "digits", ".npz"]),
        ("fsdd_test_set/nothing", ["nothing"]),
        ("fsdd_test_set/both:7.0.0", ["7.0.0", "1.0.0"]),
        ("Foo bar", ["Foo bar"]),
        ("", ["''"]),
        ("fsdd_test_set/no_train", ["no train split", "test"]),
        ("fsdd_test_set/two_images", ["not image classification", "mask: Image"]),
        ("fsdd_test_set/text", ["not image classification", "text: Text"]),
        ("fsdd_test_set/wide", ["uint16", "uint8"]),
    ],
)
def test_bad_tfds_sets(data_dir, name, words):
    with pytest.raises(UserError) as error:
        load(name, data_dir=data_dir)
    assert_one_line_with(error, name, *words)


def test_a_set_that_this_installation_cannot_prepare(tmp_path):
    with pytest.raises(UserError) as error:
        load("fsdd_test_set/needs_more", data_dir=str(tmp_path))
    assert_one_line_with(
        error, "fsdd_test_set/needs_more", str(tmp_path), 'pip install "fsdd[prepare]"', "not_installed"
    )


def test_prepared_as_tfrecord(tmp_path):
    load("fsdd_test_set/both", data_dir=str(tmp_path))
    path = tmp_path / "fsdd_test_set/both/1.0.0/dataset_info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fileFormat": "tfrecord"}))
    with pytest.raises(UserError) as error:
        load("fsdd_test_set/both", data_dir=str(tmp_path))
    assert_one_line_with(error, str(path.parent), "tfrecord", "array_record")


@pytest.mark.parametrize("spoil", [lambda file: file.unlink(), lambda file: file.write_bytes(file.read_bytes()[:500])])
def test_missing_and_damaged_tfds_files(tmp_path, spoil):
    load("fsdd_test_set/both", data_dir=str(tmp_path))
    spoil(next(tmp_path.glob("**/*train.array_record*")))
    with pytest.raises(UserError) as error:
        load("fsdd_test_set/both", data_dir=str(tmp_path))
    assert_one_line_with(error, "fsdd_test_set/both", str(tmp_path))


# ---- arguments


@pytest.mark.parametrize("kind", ["", "/", ".npz", ".npy"])
@pytest.mark.parametrize("path", ["/\0", "~nosuchuser/x", "/" + "x" * 300, "./missing"])
def test_paths_of_nothing(path, kind):
    with pytest.raises(UserError) as error:
        load(path + kind)
    assert_one_line_with(error, path[-10:].strip("\0/"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"image_size": -1}, ["image_size", "-1"]),
        ({"test_fraction": -0.1}, ["test_fraction", "-0.1"]),
        ({"validation_fraction": 1.0}, ["validation_fraction", "1.0"]),
        ({"test_fraction": 1.0}, ["test_fraction", "1.0"]),
        ({"test_fraction": float("nan")}, ["test_fraction", "nan"]),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(UserError) as error:
        load("digits", **arguments)
    assert_one_line_with(error, *words)


def test_some_classes_are_numbered_in_the_order_given():
    whole = load("digits", test_fraction=0.2)
    some = whole.only((7, 2))
    assert some.class_names == (whole.class_names[7], whole.class_names[2])
    for split in ("train", "test"):
        images, labels = (getattr(some, f"{split}_{what}") for what in ("images", "labels"))
        before = getattr(whole, f"{split}_labels")
        rows = np.flatnonzero((before == 7) | (before == 2))
        np.testing.assert_array_equal(images, getattr(whole, f"{split}_images")[rows])
        np.testing.assert_array_equal(np.array([7, 2])[labels], before[rows])
