"""Where a translator starts: stored, in the package, or auto-encoded; for images of its own channels, and grey ones."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import runs

from fsdd import config as configs
from fsdd.assembly import translators
from fsdd.errors import UserError
from fsdd.io import checkpoint
from fsdd.methods import translation
from fsdd.networks.translator import Translator

WIDTHS = (4, 4, 4)
FIELDS = runs.TINY | {"translator.widths": WIDTHS, "translate.networks": 4, "evaluate.networks": 0}


def _config(**changes):
    return runs.default(FIELDS | changes)


def _stored(folder: pathlib.Path, channels: int) -> pathlib.Path:
    """A translator that changes what passes through it."""
    translator = Translator(channels, WIDTHS)
    variables = translation.fresh(translator, jax.random.key(0), (8, 8, channels))
    params = jax.tree.map(lambda leaf: leaf + 0.1, variables["params"])
    checkpoint.save_variables(folder, {**variables, "params": params}, {"channels": channels})
    return folder


@pytest.mark.parametrize(
    "warmup",
    [
        *(pytest.param(warmup, marks=pytest.mark.slow) for warmup in (0.0, 0.2)),
        pytest.param(1.0, marks=pytest.mark.whole),
    ],
)
def test_no_networks_at_all_is_a_translation_without_adaptation(tmp_path, warmup):
    stored = _stored(tmp_path / "stored", 1)
    fields = {"translate.init": str(stored), "translate.networks": 0, "translate.warmup": warmup}
    results = runs.run(_config(**fields), tmp_path / "run")
    figures = results["stages"]["translate"]
    assert (figures["steps"], figures["networks"], figures["curve"]) == (0, 0, [])
    translator = Translator(1, WIDTHS)
    variables = translators.load(translator, stored, (8, 8, 1))
    source = runs.images(tmp_path / "run" / "distill" / "set.npz")
    wanted, _ = translator.apply(variables, source, mutable=["batch_stats"])
    found = runs.images(tmp_path / "run" / "translate" / "set.npz")
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.abs(found - source).max() > 0.01


@pytest.mark.slow  # compiles translations of its own, for half a minute and more
def test_grey_images_pass_through_a_translator_of_colour_images(tmp_path):
    stored = _stored(tmp_path / "stored", 3)
    runs.run(_config(**{"translate.init": str(stored), "translate.networks": 2}), tmp_path / "run")
    assert runs.images(tmp_path / "run" / "translate" / "set.npz").shape == (10, 8, 8, 1)
    translator = Translator(3, WIDTHS, residual=False)
    variables = translation.fresh(translator, jax.random.key(1), (8, 8, 3))
    grey = jax.random.normal(jax.random.key(2), (5, 8, 8, 1))
    colour, _ = translator.apply(variables, jnp.repeat(grey, 3, -1), mutable=["batch_stats"])
    found, _ = translator.apply(variables, grey, mutable=["batch_stats"])
    np.testing.assert_allclose(found[..., 0], colour.mean(-1), atol=1e-5)


def test_colour_images_do_not_pass_through_a_grey_translator(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", train_images=images, train_labels=np.arange(40) % 2)
    fields = {"dataset": str(tmp_path / "data.npz"), "translate.init": str(_stored(tmp_path / "stored", 1))}
    with pytest.raises(UserError, match="for images of 1 channels; the images here have 3") as caught:
        runs.run(_config(**fields), tmp_path / "run")
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("part", ["translate", "pretrain"])
def test_a_residual_translator_is_no_autoencoder(tmp_path, part):
    stages = ("distill", "translate") if part == "translate" else ("cache", "pretrain")
    fields = {f"{part}.init": "autoencoder", "stages": stages, "subsets.count": 4}
    with pytest.raises(UserError, match=rf"config\.{part}\.init is 'autoencoder'.*residual=False"):
        runs.run(_config(**fields), tmp_path / "run")
    assert not (tmp_path / "run").exists()


PRETRAINING = {
    "stages": ("cache", "pretrain"),
    "distill.batch": 50,
    "subsets.count": 6,
    "subsets.classes_min": 2,
    "subsets.classes_max": 4,
    "subsets.images": 40,
    "subsets.synthetic": 4,
    "subsets.buckets": 1,
    "subsets.views": 1,
    "pretrain.steps": 4,
    "pretrain.subsets": 1,
    "pretrain.real_images": 20,
    "pretrain.every": 2,
}


@pytest.mark.slow  # compiles pre-training, for half a minute and more
def test_pretraining_goes_on_from_a_stored_translator_and_judges_a_target(tmp_path):
    target = tmp_path / "target"
    runs.run(_config(stages=("distill",)), target)
    stored = _stored(tmp_path / "stored", 1)
    fields = PRETRAINING | {"pretrain.init": str(stored), "pretrain.target": str(target), "pretrain.rate": 1e-9}
    runs.run(_config(**fields), tmp_path / "run")
    wanted, found = (
        translators.load(Translator(1, WIDTHS), folder, (8, 8, 1))["params"]
        for folder in (stored, tmp_path / "run" / "translator")
    )
    jax.tree.map(lambda one, two: np.testing.assert_allclose(two, one, atol=1e-6), wanted, found)
    points = [json.loads(line) for line in (tmp_path / "run" / "pretrain" / "curve.jsonl").read_text().splitlines()]
    assert [point["step"] for point in points] == [1, 2, 4]
    for name in ("translated", "target_translated"):
        assert points[0][name] != points[0][name.replace("translated", "untranslated")]
    assert 0 < points[-1]["target_accuracy_untranslated"] <= 100


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pretrain.target": "nowhere"}, ["config.pretrain.target is 'nowhere'", "finished run", "distill"]),
        ({"network.seed": 2}, ["config.network.seed is 2", "allowed: 0", "target"]),
        ({"pretrain.init": "nowhere"}, ["config.pretrain.init is 'nowhere'", "fresh, autoencoder", "variables/"]),
    ],
)
def test_targets_and_starts_that_cannot_be(tmp_path, changes, words):
    runs.run(_config(stages=("distill",)), tmp_path / "target")
    fields = PRETRAINING | {"pretrain.target": str(tmp_path / "target")} | changes
    with pytest.raises(UserError) as caught:
        runs.run(_config(**fields), tmp_path / "run")
    assert len(str(caught.value).splitlines()) == 1
    assert all(word in str(caught.value) for word in words), caught.value
    assert not (tmp_path / "run").exists()


@pytest.mark.slow  # compiles pre-training, for half a minute and more
def test_pretraining_starts_from_an_autoencoder(tmp_path):
    fields = PRETRAINING | {"pretrain.init": "autoencoder", "translator.residual": False, "autoencoder.steps": 20}
    runs.run(_config(**fields), tmp_path / "run")
    card = json.loads((tmp_path / "run" / "pretrain" / "autoencoder" / "0" / "card.json").read_text())
    assert card["curve"][-1]["loss"] < card["curve"][0]["loss"]
    assert json.loads((tmp_path / "run" / "translator" / "card.json").read_text())["config"]["autoencoder.steps"] == 20


@pytest.mark.parametrize("name", translators.packaged())
def test_what_comes_with_the_package_loads_and_says_what_made_it(name):
    folder = translators.folder_of(name)
    config = configs.resolve(configs.default())
    translator = translators.build(config, name, 3)
    variables = translators.load(translator, folder, (32, 32, 3))
    images = jax.random.normal(jax.random.key(0), (4, 32, 32, 3))
    made, _ = translator.apply(variables, images, mutable=["batch_stats"])
    assert np.isfinite(made).all() and not np.allclose(made, images)
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 5e6
    card = json.loads((folder / "card.json").read_text())
    assert "cifar" not in card["made_in"]["dataset"]
    assert card["steps"] == card["judged"][-1]["step"] and card["networks"] > 0
    assert {"device", "versions", "wall_seconds", "curve", "cifar10_ipc1"} <= card.keys()
    # It is tied to the network that one of the protocols distils in, and the other is refused.
    config = configs.default()
    config.translate.init = name
    fitting, other = ("frepo_torch", "recommended") if name.endswith("_torch") else ("recommended", "frepo_torch")
    config.protocol = fitting
    translators.check(configs.resolve(config), "translate.init")
    config.protocol = other
    with pytest.raises(UserError, match=r"config\.network\.initialisation is"):
        translators.check(configs.resolve(config), "translate.init")


def test_a_start_that_no_stage_uses_is_told(tmp_path, capsys):
    runs.run(_config(**{"translate.init": "tiny_imagenet32", "stages": ("distill",)}), tmp_path)
    assert "config.translate.init is 'tiny_imagenet32', and is not used" in capsys.readouterr().out


def test_there_is_one_for_either_initialisation_in_the_package():
    assert translators.packaged() == ["tiny_imagenet32", "tiny_imagenet32_torch"]
