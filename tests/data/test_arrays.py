"""Arrays under all common names, in all common layouts, with labels of all kinds."""

import numpy as np
import pytest

from fsdd.data.sources import load
from fsdd.errors import UserError


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


X, LABELS, X_TEST = noise(6, 5, 5, 3), np.array([0, 1, 2, 0, 1, 2]), noise(3, 5, 5, 3, seed=1)


def read(folder, **arrays):
    options = arrays.pop("options", {})
    np.savez(folder / "mine.npz", **arrays)
    return load(str(folder / "mine.npz"), test_fraction=0.0, **options)


def refusal(folder, **arrays) -> str:
    with pytest.raises(UserError) as error:
        read(folder, **arrays)
    assert "\n" not in str(error.value) and "mine.npz" in str(error.value)
    return str(error.value)


NAMES = [
    ("X", "y"),
    ("x", "Y"),
    ("images", "labels"),
    ("data", "target"),
    ("data", "targets"),
    ("image", "label"),
    ("x_train", "y_train"),
    ("X_train", "Y_train"),
    ("trainX", "trainY"),
    ("train-images", "train-labels"),
    ("train_data", "train_targets"),
    ("training.images", "training.classes"),
]


@pytest.mark.parametrize(("images", "labels"), NAMES)
def test_common_names(tmp_path, images, labels):
    real = read(tmp_path, **{images: X, labels: LABELS})
    np.testing.assert_array_equal(real.train_images, X)
    np.testing.assert_array_equal(real.train_labels, LABELS)
    assert real.notes == ()


@pytest.mark.parametrize("test", ["X_test", "test_images", "testX", "eval_data", "x_val", "valid_images"])
def test_common_names_of_test_splits(tmp_path, test):
    label = test.replace("images", "labels").replace("data", "labels").replace("X", "Y").replace("x_", "y_")
    real = read(tmp_path, **{"X": X, "y": LABELS, test: X_TEST, label: [2, 1, 0]})
    np.testing.assert_array_equal(real.test_images, X_TEST)
    assert real.test_labels.tolist() == [2, 1, 0]
    stands_in = [note for note in real.notes if f"{test} is the test set" in note]
    assert len(stands_in) == ("val" in test and "eval" not in test)


def test_arrays_that_are_not_used_are_named(tmp_path):
    validation = {"val_images": X_TEST[:1], "val_labels": [0]}
    real = read(tmp_path, X=X, y=LABELS, test_images=X_TEST, test_labels=[2, 1, 0], mask=X, **validation)
    np.testing.assert_array_equal(real.test_images, X_TEST)
    assert real.notes == ("mine: not used: mask, val_images [1, 5, 5, 3], val_labels [1]",)


def test_names_that_are_not_known_are_listed(tmp_path):
    line = refusal(tmp_path, faces=X, who=LABELS)
    assert "has arrays faces, who; needed are train_images and train_labels" in line and "X and y" in line
    assert "images and pixels could each be meant" in refusal(tmp_path, images=X, pixels=X, labels=LABELS)


@pytest.mark.parametrize("spelling", ["folder", "folder with a slash", "images", "labels"])
def test_npy_files(tmp_path, spelling):
    for name, array in {"X_train": X, "y_train": LABELS, "X_test": X_TEST, "y_test": [2, 1, 0]}.items():
        np.save(tmp_path / f"{name}.npy", array)
    places = {"folder": "", "folder with a slash": "/", "images": "/X_train.npy", "labels": "/y_train.npy"}
    real = load(f"{tmp_path}{places[spelling]}")
    np.testing.assert_array_equal(real.train_images, X)
    np.testing.assert_array_equal(real.test_labels, [2, 1, 0])
    assert real.name == tmp_path.name and not real.notes


def test_bad_npy_files(tmp_path):
    with pytest.raises(UserError, match=r"X.npy: no such file"):
        load(str(tmp_path / "X.npy"))
    (tmp_path / "X.npy").write_text("text")
    with pytest.raises(UserError, match=r"X.npy: not a readable .npy file"):
        load(str(tmp_path))


# ---- layouts


@pytest.mark.parametrize("shape", [(6, 3, 8, 8), (6, 1, 8, 8), (6, 13, 16, 16)])
def test_channels_first_are_recognised_and_said(tmp_path, shape):
    values = noise(*shape)
    real = read(tmp_path, X=values, y=LABELS)
    np.testing.assert_array_equal(real.train_images, values.transpose(0, 2, 3, 1))
    assert real.notes == (f"mine: X of shape {list(shape)} are read as channels first, {shape[1]} of them",)


@pytest.mark.parametrize("shape", [(6, 8, 8, 3), (6, 3, 3, 3), (6, 8, 8, 8), (6, 8, 8, 13), (6, 4, 4, 1)])
def test_squares_have_their_channels_last(tmp_path, shape):
    np.testing.assert_array_equal(read(tmp_path, X=noise(*shape), y=LABELS).train_images, noise(*shape))


