"""Data that cannot be read, or not be distilled."""

import pathlib

import numpy as np
import pytest
from PIL import Image
from refusals import assert_refused, broken_arrays

from fsdd.core import whitening


def broken_folder(folder: pathlib.Path, spoil) -> str:
    """An image folder of two classes, one image of which `spoil` is given."""
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for index in range(2):
            Image.fromarray(np.full((64, 64, 3), index, np.uint8)).save(folder / name / f"{index}.png")
    spoil(folder / "dog")
    return str(folder)


def without_images(folder: pathlib.Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def with_a_cut_image(folder: pathlib.Path) -> None:
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:60])


DATA = {
    "no such folder": (lambda folder, arrays: str(folder / "absent"), ["absent", "no such folder"]),
    "no folder of this name": (lambda folder, arrays: "no_such_photos/", ["no_such_photos/", "no such folder"]),
    "no name at all": (lambda folder, arrays: "no-such-photos", ["'no-such-photos'", "no such folder", ".npz"]),
    "one class": (
        lambda folder, arrays: broken_arrays(
            folder, arrays, train_labels=np.zeros(18, int), test_labels=np.zeros(18, int)
        ),
        ["broken", "one class, '0'", "two or more"],
    ),
    "no such npz": (lambda folder, arrays: str(folder / "absent.npz"), ["absent.npz", "no such file"]),
    "class without images": (
        lambda folder, arrays: broken_folder(folder / "pets", without_images),
        ["pets/dog", "no images", ".png"],
    ),
    "cut image": (
        lambda folder, arrays: broken_folder(folder / "pets", with_a_cut_image),
        ["pets/dog/1.png", "not a readable image"],
    ),
    "NaN pixels": (
        lambda folder, arrays: broken_arrays(folder, arrays, train_images=np.full((18, 6, 6), np.nan, np.float32)),
        ["broken.npz", "train_images", "NaN", "floats in [0, 1]"],
    ),
    "one image many times": (
        lambda folder, arrays: broken_arrays(folder, arrays, train_images=np.full((18, 6, 6), 7, np.uint8)),
        ["broken", "all training images are the same"],
    ),
    "no labels": (
        lambda folder, arrays: broken_arrays(folder, arrays, train_labels=None),
        ["broken.npz", "needed are train_images and train_labels"],
    ),
    "a TFDS set that is not prepared": (lambda folder, arrays: "imagenet2012", ["'imagenet2012'", "prepare"]),
    "no TFDS set of this name": (lambda folder, arrays: "no_such_set", ["'no_such_set'", "'digits'", "folder", ".npz"]),
}


@pytest.mark.parametrize("case", DATA)
def test_data(place, tmp_path, arrays, case):
    make, words = DATA[case]
    (tmp_path / "data").mkdir()
    (tmp_path / "kept").mkdir()
    values = [f"dataset={make(tmp_path / 'data', arrays)}", f"data_dir={tmp_path / 'data'}"]
    assert_refused(place, tmp_path / "kept" / "run", values, words, tmp_path / "kept")


def test_images_too_many_and_too_large_to_whiten(place, tmp_path, arrays, monkeypatch):
    """As many as they have values, so that their whitening is a matrix: more than this machine has memory for."""
    (tmp_path / "kept").mkdir()
    monkeypatch.setattr(whitening, "fitting_bytes", lambda pixels, kind: 10**15)
    data = broken_arrays(tmp_path, arrays)
    words = ["config.whitening.kind is 'auto'", "1000000 GB", "images of 6x6", "'standardize'", "config.image_size"]
    assert_refused(place, tmp_path / "kept" / "run", [f"dataset={data}"], words, tmp_path / "kept")
