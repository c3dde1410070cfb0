"""A whitening is fitted once: from its file, from the user's cache, or from images; and it is checked whose it is."""

import numpy as np
import pytest

from fsdd.core import whitening
from fsdd.errors import UserError
from fsdd.io import whitening_files

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 4, 4, 3), np.uint8)
SET = {"name": "noise", "images": 30}


@pytest.fixture
def fits(tmp_path, monkeypatch):
    """The kinds that were fitted so far; the cache is empty."""
    monkeypatch.setenv("FSDD_CACHE", str(tmp_path / "cache"))
    fitted, fit = [], whitening.fit

    def count(pixels, kind, regularisation):
        fitted.append(kind)
        return fit(pixels, kind, regularisation)

    monkeypatch.setattr(whitening, "fit", count)
    return fitted


def fit_once(path, pixels=PIXELS, identity=SET, kind="zca", regularisation=0.1):
    return whitening_files.fit_once(path, pixels, identity, kind, regularisation)


def assert_same(one, other):
    assert one.kind == other.kind
    for name, array in vars(one).items():
        assert (array is None) == (getattr(other, name) is None)
        if array is not None:
            np.testing.assert_array_equal(array, getattr(other, name), strict=True)


@pytest.mark.parametrize("kind", ["zca", "standardize"])
def test_file_cache_or_neither_the_whitening_is_the_same(tmp_path, fits, kind):
    first = fit_once(tmp_path / "one" / "whitening.npz", kind=kind)
    assert fits == [kind]
    assert_same(first, whitening.fit(PIXELS, kind, 0.1))
    fits.clear()
    # From the file; then, in another folder, from the cache, which leaves a file there.
    assert_same(fit_once(tmp_path / "one" / "whitening.npz", kind=kind), first)
    assert_same(fit_once(tmp_path / "two" / "whitening.npz", kind=kind), first)
    assert_same(whitening_files.read(tmp_path / "two" / "whitening.npz"), first)
    assert fits == []


def test_a_file_serves_without_the_cache(tmp_path, fits, monkeypatch):
    monkeypatch.setenv("FSDD_CACHE", "off")
    first = fit_once(tmp_path / "whitening.npz")
    assert_same(fit_once(tmp_path / "whitening.npz"), first)
    fit_once(tmp_path / "other.npz")
    assert len(fits) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.npz", "whitening.npz"]


@pytest.mark.parametrize(
    "change", [{"kind": "standardize"}, {"regularisation": 0.2}, {"identity": {"name": "noise", "images": 31}}]
)
def test_a_file_of_another_recipe_or_set_is_refused_in_one_line(tmp_path, fits, change):
    path = tmp_path / "whitening.npz"
    fit_once(path)
    before = path.read_bytes()
    with pytest.raises(UserError) as raised:
        fit_once(path, **change)
    message = str(raised.value)
    assert message.startswith(str(path)) and "fitted to other images" in message and "\n" not in message
    assert path.read_bytes() == before and len(fits) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "standardize"},
        {"regularisation": 0.2},
        {"identity": {"name": "other"}},
        # Whoever takes two sets for the same one in the cache, where there are many, would be wrong for good.
        {"pixels": PIXELS ^ (np.arange(PIXELS.size) == 77).reshape(PIXELS.shape).astype(np.uint8)},
        {"pixels": PIXELS.reshape(30, 2, 8, 3)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_cache_tells_recipes_sets_and_single_pixels_apart(tmp_path, fits, change):
    fit_once(tmp_path / "one.npz")
    fit_once(tmp_path / "two.npz", **change)
    assert len(fits) == 2


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:-30], lambda content: b"hello"])
def test_a_damaged_file_of_the_cache_is_fitted_again(tmp_path, fits, damage):
    first = fit_once(tmp_path / "one.npz")
    (kept,) = (tmp_path / "cache").glob("whitenings/*.npz")
    content = kept.read_bytes()
    # As a new file: that of the folder is the same one under another name.
    kept.unlink()
    kept.write_bytes(damage(content))
    assert_same(fit_once(tmp_path / "two.npz"), first)
    assert len(fits) == 2
    # And what is there now is whole again.
    assert_same(fit_once(tmp_path / "three.npz"), first)
    assert len(fits) == 2


def test_a_damaged_file_of_the_folder_is_named_in_one_line(tmp_path, fits):
    path = tmp_path / "whitening.npz"
    path.write_bytes(b"hello")
    with pytest.raises(UserError) as raised:
        fit_once(path)
    assert str(raised.value).startswith(f"{path} cannot be read") and "\n" not in str(raised.value)
    assert fits == [] and path.read_bytes() == b"hello"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, fits):
    (tmp_path / "file").write_text("")
    for _ in range(2):  # fitted, then from the cache
        with pytest.raises(UserError, match="cannot be written"):
            fit_once(tmp_path / "file" / "whitening.npz")


def test_files_without_a_digest_are_taken_for_anything(tmp_path):
    """Such as those from before there were digests, and one that was fitted elsewhere."""
    fitted = whitening.fit(PIXELS, "zca")
    whitening_files.write(tmp_path / "old.npz", fitted)
    with np.load(tmp_path / "old.npz") as arrays:
        assert set(arrays) == {name for name, array in vars(fitted).items() if array is not None}
    assert_same(whitening_files.read(tmp_path / "old.npz", "whatever"), fitted)


@pytest.mark.parametrize("n", [20, 60], ids="{} images of 108 values".format)
def test_matrices_and_factors_come_back_as_they_were(tmp_path, n):
    pixels = np.random.default_rng(0).integers(0, 256, (n, 6, 6, 3), np.uint8)
    fitted = whitening.fit(pixels, "zca")
    whitening_files.write(tmp_path / "whitening.npz", fitted, "these")
    again = whitening_files.read(tmp_path / "whitening.npz", "these")
    assert (again.factors is None) == (n == 60)
    np.testing.assert_array_equal(again.apply(pixels), fitted.apply(pixels))
