import csv
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from fsdd.core import whitening as whitenings
from fsdd.core.synthetic_set import SyntheticSet, initial_labels
from fsdd.core.whitening import Whitening
from fsdd.data.folder import load_folder
from fsdd.data.images import Reading
from fsdd.errors import UserError
from fsdd.integrations import image_folder
from fsdd.io import stored_files as io
from fsdd.io.stored_set import StoredSet

SHARED = ("class_names", "channel_mean", "channel_std")
PROVENANCE = {"seed": 3, "device": "cpu", "config": {"ipc": 2, "recipe": "1 Net"}, "seconds": 1.5}


def make(kind="zca", num_classes=3, ipc=2, side=4, channels=3, names=None, seed=0) -> StoredSet:
    """A set whose pixels partly leave [0, 1], with a whitening fitted on random images."""
    rng = np.random.default_rng(seed)
    train = rng.integers(0, 256, (40, side, side, channels), np.uint8)
    whitening = whitenings.fit(train, kind)
    classes = np.repeat(np.arange(num_classes), ipc)
    images = whitening.apply(rng.uniform(-0.2, 1.2, (len(classes), side, side, channels)).astype(np.float32))
    labels = initial_labels(classes, num_classes) + rng.normal(0, 0.01, (len(classes), num_classes)).astype(np.float32)
    names = names or tuple(f"name {index}" for index in range(num_classes))
    return StoredSet(SyntheticSet(images, labels), whitening, names, classes, PROVENANCE)


def rewrite(path, **changes):
    """The .npz with some arrays replaced, or removed where None."""
    with np.load(path) as file:
        arrays = {key: changes.get(key, file[key]) for key in file.files}
    np.savez(path, **{key: array for key, array in arrays.items() if array is not None})


def same_bits(a, b) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


finite = st.floats(-1e6, 1e6, width=32)


@st.composite
def sets(draw):
    side, channels = draw(st.integers(1, 3)), draw(st.sampled_from([1, 3]))
    num_classes, ipc = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    n, d = num_classes * ipc, side * side * channels

    def array(*shape, elements=finite):
        return draw(hnp.arrays(np.float32, shape, elements=elements))

    small = st.floats(-2, 2, width=32)
    zca = (array(d), array(d, d, elements=small), array(d, d, elements=small)) if draw(st.booleans()) else ()
    whitening = Whitening(array(channels), array(channels, elements=st.floats(0.125, 4, width=32)), *zca)
    # Names of letters of any script; NumPy's strings end at a trailing NUL.
    names = draw(st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc"))), min_size=4, max_size=4))
    synthetic = SyntheticSet(array(n, side, side, channels), array(n, num_classes))
    return StoredSet(synthetic, whitening, names[:num_classes], np.repeat(np.arange(num_classes), ipc), PROVENANCE)


@settings(max_examples=40, deadline=None)
@given(sets())
def test_round_trip_is_bit_exact(stored):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "set.npz")
        io.save(stored, path)
        loaded = io.load(path, need_whitening=True)
    assert same_bits(loaded.synthetic.images, stored.synthetic.images)
    assert same_bits(loaded.synthetic.labels, stored.synthetic.labels)
    assert same_bits(loaded.pixels, stored.pixels)
    assert same_bits(loaded.classes, stored.classes)
    assert loaded.class_names == stored.class_names and loaded.provenance == stored.provenance
    assert loaded.whitening.kind == stored.whitening.kind
    for field in dataclasses.fields(Whitening):
        before = getattr(stored.whitening, field.name)
        assert before is None or same_bits(getattr(loaded.whitening, field.name), before)


@pytest.mark.parametrize("kind", ["zca", "standardize"])
def test_pixels_are_independent_unwhitening(kind):
    stored = make(kind)
    whitening, images = stored.whitening, np.asarray(stored.synthetic.images, np.float64)
    expected = np.empty(images.shape)
    for row, image in enumerate(images):
        if kind == "zca":
            flat = np.linalg.solve(whitening.transform.astype(np.float64).T, image.ravel()) + whitening.mean
            image = flat.reshape(image.shape)
        for channel in range(3):
            value = image[:, :, channel] * whitening.channel_std[channel] + whitening.channel_mean[channel]
            expected[row, :, :, channel] = np.minimum(np.maximum(value, 0), 1)
    np.testing.assert_allclose(stored.pixels, expected, atol=1e-5)
    assert stored.pixels.min() == 0 and stored.pixels.max() == 1  # The set does leave [0, 1]: clipping is at work.


def test_facts_about_labels():
    stored = make()
    labels = np.asarray(stored.synthetic.labels).copy()
    labels[1] = [0.1, 0.3, 0.2]
    changed = dataclasses.replace(stored, synthetic=SyntheticSet(stored.synthetic.images, labels))
    assert stored.ipc == 2 and stored.strayed == 0
    assert changed.strayed == 1
    np.testing.assert_array_equal(changed.hard_labels, [0, 1, 1, 1, 2, 2])


