"""Sets that Hugging Face's `datasets` loads, here from a local folder."""

import numpy as np
import pytest
from PIL import Image

from fsdd.data.sources import load
from fsdd.errors import UserError

pytest.importorskip("datasets", reason="the extra fsdd[huggingface] is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three training images and one test image of each of two classes; those of one class are grey."""
    place = tmp_path_factory.mktemp("hub") / "own" / "letters"
    for split, count in (("train", 3), ("test", 1)):
        for name in ("b", "a"):
            (place / split / name).mkdir(parents=True)
            for index in range(count):
                Image.fromarray(pixels(name, split, index)).save(place / split / name / f"{index}.png")
    return place


def pixels(name, split, index):
    shape = (6, 6) if name == "a" else (6, 6, 3)
    return np.random.default_rng([ord(name), len(split), index]).integers(0, 256, shape, np.uint8)


def test_a_local_folder_is_read_with_its_splits_and_names(folder, tmp_path):
    real = load(f"hf:{folder}", data_dir=str(tmp_path))
    assert (real.name, real.class_names) == ("letters", ("a", "b"))
    np.testing.assert_array_equal(real.train_labels, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(real.test_labels, [0, 1])
    np.testing.assert_array_equal(real.train_images[3:], [pixels("b", "train", index) for index in range(3)])
    np.testing.assert_array_equal(real.test_images[0], pixels("a", "test", 0)[..., None].repeat(3, axis=2))
    smaller = load(f"hf:{folder}", data_dir=str(tmp_path), image_size=3)
    assert smaller.train_images.shape == (6, 3, 3, 3)


def test_what_cannot_be_loaded_is_one_line(tmp_path, folder):
    with pytest.raises(UserError, match=r"dataset 'hf:/nowhere/at-all': Hugging Face's datasets cannot load it: .+"):
        load("hf:/nowhere/at-all", data_dir=str(tmp_path))
    Image.fromarray(np.zeros((6, 5), np.uint8)).save(folder / "train" / "a" / "9.png")
    with pytest.raises(UserError, match=r"dataset 'hf:.*letters': data\[3\]: image of 5x6 pixels.*image_size"):
        load(f"hf:{folder}", data_dir=str(tmp_path))
