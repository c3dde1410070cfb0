"""The Python API: arguments, stored sets as programs use them, scores and trained networks."""

import dataclasses
import logging
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
import runs
import sklearn.datasets

import fsdd
from fsdd.config import arguments
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.io import notes, stored_files

ROOT = pathlib.Path(__file__).parents[1]
DIGITS = sklearn.datasets.load_digits()
PIXELS = np.rint(DIGITS.images * (255 / 16)).astype(np.uint8)
TRAIN, TEST = slice(0, 1200), slice(1200, None)
DATA = (PIXELS[TRAIN], DIGITS.target[TRAIN], PIXELS[TEST], DIGITS.target[TEST])
FIELDS = {"network": {"width": 8, "depth": 2}, "distill.steps": np.int64(100)}
FIELDS |= {"evaluate": {"networks": 2, "steps": 100}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small run on arrays."""
    folder = tmp_path_factory.mktemp("made") / "run"
    return folder, fsdd.distill(DATA, folder, FIELDS, ipc=np.int64(2), method="distill", seed=np.uint8(3))


def test_arrays_are_distilled_by_arguments(made):
    folder, stored = made
    config = stored.provenance["config"]
    assert (config["ipc"], config["seed"], config["stages"], config["distill.steps"]) == (2, 3, ["distill"], 100)
    assert stored.provenance["dataset"] == "arrays" and stored.class_names == tuple("0123456789")
    assert stored.train_images.shape == (20, 8, 8, 1) and stored.train_labels.shape == (20, 10)
    loaded = fsdd.load(str(folder))
    np.testing.assert_array_equal(loaded.train_images, stored.train_images)
    assert loaded.provenance["evaluations"][0]["test_images"] == len(DATA[2])
    again = fsdd.distill(DATA, folder, FIELDS, ipc=2, method="distill", seed=3)
    np.testing.assert_array_equal(again.train_images, stored.train_images)
    with pytest.raises(fsdd.UserError, match=r"was made with another .*its sha256"):
        fsdd.distill((255 - DATA[0], *DATA[1:]), folder, FIELDS, ipc=2, method="distill", seed=3)


def test_a_workdir_that_is_not_given_is_named(capsys):
    stored = fsdd.distill(DATA, method="real", fields={"evaluate.networks": 0})
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("workdir: "))
    folder = line.removeprefix("workdir: ").partition(",")[0]
    np.testing.assert_array_equal(fsdd.load(folder).train_images, stored.train_images)


def test_notes_go_through_logging(capsys):
    seen = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())
    before = notes.logger.handlers[:]
    notes.logger.handlers[:] = [handler]
    try:
        notes.say("100% of it")
    finally:
        notes.logger.handlers[:] = before
    assert seen == ["100% of it"] and capsys.readouterr().out == ""


def test_test_images_are_read_as_those_that_were_distilled(made, capsys):
    """16-bit images, as a run with these fields reads them, are scored like the bytes that they stand for."""
    config = made[1].provenance["config"] | {
        "evaluate.steps": 20,
        "pixel_range": [1000, 1000 + 2 * 255],
        "image_size": 8,
    }
    stored = dataclasses.replace(made[1], provenance={"config": config})
    wide = 1000 + 2 * DATA[2].astype(np.uint16)
    expected = fsdd.evaluate(stored, DATA[2], DATA[3], {"pixel_range": ()})
    assert "pixel_range" not in capsys.readouterr().out
    np.testing.assert_array_equal(fsdd.evaluate(stored, wide, DATA[3]), expected)
    assert "test_images are read with pixel_range=(1000, 1510), as the set was" in capsys.readouterr().out
    # Fields that are given come first: in another range the same numbers are other pixels.
    assert list(fsdd.evaluate(stored, wide, DATA[3], {"pixel_range": (1000, 1100)})) != list(expected)
    enlarged = wide.repeat(2, axis=1).repeat(2, axis=2)
    near = fsdd.evaluate(stored, np.pad(enlarged, ((0, 0), (0, 0), (3, 3))), DATA[3])
    assert abs(near.mean - expected.mean) < 3
    with pytest.raises(fsdd.UserError, match=r"^test_images: of shape \[16, 16, 1\]; allowed: \[8, 8, 1\]"):
        fsdd.evaluate(stored, enlarged, DATA[3], {"image_size": 0})


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(3), 3),
        (np.float32(0.1), 0.1),
        (np.float64(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("distill"), "distill"),
        (np.array(7), 7),
        (range(3), (0, 1, 2)),
        (np.array([1, 2]), (1, 2)),
        ([np.int8(1), 2], (1, 2)),
        (pathlib.Path("a/b"), "a/b"),
        (None, None),
    ],
)
def test_values_are_taken_as_programs_have_them(value, plain):
    taken = arguments.flatten({"a.b": value})["a.b"]
    assert taken == plain and type(taken) is type(plain)
    assert arguments.flatten({"a": {"b": value}}) == {"a.b": plain}


REFUSED = {
    "a list": (["ipc"], {}, r"fields is \['ipc'\]; allowed: a dict"),
    "text": ("ipc=3", {}, "fields is 'ipc=3'; allowed: a dict"),
    "a number for a name": ({1: 2}, {}, "fields has the name 1; allowed: names"),
    "twice": ({"refine.uses": 1, "refine": {"uses": 2}}, {}, "fields gives 'refine.uses' twice"),
    "argument and field": ({"ipc": 3}, {"ipc": 2}, r"ipc is 2 and fields\['ipc'\] is 3; allowed: one of them"),
    "unknown": ({"refine.rat": 0.1}, {}, r"fields\['refine.rat'\] is not a field; allowed: .*fsdd\.fields\(\)"),
    "bad": ({"refine.rate": -1}, {}, r"fields\['refine.rate'\] is -1; allowed: a number above 0"),
    "a bad argument": ({}, {"ipc": 0}, "^ipc is 0; allowed: a whole number from 1"),
    "a bad method": ({}, {"method": "magic"}, "^method is 'magic'; allowed: one of "),
    "a bad array": ({"classes": np.array([[1]])}, {}, r"fields\['classes'\] is \(\(1,\),\)"),
    "too many": ({}, {"ipc": 10**4}, "^ipc is 10000; allowed: at most"),
    "pretraining": ({"stages": ("cache",)}, {}, r"'cache', which distils no set; call fsdd\.pretrain"),
    "another dataset": ({"dataset": "digits"}, {}, "allowed: the argument data"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_names_the_argument(tmp_path, case):
    fields, named, words = REFUSED[case]
    with pytest.raises(fsdd.UserError, match=words) as caught:
        fsdd.distill(DATA, tmp_path / "run", fields, **named)
    line = str(caught.value)
    assert "\n" not in line and "config." not in line and "--" not in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("workdir", [3, b"run", "", "~nosuchuser/run"])
def test_a_workdir_that_is_none_is_one_line(workdir):
    with pytest.raises(fsdd.UserError, match=r"^workdir is .*; allowed: (the path of a|a path that begins with no ~)"):
        fsdd.distill(DATA, workdir)


def test_a_set_shows_itself(made):
    _, stored = made
    assert repr(stored) == (
        "<StoredSet of arrays: 20 images of 8x8x1, 2 for each of 10 classes, whitened by standardize>"
    )
    picture = stored._repr_png_()
    assert picture.startswith(b"\x89PNG") and len(picture) < 20_000


def test_arrays_are_numpys_and_may_be_written_to(made):
    folder, _ = made
    stored = fsdd.load(folder)
    before = stored.synthetic.images.copy()
    for array in (stored.train_images, stored.train_labels, stored.pixels, stored.classes, stored.whiten(PIXELS[:2])):
        assert type(array) is np.ndarray and array.flags.writeable
    stored.train_images[0] = 7
    assert stored.train_images[0, 0, 0, 0] == 7
    np.testing.assert_array_equal(stored.synthetic.images, before)
    assert not isinstance(stored.decoded.images, jax.Array)


def test_images_are_whitened_as_the_set_was(made):
    _, stored = made
    wanted = (PIXELS[TRAIN].astype(np.float64)[..., None] / 255 - stored.whitening.channel_mean) / (
        stored.whitening.channel_std
    )
    assert abs(wanted.mean()) < 1e-3 and abs(wanted.std() - 1) < 1e-3
    np.testing.assert_allclose(stored.whiten(PIXELS[TRAIN]), wanted, atol=1e-5)
    np.testing.assert_allclose(stored.whiten(PIXELS[TRAIN][..., None] / 255), wanted, atol=1e-5)
    for images, words in (
        (PIXELS[:2, :4], r"images: of shape \[2, 4, 8, 1\]; allowed: \[n, 8, 8, 1\]"),
        (PIXELS[:2].astype(int), "images: of type int64"),
        (PIXELS[:2] / 100, "images: floats from 0 to 2.55"),
        ([np.zeros((8, 8)), np.zeros((8, 7))], "images: of several shapes"),
    ):
        with pytest.raises(fsdd.UserError, match=words):
            stored.whiten(images)


@pytest.mark.whole
def test_a_protocol_that_is_given_replaces_the_runs(made):
    _, stored = made
    ours = fsdd.evaluate(stored, *DATA[2:])
    assert ours.recipe["loss"] == "squared" and ours.recipe["images"] == "whitened"
    plain = fsdd.evaluate(stored, *DATA[2:], {"protocol": "plain_pixels"})
    assert [plain.recipe[name] for name in ("images", "labels", "loss")] == ["pixels", "hard", "cross_entropy"]
    assert plain.recipe["steps"] == 100 and len(plain) == 2
    assert plain.mean != ours.mean
    torch = fsdd.evaluate(stored, *DATA[2:], {"protocol": "frepo_torch", "evaluate": {"rate": np.float32(1e-3)}})
    assert (torch.recipe["optimiser"], torch.recipe["initialisation"], torch.recipe["rate"]) == ("adamw", "torch", 1e-3)


def test_accuracies_are_percent_with_mean_and_std(made):
    folder, _ = made
    scored, results = fsdd.evaluate(folder, *DATA[2:]), stored_files.load(folder).provenance["evaluations"][-1]
    np.testing.assert_allclose(list(scored), results["accuracies"], atol=0.006)
    # The mean is of accuracies in hundredths, and one itself.
    assert scored.mean == pytest.approx(results["mean"], abs=0.011)
    assert scored.std == pytest.approx(np.std(np.asarray(scored), ddof=1))
    assert str(scored) == f"{scored.mean:.2f} +- {scored.std:.2f} %"
    assert fsdd.Accuracies(np.array([50.0])).std is None and str(fsdd.Accuracies(np.array([50.0]))) == "50.00 %"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda stored: fsdd.evaluate(None, *DATA[2:]), "^stored is None; allowed: a fsdd.StoredSet"),
        (lambda stored: fsdd.evaluate(stored, None, DATA[3]), "^test_images: "),
        (lambda stored: fsdd.evaluate(stored, DATA[2], None), "^test_labels: "),
        (lambda stored: fsdd.evaluate(stored, [[1], [1, 2]], DATA[3]), "^test_images is no array"),
        (lambda stored: fsdd.evaluate(stored, *DATA[2:], 3), "^fields is 3; allowed: a dict"),
        (lambda stored: fsdd.train(3), "^stored is 3; allowed: a fsdd.StoredSet"),
        (lambda stored: fsdd.train(stored, seed=-1), "^seed is -1; allowed: a whole number from 0"),
        (lambda stored: fsdd.load(None), "^path is None; allowed: the folder of a run"),
        (lambda stored: fsdd.save(stored, None), "^path is None; allowed: a file name"),
        (lambda stored: fsdd.save(None, "x.npz"), "^stored is None; allowed: a fsdd.StoredSet"),
        (lambda stored: fsdd.load(ROOT), f"^{ROOT}: has no synthetic.npz; allowed: the folder of a finished run"),
        (lambda stored: fsdd.load_classifier(None), "^path is 'None'; allowed: a file name that ends in .npz"),
    ],
)
def test_what_no_call_takes_names_the_argument(made, call, words):
    with pytest.raises(fsdd.UserError, match=words) as caught:
        call(made[1])
    assert "\n" not in str(caught.value)


GOOD = {
    "synthetic": SyntheticSet(np.zeros((2, 4, 4, 1), np.float32), np.zeros((2, 2), np.float32)),
    "whitening": fsdd.Whitening(np.zeros(1, np.float32), np.ones(1, np.float32)),
    "class_names": ("a", "b"),
    "classes": np.array([0, 1]),
    "provenance": {},
}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("synthetic", None, "synthetic is a NoneType; allowed: a fsdd.SyntheticSet"),
        ("synthetic", SyntheticSet(np.zeros((2, 4, 4), np.float32), None), r"synthetic.images is of shape \(2, 4, 4\)"),
        ("whitening", 3, "whitening is a int; allowed: a fsdd.Whitening, or None"),
        (
            "whitening",
            fsdd.Whitening(np.zeros(3, np.float32), np.ones(3, np.float32)),
            r"whitening.channel_mean is float32 of shape \(3,\); allowed: float32 of shape \(1,\)",
        ),
        ("class_names", "ab", "class_names is 'ab'; allowed: a tuple of texts"),
        ("class_names", ("a",), r"synthetic.labels is float32 of shape \(2, 2\); allowed: float32 of shape \(2, 1\)"),
        ("classes", np.array([1, 0]), "classes are not sorted"),
        ("classes", [0.0, 1.0], "classes is float64"),
        ("provenance", None, "provenance is None; allowed: a dict"),
        ("pixels", np.zeros((2, 4, 4, 3), np.float32), "pixels is float32 of shape"),
        ("factor", 3, "factor is 3; allowed: 1, 2 or 4"),
    ],
)
def test_a_set_built_by_hand_is_checked(name, value, words):
    assert fsdd.StoredSet(**GOOD).ipc == 1
    with pytest.raises(fsdd.UserError, match=f"^{words}"):
        fsdd.StoredSet(**GOOD | {name: value})


def test_sets_of_version_1_load():
    for name, whitening, shape in (("plain", "zca", (2, 4, 4, 3)), ("small", "standardize", (8, 2, 2, 3))):
        path = ROOT / "tests" / "golden" / "stored_sets_v1" / f"{name}.npz"
        stored = fsdd.load(path)
        with np.load(path) as arrays:
            assert arrays["whitened"].shape == shape
            np.testing.assert_array_equal(stored.synthetic.images, arrays["whitened"])
            np.testing.assert_array_equal(stored.train_labels, arrays["labels"])
            np.testing.assert_array_equal(stored.eight_bits, arrays["images"])
        assert stored.train_images.shape == (len(stored.classes), 4, 4, 3) and stored.whitening.kind == whitening


def test_a_trained_network_classifies_pixels_and_is_kept(made, tmp_path):
    _, stored = made
    classifier = fsdd.train(stored)
    assert classifier.score(*DATA[2:]) == pytest.approx(fsdd.evaluate(stored, *DATA[2:])[0])
    predicted = classifier.predict(DATA[2])
    assert predicted.dtype == np.int64 and classifier.logits(DATA[2]).shape == (len(DATA[2]), 10)
    assert classifier.predict_names(DATA[2][:3]) == [str(label) for label in predicted[:3]]
    assert classifier.predict(DATA[2][:0]).shape == (0,)
    classifier.save(tmp_path / "classifier.npz")
    loaded = fsdd.load_classifier(tmp_path / "classifier.npz")
    np.testing.assert_array_equal(loaded.logits(DATA[2]), classifier.logits(DATA[2]))
    assert repr(loaded) == "<Classifier: convnet of width 8, images of 8x8x1, 10 classes>"
    assert not np.array_equal(fsdd.train(stored, seed=9).logits(DATA[2]), classifier.logits(DATA[2]))
    with pytest.raises(fsdd.UserError, match=r"images: of shape \[2, 4, 4, 1\]"):
        loaded.predict(np.zeros((2, 4, 4)))
    (tmp_path / "classifier.npz").write_bytes(b"nonsense")
    with pytest.raises(fsdd.UserError, match=r"classifier\.npz: not a file that Classifier\.save wrote"):
        fsdd.load_classifier(tmp_path / "classifier.npz")


@pytest.mark.parametrize(
    "architecture", [pytest.param("resnet18", marks=pytest.mark.slow), pytest.param("convnet", marks=pytest.mark.whole)]
)
def test_networks_with_norms_are_kept_whole(made, tmp_path, architecture):
    fields = {"evaluate": {"architecture": architecture, "width": 4, "norm": "batch", "steps": 2}}
    classifier = fsdd.train(made[1], fields)
    classifier.save(tmp_path / "classifier.npz")
    loaded = fsdd.load_classifier(tmp_path / "classifier.npz")
    np.testing.assert_array_equal(loaded.logits(PIXELS[:5]), classifier.logits(PIXELS[:5]))


def test_the_package_names_its_version_and_types():
    assert fsdd.__version__ == "0.2.0"
    assert (ROOT / "fsdd" / "py.typed").is_file()
    assert set(fsdd.__all__) == set(fsdd._HOMES) | {"__version__"}
    assert all(getattr(fsdd, name) is not None for name in fsdd.__all__)
    assert fsdd.fields()["ipc"].startswith("1; allowed: a whole number from 1")


def test_importing_the_package_is_quick():
    program = "import fsdd, sys; print(sorted({'jax', 'numpy', 'flax', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=runs.ROOT, check=True)
    assert done.stdout == "[]\n"