def test_plain_numpy_reads_it_without_fsdd(tmp_path):
    stored = make()
    io.save(stored, tmp_path / "set.npz")
    program = (
        "import json, sys, numpy\n"
        "file = numpy.load('set.npz', allow_pickle=False)\n"
        "says = json.load(open('set.json', encoding='utf-8'))['arrays']\n"
        "assert set(says) == set(file.files)\n"
        "for key, entry in says.items():\n"
        "    assert entry['shape'] == list(file[key].shape) and entry['dtype'] == str(file[key].dtype), key\n"
        "    assert len(entry['meaning']) > 15\n"
        "assert abs(file['eight_bits'] / 255 - file['pixels']).max() <= 1 / 510 + 1e-6\n"
        "assert 0 <= file['pixels'].min() and file['pixels'].max() <= 1\n"
        "matrices = numpy.load('set.whitening.npz')\n"
        "flat = file['train_images'].reshape(6, -1) @ matrices['inverse'] + matrices['mean']\n"
        "pixels = flat.reshape(file['pixels'].shape) * file['channel_std'] + file['channel_mean']\n"
        "assert abs(pixels.clip(0, 1) - file['pixels']).max() < 1e-5\n"
        "assert file['class_names'].tolist() == ['name 0', 'name 1', 'name 2']\n"
        "assert 'fsdd' not in sys.modules and 'jax' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, check=True)


def test_description_and_example(tmp_path):
    io.save(make(), tmp_path / "set.npz")
    description = json.loads((tmp_path / "set.json").read_text())
    assert description["format_version"] == 2
    assert description["provenance"] == PROVENANCE
    assert description["whitening"]["kind"] == "zca" and description["whitening"]["file"] == "set.whitening.npz"
    assert description["train_labels"]["rows_whose_highest_label_is_not_their_class"] == 0
    compile("\n".join(description["load_for_pytorch"]), "example", "exec")
    assert "numpy.load('set.npz')" in description["load_for_pytorch"][1]
    assert set(description["arrays"]) == {"train_images", "train_labels", "pixels", "eight_bits", "classes", *SHARED}


def test_zca_matrices_stay_out_of_the_main_file(tmp_path):
    stored = make(side=8)  # d = 192: a matrix is 147 kB.
    io.save(stored, tmp_path / "set.npz")
    assert (tmp_path / "set.npz").stat().st_size < 20_000
    (tmp_path / "set.whitening.npz").unlink()
    loaded = io.load(tmp_path / "set.npz")
    assert loaded.whitening is None
    assert same_bits(loaded.pixels, stored.pixels) and same_bits(loaded.synthetic.images, stored.synthetic.images)
    with pytest.raises(UserError, match=r"set\.whitening\.npz: no such file"):
        io.load(tmp_path / "set.npz", need_whitening=True)
    with pytest.raises(UserError, match="without its whitening"):
        io.save(loaded, tmp_path / "other.npz")
    assert not (tmp_path / "other.npz").exists()


def test_saving_over_a_zca_set_leaves_no_stale_matrices(tmp_path):
    io.save(make("zca"), tmp_path / "set.npz")
    io.save(make("standardize"), tmp_path / "set.npz")
    assert sorted(os.listdir(tmp_path)) == ["set.json", "set.npz"]
    assert io.load(tmp_path / "set.npz", need_whitening=True).whitening.kind == "standardize"


@pytest.mark.slow
def test_a_save_that_the_disk_interrupts_leaves_the_old_set(tmp_path):
    old = make(seed=1)
    io.save(old, tmp_path / "set.npz")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    # A limit on file sizes stands for a full disk: the main file fits under it, the matrices of 9 kB do not.
    program = (
        "import resource, signal, sys\n"
        "import test_stored_set\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))\n"
        "try:\n"
        "    test_stored_set.io.save(test_stored_set.make(seed=2), sys.argv[1])\n"
        "except test_stored_set.UserError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "set.npz")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(pathlib.Path(__file__).parent), *sys.path])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "set.npz: cannot be written: File too large" in done.stdout and done.stdout.count("\n") == 1
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert same_bits(io.load(tmp_path / "set.npz", need_whitening=True).pixels, old.pixels)


def test_a_provenance_that_json_cannot_hold_writes_nothing(tmp_path):
    with pytest.raises(TypeError):
        io.save(dataclasses.replace(make(), provenance={"when": object()}), tmp_path / "set.npz")
    assert not list(tmp_path.iterdir())


DEFECTS = {
    "no file": (lambda p: p.unlink(), "set.npz: no such file"),
    "text": (lambda p: p.write_text("hello"), "set.npz: not a readable .npz"),
    "empty": (lambda p: p.write_bytes(b""), "set.npz: not a readable .npz"),
    "cut": (lambda p: p.write_bytes(p.read_bytes()[:-50]), "set.npz: not a readable .npz"),
    "one array": (
        lambda p: (np.save(p.with_suffix(".npy"), np.zeros(3)), p.with_suffix(".npy").replace(p)),
        "set.npz: not a readable .npz",
    ),
    "pickles": (lambda p: rewrite(p, train_labels=np.array([{}])), "set.npz: not a readable .npz"),
    "missing": (lambda p: rewrite(p, train_labels=None, pixels=None), "set.npz: has no array train_labels, pixels"),
    "labels": (
        lambda p: rewrite(p, train_labels=np.zeros((6, 2), "f")),
        "set.npz: train_labels is float32 of shape (6, 2)",
    ),
    "dtype": (lambda p: rewrite(p, train_labels=np.zeros((6, 3))), "set.npz: train_labels is float64"),
    "images": (lambda p: rewrite(p, train_images=np.zeros((6, 16), "f")), "set.npz: train_images is of shape (6, 16)"),
    "pixels": (lambda p: rewrite(p, pixels=np.zeros((6, 4, 4, 1), "f")), "set.npz: pixels is float32"),
    "range": (lambda p: rewrite(p, pixels=np.full((6, 4, 4, 3), 2, "f")), "set.npz: pixels leave [0, 1]"),
    "classes": (lambda p: rewrite(p, classes=np.zeros(5, int)), "set.npz: classes is int64 of shape (5,)"),
    "order": (lambda p: rewrite(p, classes=np.array([0, 1] * 3)), "set.npz: classes are not sorted"),
    "class 3": (lambda p: rewrite(p, classes=np.array([0, 0, 1, 1, 3, 3])), "set.npz: classes are not sorted within"),
    "uneven": (lambda p: rewrite(p, classes=np.array([0, 0, 0, 1, 2, 2])), "set.npz: classes have different numbers"),
    "finite": (lambda p: rewrite(p, train_labels=np.full((6, 3), np.nan, "f")), "set.npz: train_labels is not finite"),
    "std": (
        lambda p: rewrite(p, channel_std=np.ones(1, "f")),
        "set.npz: whitening.channel_std is float32 of shape (1,)",
    ),
    "changed": (
        lambda p: rewrite(p, train_labels=np.ones((6, 3), "f")),
        "set.npz: is not the file that set.json describes",
    ),
    "no json": (lambda p: p.with_suffix(".json").unlink(), "set.json: no such file"),
    "bad json": (lambda p: p.with_suffix(".json").write_text("{"), "set.json: not a readable JSON"),
    "bytes": (lambda p: p.with_suffix(".json").write_bytes(b"\xff\xfe\xfd"), "set.json: not a readable JSON"),
    "list": (lambda p: p.with_suffix(".json").write_text("[]"), "set.json: format_version is None"),
    "version": (
        lambda p: p.with_suffix(".json").write_text('{"format_version": 9}'),
        "format_version is 9; this fsdd reads 1 to 2",
    ),
    "bare": (lambda p: p.with_suffix(".json").write_text('{"format_version": 1}'), "set.json: has no provenance"),
    "whitening": (
        lambda p: p.with_suffix(".json").write_text(
            '{"format_version": 1, "provenance": {}, "whitening": {"kind": []}}'
        ),
        "set.json: has no whitening of a known kind",
    ),
    "matrix": (
        lambda p: rewrite(p.with_suffix(".whitening.npz"), inverse=np.zeros((2, 2), "f")),
        "set.npz: whitening.inverse is float32 of shape (2, 2); allowed: float32 of shape (48, 48)",
    ),
    "matrices": (lambda p: rewrite(p.with_suffix(".whitening.npz"), mean=None), "set.whitening.npz: has no array mean"),
    "other": (
        lambda p: rewrite(p.with_suffix(".whitening.npz"), mean=np.zeros(48, "f")),
        "set.whitening.npz: is not the file that set.json describes",
    ),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_one_line_that_names_the_file(tmp_path, name):
    spoil, message = DEFECTS[name]
    path = tmp_path / "set.npz"
    io.save(make(), path)
    spoil(path)
    with pytest.raises(UserError) as raised:
        io.load(path, need_whitening=True)
    assert str(raised.value).startswith(str(tmp_path)) and message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_name_without_npz_is_refused(tmp_path):
    for call in (io.load, lambda path: io.save(make(), path)):
        with pytest.raises(UserError, match=r"ends in \.npz"):
            call(tmp_path / "set.pt")


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_flipped_byte_is_found(data):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "set.npz")
        io.save(make("standardize", side=1, channels=1), path)
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)
        with pytest.raises(UserError):
            io.load(path)


@pytest.mark.parametrize("channels", [1, 3])
def test_image_folder_round_trip(tmp_path, channels):
    stored = make("standardize", num_classes=3, ipc=11, channels=channels)
    (tmp_path / "out").mkdir()  # An empty folder may be there.
    image_folder.write_images(stored, tmp_path / "out")
    assert os.listdir(tmp_path) == ["out"]
    assert sorted(os.listdir(tmp_path / "out" / "name 0"))[:2] == ["00.png", "01.png"]
    real = load_folder(str(tmp_path / "out"), Reading())
    assert real.class_names == stored.class_names
    np.testing.assert_array_equal(real.train_labels, stored.classes)
    assert np.abs(real.train_images / 255 - stored.pixels).max() <= 1 / 510 + 1e-6
    with Image.open(tmp_path / "out" / "name 2" / "10.png") as image:
        assert image.mode == {1: "L", 3: "RGB"}[channels]
    with open(tmp_path / "out" / "labels.csv", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["file", "name 0", "name 1", "name 2"]
    assert [row[0] for row in rows[:2]] + [rows[-1][0]] == ["name 0/00.png", "name 0/01.png", "name 2/10.png"]
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], np.float32), stored.synthetic.labels)


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        (("ant", "bee", "cat"), ["ant", "bee", "cat"]),
        (("a/b", "c:d", "e\n.."), ["a_b", "c_d", "e_"]),
        (("", "..", "train"), ["0", "1", "train_"]),
        (("a", "b", "labels.csv"), ["a", "b", "labels.csv_"]),
        (("wolf", "ant", "cat"), ["0_wolf", "1_ant", "2_cat"]),
        (("Cat", "Dog", "cat"), ["0_Cat", "1_Dog", "2_cat"]),
        (("a?", "a_", "á" * 300), ["0_a_", "1_a_", "2_" + "á" * 58]),
    ],
)
def test_class_folders_keep_names_and_order(tmp_path, names, folders):
    image_folder.write_images(make("standardize", names=names, ipc=1), tmp_path / "out")
    assert sorted(folder.name for folder in (tmp_path / "out").iterdir() if folder.is_dir()) == folders
    real = load_folder(str(tmp_path / "out"), Reading())
    np.testing.assert_array_equal(real.train_labels, [0, 1, 2])


