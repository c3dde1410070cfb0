"""Exports, by what the files hold; where a format's tool is installed, as that tool reads them."""

import csv
import dataclasses
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import fsdd
from fsdd.core import whitening as whitenings
from fsdd.core.synthetic_set import SyntheticSet, initial_labels
from fsdd.data.folder import load_folder
from fsdd.data.images import Reading
from fsdd.exports import ddranking, writing
from fsdd.exports import formats as known
from fsdd.io import stored_files

FORMATS = ("dc", "ddranking", "frepo", "huggingface", "imagefolder", "mtt", "safetensors")
HAS_TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed")
EVALUATION = {"stage": "refine", "mean": 81.5, "std": 0.5, "recipe": {"images": "whitened", "labels": "learned"}}


def make(kind="zca", factor=1, channels=3) -> fsdd.StoredSet:
    """Three classes of two images, whitened."""
    rng = np.random.default_rng(0)
    whitening = whitenings.fit(rng.integers(0, 256, (40, 4, 4, channels), np.uint8), kind)
    classes = np.repeat(np.arange(3), 2 * factor**2)
    side = 4 // factor
    images = rng.normal(size=(len(classes), side, side, channels)).astype(np.float32)
    labels = initial_labels(classes, 3) + rng.normal(0, 0.01, (len(classes), 3)).astype(np.float32)
    provenance = {"dataset": "my/set", "config": {}, "evaluations": [EVALUATION]}
    return fsdd.StoredSet(
        SyntheticSet(images, labels), whitening, ("ant", "bee|x", "cat"), classes, provenance, factor=factor
    )


@pytest.fixture
def run(tmp_path):
    """A run's folder with a set in it."""
    fsdd.save(make(), tmp_path / "run" / "synthetic.npz")
    return tmp_path / "run"


def standardised_by_hand(stored) -> np.ndarray:
    """Un-whitened in float64, standardised, channels first."""
    whitening, n = stored.whitening, len(stored.classes)
    flat = np.linalg.solve(whitening.transform.astype(np.float64).T, stored.train_images.reshape(n, -1).T).T
    return (flat + whitening.mean).reshape(stored.train_images.shape).transpose(0, 3, 1, 2)


def test_there_are_these_formats():
    assert tuple(fsdd.formats()) == FORMATS
    assert all(len(title) > 15 for title in fsdd.formats().values())


@needs_torch
def test_dc_reads_its_file_as_its_code_does(run):
    import torch

    stored = fsdd.load(run)
    folder = fsdd.export(run, "dc", run / "out")
    # As DC's `main.py` stored it: a list of experiments, each the images and the labels.
    loaded = torch.load(folder / "res_fsdd_my-set_ConvNet_2ipc.pt")
    assert set(loaded) == {"data", "accs_all_exps"}
    ((images, labels),) = loaded["data"]
    assert images.dtype == torch.float32 and labels.dtype == torch.int64
    np.testing.assert_allclose(images.numpy(), standardised_by_hand(stored), atol=1e-4)
    np.testing.assert_array_equal(labels.numpy(), stored.classes)


@needs_torch
def test_mtts_files_are_a_tensor_each(run):
    import torch

    stored = fsdd.load(run)
    folder = fsdd.export(stored, "mtt", run / "out")
    images, labels = torch.load(folder / "images_best.pt"), torch.load(folder / "labels_best.pt")
    np.testing.assert_allclose(images.numpy(), standardised_by_hand(stored), atol=1e-4)
    np.testing.assert_array_equal(labels.numpy(), stored.classes)


@needs_torch
def test_ddrankings_tensors_are_named_as_its_arguments(run):
    import torch

    stored = fsdd.load(run)
    folder = fsdd.export(stored, "ddranking", run / "out")
    loaded = {name: torch.load(folder / f"{name}.pt") for name in ("image_tensor", "hard_labels", "soft_labels")}
    np.testing.assert_allclose(loaded["image_tensor"].numpy(), standardised_by_hand(stored), atol=1e-4)
    np.testing.assert_array_equal(loaded["hard_labels"].numpy(), stored.classes)
    assert loaded["soft_labels"].dtype == torch.float32
    np.testing.assert_array_equal(loaded["soft_labels"].argmax(1).numpy(), stored.hard_labels)


