"""Sets of several seeds side by side: each is the set of a run of its own, and its workdir that of one that is done."""

import json

import numpy as np
import pytest
import runs

import fsdd
from fsdd import config as configs
from fsdd.distilling import context as contexts
from fsdd.distilling import estimate
from fsdd.errors import UserError
from fsdd.io import report

FIELDS = runs.TINY | {
    "stages": ("distill", "refine"),
    "distill.steps": 6,
    "refine.networks": 4,
    "refine.uses": 3,
    "evaluate.networks": 2,
    "evaluate.stages": ("start", "refine@3", "refine"),
    "seeds": (5, 2),
}


def _run(folder, **changes):
    return runs.run(runs.default(FIELDS | changes), folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    return folder, _run(folder)


def test_each_is_the_set_of_a_run_of_its_own(finished, tmp_path):
    folder, _ = finished
    _run(tmp_path, seeds=(), seed=2, shared_seed=0)
    other = runs.images(folder / "seed5/refine/set.npz")
    for name in ("distill/set.npz", "refine/kept/3.npz", "refine/set.npz"):
        with np.load(tmp_path / name) as alone, np.load(folder / "seed2" / name) as together:
            for field in ("images", "labels"):
                # Twelve steps of Adam or LAMB, whose sums two programs round each in its own way.
                np.testing.assert_allclose(together[field], alone[field], rtol=0, atol=1e-4)
    assert np.abs(runs.images(tmp_path / "refine/set.npz") - other).max() > 0.1


def test_the_folder_of_a_seed_is_a_run_that_is_done(finished):
    folder, results = finished
    own = folder / "seed5"
    before = {path: path.stat().st_mtime_ns for path in own.glob("**/*.npz") if "synthetic" not in path.name}
    assert own / "refine/kept/3.npz" in before
    again = _run(own, seeds=(), seed=5, shared_seed=0)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [one["mean"] for one in again["evaluations"]] == [one["means"][0] for one in results["evaluations"]]
    stored = fsdd.load(own)
    np.testing.assert_array_equal(stored.train_images, runs.images(own / "refine/set.npz"))
    shared, whole = (json.loads((place / "refine/result.json").read_text()) for place in (own, folder))
    assert shared["wall_seconds"] == pytest.approx(whole["wall_seconds"] / 2, abs=0.01)
    assert shared["images"] == whole["images"] == 10


def test_accuracies_are_means_over_seeds_with_their_spread(finished):
    folder, results = finished
    assert json.loads((folder / "results.json").read_text()) == json.loads(json.dumps(results))
    last = results["evaluations"][-1]
    assert [one["stage"] for one in results["evaluations"]] == ["start", "refine@3", "refine"]
    assert (last["seeds"], last["networks"], last["mean"]) == (2, 2, round(sum(last["means"]) / 2, 2))
    assert last["std"] == pytest.approx(abs(last["means"][0] - last["means"][1]) / 2**0.5, abs=0.01)
    lines = report.describe(results, folder)
    assert lines[-2].endswith("(2 seeds, each 2 x convnet of width 4, 3 steps)")
    assert lines[-1] == f"stored a set and its picture in each of seed5, seed2, in {folder}"


@pytest.mark.whole
def test_killed_it_goes_on(finished, tmp_path):
    """Stopped by a checkpoint in the midst of refinement, it ends with the same bits."""
    folder, _ = finished
    runs.kill(runs.default(FIELDS), tmp_path, 9)
    assert (tmp_path / "distill/set.npz").is_file() and not (tmp_path / "seed5/distill").exists()
    _run(tmp_path)
    for seed in (5, 2):
        name = f"seed{seed}/refine/set.npz"
        np.testing.assert_array_equal(runs.images(tmp_path / name), runs.images(folder / name))


def test_an_estimate_counts_all_of_them(tmp_path):
    config = configs.resolve(runs.default(FIELDS))
    counted = estimate.count_passes(contexts.prepare(config, tmp_path))
    train, test = 1438, 359
    assert counted == {
        "distill": train + 2 * 6 * 20,
        "refine": 4 * 32 + 2 * 12 * 20,
        "evaluate": (3 * 3 * 10 + test) * 2 * 3 * 2,
    }


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"seeds": (3,)}, r"config.seeds is \(3,\); allowed: \(\), or two or more different whole numbers"),
        ({"seeds": (3, 3)}, r"config.seeds is \(3, 3\)"),
        ({"seeds": (1, 2), "stages": ("frepo",)}, r"config.seeds is \(1, 2\); allowed: \(\) with the stage frepo"),
        (
            {"seeds": (1, 2), "stages": ("distill", "translate")},
            r"allowed: \(\) with the stage translate; distill, ref",
        ),
        ({"seeds": (1, 2), "stages": ("cache",)}, r"allowed: \(\) with the stage cache"),
    ],
)
def test_what_cannot_go_side_by_side_is_refused(fields, words):
    with pytest.raises(UserError, match=words):
        configs.resolve(runs.default(fields))


def test_other_seeds_do_not_go_on_in_a_folder(finished):
    folder, _ = finished
    with pytest.raises(UserError, match="seeds"):
        _run(folder, seeds=(5, 3))
    with pytest.raises(UserError, match=r"seeds is .*from Python"):
        fsdd.distill("digits", folder / "another", {"seeds": (1, 2)})
    assert not (folder / "another").exists()
