"""Stages beside the main job's: the learned distillation space, FRePo, other starts and sizes, and sets on the way."""

import dataclasses
import json

import numpy as np
import pytest
import runs

import fsdd
from fsdd import config as configs
from fsdd.assembly import keys
from fsdd.data import sources
from fsdd.distilling import moves
from fsdd.errors import UserError
from fsdd.io import checkpoint
from fsdd.methods import streams
from fsdd.networks.convnet import ConvNet


def _run(folder, **fields):
    changes = {name.replace("__", "."): value for name, value in fields.items()}
    return runs.run(runs.default(runs.TINY | changes), folder)


@pytest.fixture(scope="module")
def pooled(tmp_path_factory):
    """FRePo on herded images of half the side, with a set kept on the way."""
    folder = tmp_path_factory.mktemp("frepo")
    stages = {"stages": ("frepo",), "evaluate.stages": ("start", "frepo@4", "frepo")}
    return folder, _run(folder, start="herding", factor=2, **stages)


@pytest.mark.whole
def test_sets_on_the_way_are_kept_scored_and_timed(pooled):
    folder, results = pooled
    assert [score["stage"] for score in results["evaluations"]] == ["start", "frepo@4", "frepo"]
    seconds = [score["distilling_seconds"] for score in results["evaluations"]]
    assert seconds[0] == 0 < seconds[1] <= seconds[2] == results["stages"]["frepo"]["wall_seconds"]
    # 12 steps on 3 networks of ages 0, 1 and 2, each of which gives way after 4.
    assert 3 + 12 // 4 <= results["stages"]["frepo"]["networks"] <= 3 + (12 + 0 + 1 + 2) // 4
    kept, last = runs.images(folder / "frepo" / "kept" / "4.npz"), runs.images(folder / "frepo" / "set.npz")
    assert np.abs(kept - last).max() > 1e-3


@pytest.mark.whole
def test_a_set_on_the_way_is_what_fewer_steps_leave(tmp_path):
    """The rate's schedule aside: here it is constant."""
    for steps, stages in ((8, ("distill@4",)), (4, ())):
        _run(tmp_path / str(steps), stages=("distill",), distill__steps=steps, distill__final=1.0,
             evaluate__stages=stages, evaluate__networks=0)  # fmt: skip
    kept, last = tmp_path / "8" / "distill" / "kept" / "4.npz", tmp_path / "4" / "distill" / "set.npz"
    np.testing.assert_array_equal(runs.images(kept), runs.images(last))


@pytest.mark.whole
def test_small_images_are_stored_and_come_back_large(pooled):
    folder, _ = pooled
    stored = fsdd.load(folder / "synthetic.npz")
    assert stored.synthetic.images.shape == (40, 4, 4, 1)
    assert stored.pixels.shape == stored.decoded.images.shape == (40, 8, 8, 1)
    assert stored.ipc == 4
    np.testing.assert_array_equal(stored.classes, np.repeat(np.arange(10), 4))
    wanted = np.clip(stored.whitening.invert(np.asarray(stored.decoded.images)), 0, 1)
    np.testing.assert_allclose(stored.pixels, wanted, atol=1e-6)
    data = sources.load("digits", test_fraction=0.2)
    fields = {"evaluate.networks": 1, "evaluate.steps": 3}
    assert fsdd.evaluate(stored, data.test_images, data.test_labels, fields).values.shape == (1,)


@pytest.mark.slow
def test_a_set_for_plain_images_keeps_its_labels_and_is_scored_by_its_pixels(tmp_path):
    stages = {"stages": ("distill", "translate", "frepo"), "evaluate.stages": ("start", "frepo")}
    fields = {"protocol": "plain_pixels", "translate.rate": 1e-2}
    results = _run(tmp_path, **stages, **fields)
    stored = fsdd.load(tmp_path / "synthetic.npz")
    assert stored.whitening.kind == "standardize"
    np.testing.assert_allclose(stored.synthetic.labels, np.eye(10) - 0.1, atol=1e-6)
    for before, after in (("distill", "translate"), ("translate", "frepo")):
        moved = runs.images(tmp_path / after / "set.npz") - runs.images(tmp_path / before / "set.npz")
        assert np.abs(moved).max() > 1e-3
    recipe = results["evaluations"][-1]["recipe"]
    assert [recipe[name] for name in ("images", "labels", "loss")] == ["pixels", "hard", "cross_entropy"]
    # What an image viewer shows is all that networks see: values between the levels of 8 bits change nothing.
    data = sources.load("digits")
    shares = fsdd.evaluate(stored, data.test_images, data.test_labels)
    np.testing.assert_allclose(shares, results["evaluations"][-1]["accuracies"], atol=0.006)
    shown = stored.whitening.apply(stored.eight_bits)
    rounded = dataclasses.replace(stored, synthetic=stored.synthetic.replace(images=shown))
    np.testing.assert_array_equal(fsdd.evaluate(rounded, data.test_images, data.test_labels), shares)