def test_image_folder_refusals(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    for name in ("full", "full/mine.txt"):
        with pytest.raises(UserError, match="not an empty folder"):
            image_folder.write_images(make("standardize"), tmp_path / name)
    with pytest.raises(UserError, match="2 channels"):
        image_folder.write_images(make("standardize", channels=2), tmp_path / "two")
    with pytest.raises(UserError, match="cannot be written"):
        image_folder.write_images(make("standardize"), tmp_path / "full" / "mine.txt" / "below")
    assert os.listdir(tmp_path) == ["full"] and os.listdir(tmp_path / "full") == ["mine.txt"]


def test_a_set_that_does_not_fit_together_is_refused():
    stored = make()
    with pytest.raises(UserError, match="whitening is None and so is pixels"):
        dataclasses.replace(stored, whitening=None, pixels=None)
    with pytest.raises(UserError, match=r"synthetic\.labels is float32 of shape"):
        dataclasses.replace(stored, class_names=("only", "two"))


def test_a_set_whose_whitening_has_factors_is_stored_with_them(tmp_path):
    """Of 40 images with 192 values each; and the hint's own lines whiten as the set does."""
    stored = make(side=8)
    assert stored.whitening.form == "zca_factors"
    io.save(stored, tmp_path / "set.npz")
    loaded = io.load(tmp_path / "set.npz", need_whitening=True)
    assert same_bits(loaded.whitening.factors, stored.whitening.factors) and same_bits(loaded.pixels, stored.pixels)
    description = json.loads((tmp_path / "set.json").read_text())
    assert description["whitening"]["form"] == "zca_factors" and "factors.T" in description["whitening"]["formula"]
    lines = description["load_for_pytorch"]
    product = [line for line in lines if line.startswith("    flat") or line.startswith("    images = (images")]
    pixels = np.random.default_rng(5).uniform(0, 1, (3, 8, 8, 3)).astype(np.float32)
    names = {"images": pixels, "stored": np.load(tmp_path / "set.npz")}
    names["matrices"] = np.load(tmp_path / "set.whitening.npz")
    exec("\n".join(line.strip() for line in product), names)
    np.testing.assert_allclose(
        names["flat"].reshape(pixels.shape), stored.whitening.apply(pixels), rtol=1e-4, atol=1e-5
    )


def test_a_user_that_is_not_there_is_one_line():
    with pytest.raises(UserError, match=r"path is '~nosuchuser/set\.npz'; allowed: a path that begins with no ~"):
        io.load("~nosuchuser/set.npz")