def test_channels_first_that_are_not_square_need_a_size_alone(tmp_path):
    assert "5x6 pixels are not square; set image_size" in refusal(tmp_path, X=noise(6, 3, 6, 5), y=LABELS)
    real = read(tmp_path, X=noise(6, 3, 6, 5), y=LABELS, options={"image_size": 5})
    assert real.image_shape == (5, 5, 3)


# ---- numbers


@pytest.mark.parametrize("dtype", [np.uint16, np.int64, np.float64])
def test_other_numbers_by_pixel_range(tmp_path, dtype):
    values = np.zeros((6, 2, 2), dtype)
    values[:, 0, 1], values[:, 1, 0], values[:, 1, 1] = 100, 250, 1000
    assert "config.pixel_range=(BLACK, WHITE)" in refusal(tmp_path, X=values, y=LABELS)
    real = read(tmp_path, X=values, y=LABELS, options={"pixel_range": (0, 500)})
    assert real.train_images[0, :, :, 0].tolist() == [[0, 51], [128, 255]]
    assert real.notes == ("mine: 25 % of the values of X lie beyond pixel_range=(0, 500)",)


def test_truth_values_are_black_and_white(tmp_path):
    real = read(tmp_path, X=np.eye(4, dtype=bool)[None].repeat(6, 0), y=LABELS)
    np.testing.assert_array_equal(real.train_images[3, :, :, 0], np.eye(4, dtype=np.uint8) * 255)


# ---- labels

TEXTS = np.array(["ox", "cat", "ox", "dog", "cat", "dog"])
KINDS = {
    "from 1": (np.arange(6) % 3 + 1, [0, 1, 2, 0, 1, 2], "123", "labels 1 to 3 are numbered 0 to 2"),
    "gap": (np.array([0, 5, 9, 0, 5, 9]), [0, 1, 2, 0, 1, 2], "059", "labels 0, 5, 9 are numbered 0 to 2"),
    "signs": (np.array([-1, 1, 1, -1, 1, 1]), [0, 1, 1, 0, 1, 1], ["-1", "1"], "labels -1, 1 are numbered 0 to 1"),
    "one-hot": (np.eye(3)[LABELS], LABELS, "012", "one-hot rows of 3 are the place of their one"),
    "texts": (TEXTS, [2, 0, 2, 1, 0, 1], ["cat", "dog", "ox"], "texts are numbered in the order of the texts"),
    "bytes": (TEXTS.astype(bytes), [2, 0, 2, 1, 0, 1], ["cat", "dog", "ox"], "in the order of the texts"),
    "texts of numbers": (np.array(["10", "9", "1"] * 2), [2, 1, 0] * 2, ["1", "9", "10"], "in the order of"),
    "whole floats": (LABELS.astype(np.float32), LABELS, "012", None),
    "truth": (LABELS > 0, [0, 1, 1, 0, 1, 1], "01", None),
}


@pytest.mark.parametrize("case", KINDS)
def test_labels_of_all_kinds(tmp_path, case):
    given, wanted, names, note = KINDS[case]
    real = read(tmp_path, X=X, y=given, X_test=X[:2], y_test=given[:2])
    np.testing.assert_array_equal(real.train_labels, np.array(wanted, np.int32), strict=True)
    np.testing.assert_array_equal(real.test_labels, np.array(wanted[:2], np.int32), strict=True)
    assert real.class_names == tuple(names)
    assert (note is None and not real.notes) or (len(real.notes) == 1 and note in real.notes[0])


def test_class_names_belong_to_labels_in_order(tmp_path):
    names = np.array(["ox", "cat", "dog"])
    assert read(tmp_path, X=X, y=LABELS, class_names=names).class_names == ("ox", "cat", "dog")
    real = read(tmp_path, X=X, y=LABELS + 1, class_names=names)
    assert real.class_names == ("ox", "cat", "dog") and real.train_labels.tolist() == LABELS.tolist()
    real = read(tmp_path, X=X, y=TEXTS, class_names=names)
    assert real.class_names == ("ox", "cat", "dog") and real.train_labels.tolist() == [0, 1, 0, 2, 1, 2]


@pytest.mark.parametrize(
    ("labels", "test", "words"),
    [
        (np.array([0, 1, 2, 0, 1, -1]), [0], "label -1"),
        (np.array([0.5, 1, 2, 0, 1, 2]), [0], "float64 with fractions or NaN"),
        (np.array([np.nan, 1, 2, 0, 1, 2]), [0], "float64 with fractions or NaN"),
        (LABELS[:, None] == [[0, 0, 1]], [0], "not one-hot"),
        (TEXTS, ["cow"], "the test split has label 'cow'"),
        (TEXTS, [1], "those of the test split are int64"),
        (LABELS + 1, [0], "the test split has label 0"),
        (LABELS.astype(complex), [0], "complex128"),
    ],
)
def test_bad_labels(tmp_path, labels, test, words):
    assert words in refusal(tmp_path, X=X, y=labels, X_test=X[:1], y_test=np.array(test))
