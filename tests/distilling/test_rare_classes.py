"""One rare class does not cap the images per class of the others."""

import shutil

import numpy as np
import pytest
import runs
from PIL import Image

import fsdd
from fsdd import config as configs
from fsdd.assembly import real_sets
from fsdd.data.real_set import RealSet
from fsdd.errors import UserError


def run(folder, **changes):
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [30, 5, 20])
    np.savez(folder / "mine.npz", images=random.integers(0, 256, (55, 8, 8), np.uint8), labels=labels)
    fields = {"dataset": str(folder / "mine.npz"), "test_fraction": 0.2, "evaluate.networks": 0}
    return runs.run(runs.default(runs.TINY | fields | changes), folder / "run")


@pytest.mark.parametrize("changes", [{"stages": ()}, {"stages": ("distill",)}, {"start": "herding", "stages": ()}])
def test_it_starts_from_all_it_has_and_the_run_says_so(tmp_path, capsys, changes):
    run(tmp_path, ipc=6, **changes)
    assert (
        "mine: 1 of 3 classes have fewer than 6 training images: 1 (4); they start from all they have, repeated "
        "mirrored and slightly perturbed" in capsys.readouterr().out
    )
    stored = fsdd.load(tmp_path / "run/synthetic.npz")
    assert np.bincount(stored.classes).tolist() == [6, 6, 6]
    if not changes["stages"]:
        rare = stored.pixels[6:12]
        assert len(np.unique(rare.reshape(6, -1), axis=0)) == 6
        # The fifth and the sixth are mirror images of the first two, nearly.
        near = np.abs(rare[4:] - rare[:2, :, ::-1]).mean()
        assert 0 < near < 0.05 < np.abs(rare[4:] - rare[2:4, :, ::-1]).mean()


@pytest.mark.parametrize(
    ("balanced", "line"),
    [
        (None, "they are drawn so that classes count alike; config.balanced=False is for drawing them as they come"),
        (False, "frequent classes count more; config.balanced=True is for classes that count alike"),
    ],
)
def test_how_classes_differ_is_told(tmp_path, capsys, balanced, line):
    run(tmp_path, stages=(), balanced=balanced)
    assert f"mine: 4 (1) to 24 (0) training images per class; {line}\n" in capsys.readouterr().out


def test_where_classes_differ_real_images_are_drawn_so_that_they_count_alike(tmp_path):
    stored = []
    for balanced in (None, False):
        run(tmp_path, stages=("distill",), balanced=balanced)
        stored.append(fsdd.load(tmp_path / "run/synthetic.npz").pixels)
        shutil.rmtree(tmp_path / "run")
    assert not np.array_equal(*stored)


@pytest.mark.parametrize(
    ("counts", "unequal"), [([10, 14], False), ([10, 15], True), ([3, 2, 3], True), ([5, 5], False)]
)
def test_classes_are_unequal_where_one_has_half_as_many_images_again(counts, unequal):
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    images = np.zeros((len(labels), 2, 2, 1), np.uint8)
    data = RealSet("mine", images, labels, images[:0], labels[:0], tuple("abc"[: len(counts)]))
    assert real_sets.draws_balanced(configs.resolve(configs.default()), data) == unequal


def test_no_more_than_the_largest_class_has(tmp_path):
    with pytest.raises(UserError, match=r"config.ipc is 25; allowed: at most 24, the images of the largest class"):
        run(tmp_path, ipc=25)


def test_one_image_per_class_in_numbered_folders_is_stored_in_the_order_of_the_numbers(tmp_path, capsys):
    for label in range(11):
        (tmp_path / f"photos/{label}").mkdir(parents=True)
        image = np.random.default_rng(label).integers(0, 128, (8, 8), np.uint8)
        image[0, 0] = 20 * label
        Image.fromarray(image).save(tmp_path / f"photos/{label}/only.png")
    fields = {"dataset": str(tmp_path / "photos"), "test_fraction": 0.0, "evaluate.networks": 0, "stages": ()}
    runs.run(runs.default(runs.TINY | fields), tmp_path / "run")
    stored = fsdd.load(tmp_path / "run/synthetic.npz")
    assert stored.class_names == tuple(str(label) for label in range(11))
    np.testing.assert_allclose(stored.pixels[:, 0, 0, 0] * 255, 20 * np.arange(11), atol=0.01)
    with np.load(tmp_path / "run/synthetic.npz") as arrays:
        assert arrays["class_names"].tolist() == list(stored.class_names) and arrays["classes"].tolist() == list(
            range(11)
        )
    order = "photos: 11 classes, in the order of their labels from 0: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10\n"
    assert order in capsys.readouterr().out