def test_labels_as_probabilities():
    hard = initial_labels(np.array([2, 0]), 10)
    np.testing.assert_allclose(ddranking.probabilities(hard), np.eye(10)[[2, 0]], atol=1e-6)
    learned = np.float32([[0.6, 0.1, -0.7], [-9, -9, -9]])
    soft = ddranking.probabilities(learned)
    raw = np.array([0.6, 0.1]) * np.sqrt(0.3) + 1 / 3
    np.testing.assert_allclose(soft[0], [*(raw / raw.sum()), 0], atol=1e-6)
    np.testing.assert_allclose(soft.sum(1), 1, atol=1e-6)


def test_standardised_images_of_a_standardised_set_are_its_own():
    stored = make("standardize")
    found = known.formats()["mtt"].standardised(stored)
    np.testing.assert_allclose(found, stored.train_images.transpose(0, 3, 1, 2), atol=1e-5)


# As the official codes, and DD-Ranking 0.2.0, standardise test images; MTT and DD-Ranking have one pair for both sets.
TEN = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
HUNDRED = (0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)


@pytest.mark.parametrize(
    ("name", "dataset", "figures"),
    [
        ("dc", "cifar10", TEN),
        ("dc", "cifar100:3.0.2", HUNDRED),
        ("mtt", "cifar100", TEN),
        ("ddranking", "cifar100", TEN),
        ("dc", "photos/", None),
    ],
)
def test_standardised_images_are_in_the_units_of_the_code_that_reads_them(name, dataset, figures):
    stored = make()
    stored = dataclasses.replace(stored, provenance=stored.provenance | {"dataset": dataset})
    mean, std = figures or (stored.whitening.channel_mean, stored.whitening.channel_std)
    chosen = known.formats()[name]
    # What `transforms.Normalize` with these figures makes of the pixels, which may leave [0, 1].
    pixels = stored.whitening.invert(stored.train_images).astype(np.float64)
    expected = ((pixels - np.array(mean)) / np.array(std)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(chosen.standardised(stored), expected, atol=1e-4)
    says = writing.describe(stored, chosen)
    np.testing.assert_allclose([says["channel_mean"], says["channel_std"]], [mean, std], rtol=1e-6)
    # What it was learned in is said by figures of its own.
    assert says["whitening"]["channel_std"] == stored.whitening.channel_std.tolist()
    # PNGs are nobody's units: what is said of them are the set's own figures.
    folder = writing.describe(stored, known.formats()["imagefolder"])
    assert folder["channel_mean"] == stored.whitening.channel_mean.tolist()


@pytest.mark.parametrize("factor", [1, 2])
def test_frepos_npz(tmp_path, factor):
    stored = make(factor=factor)
    folder = fsdd.export(stored, "frepo", tmp_path / "out")
    # As FRePo's `load_proto_np` reads it.
    file = np.load(folder / "step000000.npz")
    np.testing.assert_array_equal(file["image"], stored.train_images)
    np.testing.assert_array_equal(file["label"], stored.train_labels)
    with np.load(folder / "whitening.npz") as whitening:
        np.testing.assert_array_equal(whitening["transform"], stored.whitening.transform)


def test_safetensors(tmp_path):
    import safetensors.numpy

    stored = make()
    folder = fsdd.export(stored, "safetensors", tmp_path / "out")
    arrays = safetensors.numpy.load_file(folder / "synthetic.safetensors")
    for name in ("train_images", "train_labels", "pixels", "classes"):
        np.testing.assert_array_equal(arrays[name], getattr(stored, name))
    np.testing.assert_array_equal(arrays["whitening.transform"], stored.whitening.transform)
    with safetensors.safe_open(folder / "synthetic.safetensors", "numpy") as file:
        assert json.loads(file.metadata()["class_names"]) == ["ant", "bee|x", "cat"]


def test_image_folder_with_metadata(tmp_path):
    stored = make()
    folder = fsdd.export(stored, "imagefolder", tmp_path / "out")
    real = load_folder(str(folder), Reading())
    np.testing.assert_array_equal(real.train_images, stored.eight_bits)
    np.testing.assert_array_equal(real.train_labels, stored.classes)
    with open(folder / "metadata.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["label"]) for row in rows] == stored.classes.tolist()
    assert rows[2]["class_name"] == "bee|x"
    for row, image in zip(rows, stored.eight_bits, strict=True):
        with Image.open(folder / row["file_name"]) as read:
            np.testing.assert_array_equal(np.asarray(read), image)


@pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="datasets is not installed")
@pytest.mark.parametrize("channels", [1, 3])
def test_hugging_face_loads_its_folder(tmp_path, monkeypatch, channels):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    import datasets

    stored = make(channels=channels)
    folder = fsdd.export(stored, "huggingface", tmp_path / "out")
    split = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert split.features["label"].names == ["ant", "bee|x", "cat"]
    np.testing.assert_array_equal(split["label"], stored.classes)
    np.testing.assert_array_equal(
        [np.asarray(image).reshape(stored.image_shape) for image in split["image"]], stored.eight_bits
    )
    np.testing.assert_array_equal(np.float32(split["train_image"]), stored.train_images)
    np.testing.assert_array_equal(np.float32(split["train_label"]), stored.train_labels)
    # And it comes back to be distilled.
    again = fsdd.distill(split, tmp_path / "run", {"evaluate.networks": 0, "test_fraction": 0.5}, method="real")
    assert again.class_names == stored.class_names


def test_hugging_face_without_datasets_is_images_with_a_card(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "datasets" else find(name))
    stored = make()
    folder = fsdd.export(stored, "huggingface", tmp_path / "out")
    card = (folder / "README.md").read_text()
    assert card.startswith('---\npretty_name: "my/set, distilled"\n') and "| 1 | bee\\|x |" in card
    with open(folder / "train" / "metadata.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row, image, label in zip(rows, stored.eight_bits, stored.classes, strict=True):
        with Image.open(folder / "train" / row["file_name"]) as read:
            np.testing.assert_array_equal(np.asarray(read), image)
        assert int(row["label"]) == label


@pytest.mark.parametrize("name", [one for one in FORMATS if HAS_TORCH or one not in ("dc", "ddranking", "mtt")])
def test_every_export_says_what_it_is(run, name):
    folder = fsdd.export(run, name)
    assert folder == run / "exports" / name
    says = json.loads((folder / "export.json").read_text())
    assert says["images"]["count"] == 6 and len(says["images"]["values"]) > 20 and says["labels"]
    assert says["whitening"]["flattening"].startswith("h, w, c") and "@ transform" in says["whitening"]["formula"]
    assert says["accuracies_of_the_run"] == [EVALUATION]
    assert says["channel_mean"] == fsdd.load(run).whitening.channel_mean.tolist()
    if name in ("dc", "mtt", "ddranking", "imagefolder"):
        assert says["loses"] and "24.8" in says["accuracy_in_this_form"]
    assert [entry for entry in os.listdir(run / "exports") if entry != name] == []


def test_what_is_lost_is_as_measured_where_it_was():
    stored = make()
    stored.provenance["evaluations"].append({"mean": 61.2, "recipe": {"images": "pixels", "labels": "hard"}})
    says = writing.describe(stored, known.formats()["imagefolder"])
    assert says["accuracy_in_this_form"].startswith("61.2 % as 8-bit pixels with classes")


def test_what_is_not_installed_is_one_line_that_says_what_to_install(run, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(fsdd.UserError, match=r"'mtt' needs torch, which is not installed: pip install torch") as caught:
        fsdd.export(run, "mtt", run / "out")
    assert "\n" not in str(caught.value) and not (run / "out").exists()


def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(run, tmp_path):
    stored = make()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("keep")
    whitening_lost = fsdd.StoredSet(
        stored.synthetic, None, stored.class_names, stored.classes, {}, pixels=stored.pixels
    )
    for arguments, words in (
        ((stored, "gif", tmp_path / "out"), "format is 'gif'; allowed: dc, ddranking, frepo"),
        ((stored, None, tmp_path / "out"), "format is None; allowed"),
        ((None, "frepo", tmp_path / "out"), "stored is None; allowed"),
        ((stored, "frepo"), "path is None; allowed with the folder of a run only"),
        ((stored, "frepo", 3), "path is 3; allowed: the path of a folder"),
        ((tmp_path / "nowhere", "frepo"), "nowhere: expected a file name that ends in .npz"),
        ((stored, "frepo", tmp_path / "full"), "full: is there already and not an empty folder"),
        ((stored, "frepo", tmp_path / "full" / "mine" / "below"), "cannot be written: Not a directory"),
        ((whitening_lost, "frepo", tmp_path / "out"), "has no whitening"),
        ((make(channels=2), "huggingface", tmp_path / "out"), "2 channels"),
    ):
        with pytest.raises(fsdd.UserError, match=words) as caught:
            fsdd.export(*arguments)
        assert "\n" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["full", "run"] and os.listdir(tmp_path / "full") == ["mine"]


def command(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "fsdd.export", *arguments], capture_output=True, text=True)


def test_the_command_exports(run, tmp_path, capsys):
    program = importlib.import_module("fsdd.export")
    done = command(str(run), "--format=frepo", f"--out={tmp_path / 'out'}")
    assert (done.returncode, done.stdout) == (0, f"exported to {tmp_path / 'out'}\n"), done.stderr
    assert (tmp_path / "out" / "step000000.npz").is_file()
    for arguments, words in (
        ((str(run),), "fsdd: the following arguments are required: --format"),
        ((str(run), "--format=gif"), "fsdd: format is 'gif'; allowed: dc"),
        ((str(tmp_path), "--format=frepo"), "has no synthetic.npz"),
    ):
        assert program.main(list(arguments)) == 2
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1
    assert program.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in FORMATS)


def test_function_and_module_do_not_clash(run, tmp_path):
    program = (
        "import sys, fsdd\n"
        "fsdd.export(sys.argv[1], 'frepo', sys.argv[2] + '/1')\n"
        "import fsdd.export\n"
        "fsdd.export(sys.argv[1], 'frepo', sys.argv[2] + '/2')\n"
        "from fsdd import export\n"
        "export(sys.argv[1], 'frepo', sys.argv[2] + '/3')\n"
    )
    subprocess.run([sys.executable, "-c", program, str(run), str(tmp_path / "out")], check=True)
    assert sorted(os.listdir(tmp_path / "out")) == ["1", "2", "3"]


@needs_torch
@pytest.mark.parametrize("kind", ["zca", "standardize"])
def test_the_hint_loads_what_to_train_on_and_maps_test_images(tmp_path, monkeypatch, kind):
    import torch

    monkeypatch.chdir(tmp_path)
    stored = make(kind, factor=2)
    stored_files.save(stored, pathlib.Path("set.npz"))
    names: dict = {}
    exec("\n".join(json.loads(pathlib.Path("set.json").read_text())["load_for_pytorch"]), names)
    np.testing.assert_array_equal(names["images"].numpy(), stored.train_images.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(names["labels"].numpy(), stored.train_labels)
    test = np.random.default_rng(1).random((5, 4, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(names["whiten"](test).numpy(), stored.whiten(test).transpose(0, 3, 1, 2), atol=1e-4)
    outputs = torch.zeros_like(names["labels"])
    assert float(names["loss"](outputs, names["labels"])) == pytest.approx(
        0.5 * np.square(stored.train_labels).sum(1).mean(), rel=1e-5
    )
