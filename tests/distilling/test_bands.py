"""Images of other numbers of channels than one and three, from files to stored sets."""

import jax
import numpy as np
import pytest
import runs

import fsdd
from fsdd.errors import UserError
from fsdd.io import checkpoint, workdir
from fsdd.methods import translation
from fsdd.networks.translator import Translator

STAGES = ("distill", "translate", "refine")


@pytest.fixture(scope="module")
def bands(tmp_path_factory):
    """Images of four bands: classes differ in the last alone, and the second is the same in all."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (60, 8, 8, 4), np.uint8)
    labels = np.arange(60) % 2
    pixels[..., 1] = 255
    pixels[..., 3] = pixels[..., 3] // 4 + 128 * labels[:, None, None].astype(np.uint8)
    path = tmp_path_factory.mktemp("data") / "bands.npz"
    np.savez(path, images=pixels, labels=labels)
    return str(path)


def run(folder, bands, **changes):
    fields = runs.TINY | {"dataset": bands, "network.depth": 2, "evaluate.depth": 2}
    return runs.run(runs.default(fields | {name.replace("__", "."): value for name, value in changes.items()}), folder)


@pytest.mark.parametrize(
    ("stages", "whitening"),
    [
        pytest.param(("distill",), "standardize", marks=pytest.mark.whole),
        pytest.param(STAGES, "auto", marks=pytest.mark.slow),
    ],
)
def test_four_bands_are_distilled_and_the_fourth_tells_the_classes(tmp_path, bands, stages, whitening):
    results = run(tmp_path, bands, stages=stages, evaluate__steps=150, whitening__kind=whitening)
    stored = fsdd.load(tmp_path / "synthetic.npz")
    assert stored.pixels.shape == (2, 8, 8, 4) and np.isfinite(stored.pixels).all()
    last = stored.pixels[..., 3].mean((1, 2))
    assert last[1] - last[0] > 0.2
    if whitening == "standardize":  # ZCA of so few images of noise makes all directions alike
        assert results["evaluations"][-1]["mean"] > 90


def test_pictures_show_the_bands_that_a_field_names_and_may_change(tmp_path, bands):
    run(tmp_path, bands, stages=("distill",), evaluate__networks=0)
    before = (tmp_path / "synthetic.png").read_bytes()
    run(tmp_path, bands, stages=("distill",), evaluate__networks=0, picture_bands=(3,))
    assert (tmp_path / "synthetic.png").read_bytes() != before
    with pytest.raises(UserError, match=r"config.picture_bands is \(0, 1, 4\); allowed: bands of bands from 0 to 3"):
        run(tmp_path, bands, stages=("distill",), picture_bands=(0, 1, 4))


def test_a_translator_of_other_channels_is_refused_in_one_line(tmp_path, bands):
    variables = translation.fresh(Translator(3, (4, 4, 4)), jax.random.key(0), (8, 8, 3))
    checkpoint.save_variables(tmp_path / "stored", variables, {})
    workdir.write(tmp_path / "stored/card.json", {"channels": 3})
    with pytest.raises(UserError) as error:
        run(tmp_path / "run", bands, stages=("distill", "translate"), translate__init=str(tmp_path / "stored"))
    assert "for images of 3 channels; the images here have 4" in str(error.value) and "\n" not in str(error.value)
