"""What `fsdd.distill` takes for data, by the images and labels that come of it."""

import io

import numpy as np
import pytest
from PIL import Image

import fsdd
from fsdd.data import handed_in

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 8, 8, 3)).astype(np.uint8)
LABELS = np.repeat([0, 1], 6)
NAMES = ("ant", "bee")


class Tensor:
    """What a PyTorch tensor can do of what is asked of it."""

    def __init__(self, array):
        self._array, self.shape, self.dtype = array, array.shape, array.dtype

    def numpy(self):
        return self._array

    def __array__(self, dtype=None, copy=None):
        return np.array(self._array, dtype)


class Pairs:
    """A map-style dataset as torchvision has them."""

    classes = NAMES

    def __init__(self, images, labels=LABELS):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.images[index], self.labels[index]


class ClassLabel:
    names = NAMES


class Split:
    """A Hugging Face split."""

    def __init__(self, images, labels=LABELS):
        image_feature = type("Image", (), {})()
        self.features = {"id": object(), "img": image_feature, "label": ClassLabel()}
        self._rows = [{"id": 0, "img": image, "label": int(label)} for image, label in zip(images, labels, strict=True)]

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, index):
        return self._rows[index]


def encoded(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return {"bytes": file.getvalue(), "path": None}


FLOATS = (PIXELS / 255).astype(np.float32)
FIRST = np.ascontiguousarray(PIXELS.transpose(0, 3, 1, 2))
PILLOW = [Image.fromarray(image) for image in PIXELS]
FORMS = {
    "uint8 arrays": (PIXELS, LABELS),
    "floats": (FLOATS, LABELS.astype(np.int64)),
    "channels first": (FIRST, LABELS),
    "tensors": (Tensor(FIRST), Tensor(LABELS)),
    "one-hot": (PIXELS, np.eye(2)[LABELS]),
    "a column": (PIXELS, LABELS[:, None]),
    "lists of labels": (PIXELS, LABELS.tolist()),
    "pairs of Pillow": Pairs(PILLOW),
    "pairs of tensors": Pairs([Tensor(image) for image in (FIRST / 255).astype(np.float32)]),
    "pairs of arrays": Pairs(PIXELS),
    "train and test": (Pairs(PILLOW), Pairs(PILLOW[::2], LABELS[::2])),
    "a split": Split(PILLOW),
    "a split of bytes": Split([encoded(image) for image in PIXELS]),
    "splits": {"train": Split(PILLOW), "test": Split(PILLOW[::2], LABELS[::2])},
    "four arrays": (PIXELS, LABELS, PIXELS[::2], LABELS[::2]),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_set(form):
    real = handed_in.read(FORMS[form])
    np.testing.assert_array_equal(real.train_images, PIXELS)
    np.testing.assert_array_equal(real.train_labels, LABELS)
    named = any(word in form for word in ("pairs", "split", "train and"))
    assert real.class_names == (NAMES if named else ("0", "1"))
    has_test = form in ("train and test", "splits", "four arrays")
    np.testing.assert_array_equal(real.test_images, PIXELS[::2] if has_test else PIXELS[:0])
    np.testing.assert_array_equal(real.test_labels, LABELS[::2] if has_test else LABELS[:0])


def test_labels_of_any_kind_are_numbered_in_their_order():
    real = handed_in.read((PIXELS, LABELS * 7 + 3, PIXELS[6:8], [10, 10]))
    assert real.class_names == ("3", "10")
    np.testing.assert_array_equal(real.train_labels, LABELS)
    np.testing.assert_array_equal(real.test_labels, [1, 1])
    real = handed_in.read((PIXELS, ["dog"] * 6 + ["cat"] * 6))
    assert real.class_names == ("cat", "dog")
    np.testing.assert_array_equal(real.train_labels, 1 - LABELS)


def test_images_are_resized_and_grey_ones_are_grey():
    assert handed_in.read((np.zeros((12, 6, 9), np.uint8), LABELS), 4).train_images.shape == (12, 4, 4, 1)
    assert handed_in.read(Pairs([Image.new("L", (9, 6), 50)] * 12), 4).train_images.shape == (12, 4, 4, 1)
    real = handed_in.read(handed_in.read((PIXELS, LABELS)), 4)
    assert real.train_images.shape == (12, 4, 4, 3)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, r"data is None; allowed: a path, a TFDS name"),
        (b"photos", "data is b'photos'; allowed: a path"),
        (3.5, "data is 3.5"),
        (PIXELS, r"data is an array of shape \[12, 8, 8, 3\] without labels"),
        ((PIXELS, LABELS, PIXELS), "data is a tuple of 3"),
        ((PIXELS, LABELS[:5]), r"data: 12 images and labels of shape \[5\]"),
        ((PIXELS, LABELS / 2), "data: labels of type float64"),
        ((PIXELS, LABELS, PIXELS, LABELS + 1), "data: test label 2; allowed: those of the training labels, 0 to 1"),
        ((PIXELS[:, :, :5], LABELS), "images of 5x8 pixels are not square; allowed with image_size only"),
        (((FLOATS - 0.5) / 0.2, LABELS), r"data: images: float\w+ from -2.5 to 2.5; .*leave out what normalises"),
        (Pairs([Tensor((image - 100) / 50) for image in FIRST]), r"data\[0\]: float\w+ from .*transforms\.Normalize"),
        (Pairs(PIXELS, []), "data has no items"),
        ([1, 2, 3], "data is a list of 3"),
    ],
)
def test_what_is_no_data_is_one_line_and_leaves_nothing(tmp_path, data, words):
    with pytest.raises(fsdd.UserError, match=words) as caught:
        fsdd.distill(data, tmp_path / "run")
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_a_split_without_labels_is_one_line():
    split = Split(PILLOW)
    del split.features["label"]
    with pytest.raises(
        fsdd.UserError, match=r"data has the columns.*'img': 'Image'.*allowed: an Image, and a ClassLabel"
    ):
        handed_in.read(split)