@pytest.mark.whole
def test_a_set_that_was_not_kept_is_one_line(pooled):
    folder, _ = pooled
    with pytest.raises(UserError, match=r"asks for frepo@6, which was not kept when .*frepo was made"):
        _run(folder, start="herding", factor=2, stages=("frepo",), evaluate__stages=("frepo@6",))


@pytest.mark.whole
def test_a_mark_that_was_passed_is_refused_before_the_stage_goes_on(tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    def die(*_, **__):
        raise Killed

    fields = {"stages": ("distill",), "compute__checkpoint_seconds": 0.0, "evaluate__networks": 0}
    fields["distill__steps"] = 12
    monkeypatch.setattr(moves, "write_set", die)
    with pytest.raises(Killed):
        _run(tmp_path, evaluate__stages=("distill@8",), **fields)
    monkeypatch.undo()
    with pytest.raises(UserError, match="asks for distill@2, which was not kept"):
        _run(tmp_path, evaluate__stages=("distill@2", "distill@8"), **fields)
    assert not (tmp_path / "distill" / "result.json").exists()
    _run(tmp_path, evaluate__stages=("distill@8",), **fields)
    assert [path.name for path in (tmp_path / "distill" / "kept").iterdir()] == ["8.npz"]


def _replace_set(folder):
    """As if the stage had been made anew elsewhere."""
    with np.load(folder / "set.npz") as arrays:
        changed = {"images": -arrays["images"], "labels": arrays["labels"]}
    np.savez(folder / "set.npz", **changed)


@pytest.mark.whole
def test_what_stands_on_a_set_does_not_outlive_it(tmp_path):
    fields = {"refine__networks": 2, "refine__uses": 1, "refine__real_images": 32}
    first = _run(tmp_path, stages=("distill",), evaluate__steps=40)["evaluations"][0]
    _run(tmp_path, stages=("distill", "refine"), evaluate__networks=0, **fields)
    _replace_set(tmp_path / "distill")
    second = _run(tmp_path, stages=("distill",), evaluate__steps=40)["evaluations"][0]
    assert second["accuracies"] != first["accuracies"]
    assert len(list((tmp_path / "evaluation").iterdir())) == 2
    with pytest.raises(UserError, match="refine was made with another start: its set = "):
        _run(tmp_path, stages=("distill", "refine"), evaluate__networks=0, **fields)


@pytest.mark.whole
def test_several_networks_at_once_score_as_one_by_one(tmp_path):
    fields = {"stages": (), "evaluate__networks": 3, "evaluate__steps": 40}
    scores = [_run(tmp_path / str(some), compute__networks_at_once=some, **fields)["evaluations"] for some in (1, 2)]
    one, many = (score[0]["accuracies"] for score in scores)
    assert len(set(one)) == 3
    # To the few test images of 359 that rounding may turn.
    np.testing.assert_allclose(many, one, atol=1.5)


@pytest.mark.slow
def test_many_steps_a_dispatch_learn_the_same_space_and_the_same_autoencoder(tmp_path):
    fields = {"stages": ("bilevel", "distill", "translate"), "translate__init": "autoencoder", "evaluate__networks": 0}
    fields |= {"translator__residual": False, "translate__networks": 0}
    fields |= {"autoencoder__steps": 4, "autoencoder__batch": 8}
    for dispatch in (1, 2):
        _run(tmp_path / str(dispatch), compute__dispatch=dispatch, **fields)
    for stage in ("bilevel", "translate"):
        one, many = (runs.images(tmp_path / dispatch / stage / "set.npz") for dispatch in ("1", "2"))
        np.testing.assert_allclose(many, one, atol=1e-3)


@pytest.mark.whole
def test_sets_are_kept_whatever_steps_a_dispatch_could_take(tmp_path):
    """A mark that is in the middle of what a dispatch would take, and of what a network serves."""
    stream = {"refine__networks": 3, "refine__uses": 4, "refine__group": 1, "refine__real_images": 32}
    stream |= {"stages": ("refine",), "evaluate__stages": ("refine@6",), "evaluate__networks": 0}
    for dispatch in (1, 8):
        _run(tmp_path / str(dispatch), compute__dispatch=dispatch, **stream)
    for name in ("kept/6.npz", "set.npz"):
        one, many = (runs.images(tmp_path / dispatch / "refine" / name) for dispatch in ("1", "8"))
        np.testing.assert_allclose(many, one, atol=1e-4)


@pytest.mark.whole
def test_the_time_of_an_autoencoder_is_its_stages(tmp_path):
    fields = {"translate__init": "autoencoder", "translate__networks": 3}
    fields |= {
        "autoencoder__steps": 3,
        "autoencoder__batch": 8,
        "translator__residual": False,
    }
    fields |= {"evaluate__networks": 0, "evaluate__stages": ("translate@2",)}
    results = _run(tmp_path, stages=("distill", "translate"), **fields)
    card = json.loads((tmp_path / "translate" / "autoencoder" / "card.json").read_text())
    assert results["stages"]["translate"]["wall_seconds"] > card["wall_seconds"] > 0
    with np.load(tmp_path / "translate" / "kept" / "2.npz") as kept:
        assert kept["seconds"] > card["wall_seconds"]


@pytest.mark.slow  # compiles for long
def test_distillation_goes_on_in_the_learned_space(tmp_path):
    results = _run(tmp_path, method="bilevel", evaluate__stages=("bilevel", "distill"))
    assert results["stages"]["bilevel"]["steps"] == 4
    assert [score["stage"] for score in results["evaluations"]] == ["bilevel", "distill"]
    with_space = runs.images(tmp_path / "distill" / "set.npz")
    # The network has moved from where it was drawn.
    network, image_shape = ConvNet(10, width=4, depth=2, norm="batch"), (8, 8, 1)
    drawn = streams.fixed_network(network, keys.fixed_network_key(configs.resolve(configs.default())), image_shape)
    moved = checkpoint.load_variables(tmp_path / "bilevel" / "network", drawn, "network")
    steps = [
        np.abs(moved["params"][name]["kernel"] - drawn["params"][name]["kernel"]).max() for name in ("Conv_0", "Conv_1")
    ]
    assert all(0 < step < 1e-3 for step in steps)
    # The set as the inner steps leave it is stored and scored by a method of its own, from the stage that is done.
    inner = _run(tmp_path, method="bilevel_inner")
    np.testing.assert_array_equal(fsdd.load(tmp_path).train_images, runs.images(tmp_path / "bilevel" / "set.npz"))
    assert inner["stages"]["bilevel"] == results["stages"]["bilevel"]
    assert inner["evaluations"][0]["accuracies"] == results["evaluations"][0]["accuracies"]
    # From the same start, in the network as it was drawn, distillation leaves another set.
    start = tmp_path / "plain"
    _run(start, stages=("distill",))
    assert np.abs(with_space - runs.images(start / "distill" / "set.npz")).max() > 1e-4


@pytest.mark.whole
def test_no_stage_at_all_scores_real_images(tmp_path):
    scores = {}
    for start in ("random", "herding"):
        results = _run(tmp_path / start, stages=(), start=start)
        assert results["evaluations"][0]["stage"] == "start"
        assert results["evaluations"][0]["distilling_seconds"] == 0
        scores[start] = fsdd.load(tmp_path / start / "synthetic.npz").pixels
    data = sources.load("digits", test_fraction=0.2)
    real = {image.tobytes() for image in data.train_images}
    for pixels in scores.values():
        assert all(np.rint(image * 255).astype(np.uint8).tobytes() in real for image in pixels)
    assert (scores["random"] != scores["herding"]).any()
