"""Stages beside the main job's: the learned distillation space, FRePo, other starts and sizes, and sets on the way."""

import json

import numpy as np
import pytest

import fsdd
from fsdd import config as configs
from fsdd import pipeline, rules
from fsdd.data import sources
from fsdd.errors import UserError
from fsdd.evaluation import training
from fsdd.io import checkpoint
from fsdd.methods import streams
from fsdd.networks.convnet import ConvNet
from fsdd.run import fixed_key

FIELDS = {
    "dataset": "digits",
    "network.width": 4,
    "objective.flip": False,
    "evaluate.networks": 1,
    "evaluate.steps": 3,
    "distill.uses": 4,
    "distill.batch": 32,
    "bilevel.steps": 2,
    "bilevel.inner": 2,
    "bilevel.batch": 32,
    "frepo.steps": 12,
    "frepo.batch": 32,
    "frepo.pool": 3,
    "frepo.updates": 4,
    "frepo.rate": 1e-2,
}


def _run(folder, **fields):
    config = configs.default()
    config.update_from_flattened_dict(FIELDS | {name.replace("__", "."): value for name, value in fields.items()})
    return pipeline.run(config, folder)


def _images(path):
    with np.load(path) as arrays:
        return arrays["images"]


@pytest.fixture(scope="module")
def pooled(tmp_path_factory):
    """FRePo on herded images of half the side, with a set kept on the way."""
    folder = tmp_path_factory.mktemp("frepo")
    stages = {"stages": ("frepo",), "evaluate.stages": ("start", "frepo@4", "frepo")}
    return folder, _run(folder, start="herding", factor=2, **stages)


def test_sets_on_the_way_are_kept_scored_and_timed(pooled):
    folder, results = pooled
    assert [score["stage"] for score in results["evaluations"]] == ["start", "frepo@4", "frepo"]
    seconds = [score["distilling_seconds"] for score in results["evaluations"]]
    assert seconds[0] == 0 < seconds[1] <= seconds[2] == results["stages"]["frepo"]["wall_seconds"]
    # 12 steps on 3 networks of ages 0, 1 and 2, each of which gives way after 4.
    assert 3 + 12 // 4 <= results["stages"]["frepo"]["networks"] <= 3 + (12 + 0 + 1 + 2) // 4
    kept, last = _images(folder / "frepo" / "kept" / "4.npz"), _images(folder / "frepo" / "set.npz")
    assert np.abs(kept - last).max() > 1e-3


def test_a_set_on_the_way_is_what_fewer_steps_leave(pooled, tmp_path):
    """The rate's schedule aside: here it is constant."""
    for steps, stages in ((8, ("frepo@4",)), (4, ())):
        _run(tmp_path / str(steps), stages=("frepo",), frepo__steps=steps, frepo__final=1.0, evaluate__stages=stages,
             evaluate__networks=0)  # fmt: skip
    kept, last = tmp_path / "8" / "frepo" / "kept" / "4.npz", tmp_path / "4" / "frepo" / "set.npz"
    np.testing.assert_array_equal(_images(kept), _images(last))


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
    recipe = training.Recipe(steps=3)
    assert fsdd.evaluate(stored, data.test_images, data.test_labels, networks=1, width=4, recipe=recipe).shape == (1,)


def test_a_set_that_was_not_kept_is_one_line(pooled):
    folder, _ = pooled
    with pytest.raises(UserError, match=r"asks for frepo@6, which was not kept when .*frepo was made"):
        _run(folder, start="herding", factor=2, stages=("frepo",), evaluate__stages=("frepo@6",))


def test_sets_are_kept_whatever_steps_a_dispatch_could_take(tmp_path):
    """A mark that is in the middle of what a dispatch would take, and of what a network serves."""
    stream = {"refine__networks": 3, "refine__uses": 4, "refine__group": 1, "refine__real_images": 32}
    stream |= {"stages": ("refine",), "evaluate__stages": ("refine@6",), "evaluate__networks": 0}
    for dispatch in (1, 8):
        _run(tmp_path / str(dispatch), compute__dispatch=dispatch, **stream)
    for name in ("kept/6.npz", "set.npz"):
        one, many = (_images(tmp_path / dispatch / "refine" / name) for dispatch in ("1", "8"))
        np.testing.assert_allclose(many, one, atol=1e-4)


def test_the_time_of_an_autoencoder_is_its_stages(tmp_path):
    fields = {"translate__init": "autoencoder", "translate__networks": 1, "translate__real_images": 32}
    fields |= {
        "autoencoder__steps": 3,
        "autoencoder__batch": 8,
        "translator__widths": (4, 4, 4),
        "translator__residual": False,
    }
    results = _run(tmp_path, stages=("distill", "translate"), evaluate__networks=0, **fields)
    card = json.loads((tmp_path / "translate" / "autoencoder" / "card.json").read_text())
    assert results["stages"]["translate"]["wall_seconds"] > card["wall_seconds"] > 0


def test_distillation_goes_on_in_the_learned_space(tmp_path):
    results = _run(tmp_path, stages=("bilevel", "distill"))
    assert results["stages"]["bilevel"]["steps"] == 2
    with_space = _images(tmp_path / "distill" / "set.npz")
    # The network has moved from where it was drawn.
    network, image_shape = ConvNet(10, width=4, norm="batch"), (8, 8, 1)
    drawn = streams.fixed_network(network, fixed_key(configs.default()), image_shape)
    moved = checkpoint.load_variables(tmp_path / "bilevel" / "network", drawn, "network")
    steps = [
        np.abs(moved["params"][name]["kernel"] - drawn["params"][name]["kernel"]).max() for name in ("Conv_0", "Conv_2")
    ]
    assert all(0 < step < 1e-3 for step in steps)
    # From the same start, in the network as it was drawn, distillation leaves another set.
    start = tmp_path / "plain"
    _run(start, stages=("distill",))
    assert np.abs(with_space - _images(start / "distill" / "set.npz")).max() > 1e-4


def test_no_stage_at_all_scores_real_images(tmp_path):
    scores = {}
    for start in rules.STARTS:
        results = _run(tmp_path / start, stages=(), start=start)
        assert results["evaluations"][0]["stage"] == "start"
        assert results["evaluations"][0]["distilling_seconds"] == 0
        scores[start] = fsdd.load(tmp_path / start / "synthetic.npz").pixels
    data = sources.load("digits", test_fraction=0.2)
    real = {image.tobytes() for image in data.train_images}
    for pixels in scores.values():
        assert all(np.rint(image * 255).astype(np.uint8).tobytes() in real for image in pixels)
    assert (scores["random"] != scores["herding"]).any()
