"""A whole run on real digits: every stage leaves what it promises, and a finished run is not repeated."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
import runs

import fsdd
from fsdd import config as configs
from fsdd.assembly import keys, timing
from fsdd.data import sources
from fsdd.distilling import context as contexts
from fsdd.distilling import estimate, records
from fsdd.errors import UserError
from fsdd.io import progress, report, stored_files

FIELDS = {
    "dataset": "digits",
    "network.width": 16,
    "network.depth": 2,
    "stages": ("distill", "translate", "refine"),
    "distill.steps": 60,
    "translate.networks": 30,
    "translate.rate": 1e-3,
    "translator.widths": (16, 16, 16),
    "refine.networks": 4,
    "refine.group": 2,
    "refine.uses": 10,
    "evaluate.networks": 2,
    "evaluate.steps": 100,
    "evaluate.stages": ("start", "refine"),
}


def _config(**changes):
    return runs.default(FIELDS | changes)


def _prepare(folder, **changes):
    return contexts.prepare(configs.resolve(_config(**changes)), folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, runs.run(_config(), folder)


def test_results_say_what_was_done(finished):
    folder, results = finished
    assert json.loads((folder / "results.json").read_text()) == json.loads(json.dumps(results))
    assert {stage: result["steps"] for stage, result in results["stages"].items()} == {
        "distill": 60, "translate": 30, "refine": 40,
    }  # fmt: skip
    for result in results["stages"].values():
        assert 0 < result["compile_seconds"] < result["wall_seconds"]
        assert result["curve"][-1]["step"] == result["steps"] - 1
    for score in results["evaluations"]:
        assert len(score["accuracies"]) == 2
        assert score["mean"] == pytest.approx(np.mean(score["accuracies"]), abs=0.01)
        assert (score["architecture"], score["width"], score["steps"]) == ("convnet", 16, 100)
        assert score["test_images"] == 359
        assert (len(score["class_accuracies"]), score["test_images_of_a_class"]) == (10, [35, 37])
        # Classes have nearly as many test images, so that both means nearly agree.
        assert score["balanced_accuracy"] == pytest.approx(score["mean"], abs=0.5)
    assert results["config"]["network.initialisation"] == "lecun"
    assert results["versions"]["jax"] == jax.__version__


def test_every_stage_lowers_its_loss(finished):
    _, results = finished
    for result in results["stages"].values():
        losses = [point["nfr"] for point in result["curve"]]
        assert np.mean(losses[-5:]) < np.mean(losses[:3])


def test_the_stored_set_is_usable_without_us(finished):
    folder, _ = finished
    with np.load(folder / "synthetic.npz", allow_pickle=False) as arrays:
        assert arrays["pixels"].shape == (10, 8, 8, 1)
        assert 0 <= arrays["pixels"].min() <= arrays["pixels"].max() <= 1
        np.testing.assert_array_equal(arrays["classes"], np.arange(10))
    provenance = fsdd.load(folder / "synthetic.npz").provenance
    assert provenance["config"]["distill.steps"] == 60
    assert provenance["stages"]["refine"]["networks"] == 4
    for picture in ("synthetic.png", "curves.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")


def test_an_estimate_counts_the_work_that_is_left(finished, tmp_path):
    folder, _ = finished
    context = _prepare(tmp_path)
    train, test = 1438, 359
    assert estimate.count_passes(context) == {
        "distill": train + 2 * 60 * 10,
        "translate": 30 * 1024 + 2 * 30 * 10,
        "refine": 4 * 1024 + 2 * 40 * 10,
        "evaluate": (3 * 100 * 10 + test) * 2 * 2,
    }
    assert list(estimate.count_passes(_prepare(folder))) == ["evaluate"]
    counted = estimate.count_passes(_prepare(tmp_path / "several", **{"translate.ipcs": (2, 3)}))
    assert counted["distill"] == 3 * train + 2 * 60 * (10 + 20 + 30)
    assert counted["translate"] == 30 * 1024 + 2 * 30 * (20 + 30)
    assert counted["refine"] == 4 * 1024 + 2 * 40 * 10
    assert estimate.describe(context) is None
    assert 0 < timing.seconds_per_image(context.objective.network, context.real.images, 64) < 1


def test_an_estimate_says_what_other_budgets_take(tmp_path):
    context = _prepare(tmp_path, **{"refine.networks": 10**6})
    counts = estimate.count_budget_passes(context.config, 10, 1438)
    assert list(counts) == ["fast", "default", "long"]
    filled = configs.with_budget(context.config, "fast").refine
    assert counts["fast"] == filled.networks * (1024 + 2 * filled.uses * 10)
    assert "; refine by another config.budget: fast " in estimate.describe(context)
    # What would not go with the networks and steps of another budget does not stop a run.
    apart = {"refine.networks": 32, "refine.uses": 10, "refine.group": 0, "refine.networks_per_step": 4}
    odd = configs.resolve(_config(**apart, **{"evaluate.stages": ("refine@79",)}))
    assert estimate.count_budget_passes(odd, 10, 1438) == counts
    same = configs.with_budget(context.config, "long")
    assert list(estimate.count_budget_passes(same, 10, 1438)) == ["fast", "default"]


def test_a_finished_run_is_loaded(finished):
    folder, results = finished
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/*.npz")}
    again = runs.run(_config(), folder)
    assert again["evaluations"] == results["evaluations"]
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/*.npz")} == before


def test_all_networks_of_a_set_are_on_one_bar_that_starts_where_they_were_left(finished, tmp_path, monkeypatch):
    folder, results = finished
    folder, bars, make = shutil.copytree(folder, tmp_path / "killed"), [], progress.bar
    (left,) = folder.glob("evaluation/refine-*/network1.json")
    left.unlink()

    def watched(*arguments, **named):
        bars.append(make(*arguments, **named))
        return bars[-1]

    monkeypatch.setattr(progress, "bar", watched)
    again = runs.run(_config(), folder)
    assert [(bar.desc, bar.total, bar.initial, bar.n) for bar in bars] == [
        ("evaluate refine, 2 networks", 200, 100, 200)
    ]
    assert again["evaluations"][-1]["accuracies"] == results["evaluations"][-1]["accuracies"]


def test_a_stage_made_before_a_field_existed_had_its_default(finished, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "older")
    fields = json.loads((folder / "refine" / "config.json").read_text())
    del fields["refine.real_images"]
    (folder / "refine" / "config.json").write_text(json.dumps(fields))
    _prepare(folder)
    with pytest.raises(UserError, match=r"refine.real_images = 1024, now it is 3"):
        _prepare(folder, **{"refine.real_images": 3})


@pytest.mark.slow  # another whole run
def test_an_adapted_translator_starts_another_run(finished, tmp_path):
    folder, _ = finished
    config = _config(
        **{"translate.init": str(folder / "translate" / "translator"), "stages": ("distill", "translate")},
        **{"evaluate.stages": (), "evaluate.networks": 0, "translate.ipcs": (1, 2), "translate.networks": 4},
    )
    results = runs.run(config, tmp_path)
    # It goes on where the other ended: far below the loss of a set that was not translated.
    fresh = json.loads((folder / "translate" / "result.json").read_text())["curve"][0]["nfr"]
    assert results["stages"]["translate"]["curve"][0]["nfr"] < fresh
    assert results["stages"]["translate"]["ipcs"] == [1, 2]
    parts = [tmp_path / part / "result.json" for part in ("distill", "distill/ipc2", "translate")]
    seconds = records.seconds_until(contexts.prepare(configs.resolve(config), tmp_path), "translate")
    assert seconds == pytest.approx(sum(json.loads(part.read_text())["wall_seconds"] for part in parts))
    config.network.seed = 3
    with pytest.raises(fsdd.UserError, match=r"config\.network\.seed is 3; allowed: 0, with which the images"):
        runs.run(config, tmp_path / "elsewhere")


def test_the_api_scores_a_stored_set_as_its_run_did(finished):
    folder, results = finished
    data = sources.load("digits")
    saved = stored_files.load(folder / "synthetic.npz")
    scored = fsdd.evaluate(saved, data.test_images, data.test_labels)
    # Means are of accuracies in hundredths, and hundredths themselves.
    assert scored.mean == pytest.approx(results["evaluations"][-1]["mean"], abs=0.011)
    assert scored.std == pytest.approx(results["evaluations"][-1]["std"], abs=0.011)
    np.testing.assert_allclose(scored, results["evaluations"][-1]["accuracies"], atol=0.006)
    # Ten images teach far more than chance.
    assert min(scored) > 30 and scored[0] != scored[1]


def test_a_dense_layer_in_closed_form_is_scored_again_in_a_finished_run_and_through_the_api(finished, tmp_path):
    folder, results = finished
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    config = _config(**{"evaluate.fit": "ridge", "evaluate.stages": (), "evaluate.networks": 2})
    scored = runs.run(config, again)["evaluations"][-1]
    assert (scored["steps"], scored["recipe"]["fit"]) == (0, "ridge")
    assert scored["accuracies"] != results["evaluations"][-1]["accuracies"]
    assert any(
        "dense layer in closed form" in line
        for line in report.describe(json.loads((again / "results.json").read_text()), again)
    )
    data, saved = sources.load("digits"), stored_files.load(again)
    found = fsdd.evaluate(saved, data.test_images, data.test_labels)
    np.testing.assert_allclose(found, scored["accuracies"], atol=0.006)
    assert min(found) > 30
    classifier = fsdd.train(saved)
    assert np.mean(classifier.predict(data.test_images) == data.test_labels) == pytest.approx(found[0] / 100)


@pytest.mark.parametrize(
    ("images", "labels", "fields", "words"),
    [
        (np.zeros((3, 8, 8), np.int64), [0, 1, 2], {}, "test_images: int64 from 0 to 0; allowed are uint8, floats"),
        (np.zeros((3, 9, 9), np.uint8), [0, 1, 2], {}, r"shape \[9, 9, 1\]; allowed: \[8, 8, 1\]"),
        (np.zeros((3, 8, 8), np.uint8), [0, 1], {}, "2 for 3 images"),
        (np.zeros((3, 8, 8), np.uint8), [0, 1, 10], {}, "label 10; allowed: 0 to 9"),
        (np.zeros((3, 8, 8), np.uint8), [0, 1, 2], {"evaluate.networks": 0}, "networks'\\] is 0; allowed: at least 1"),
        (
            np.zeros((3, 8, 8), np.uint8),
            [0, 1, 2],
            {"evaluate.norm": "layer"},
            r"^fields\['evaluate.norm'\] is 'layer'",
        ),
    ],
)
def test_what_the_api_cannot_score_is_one_line(finished, images, labels, fields, words):
    saved = stored_files.load(finished[0] / "synthetic.npz")
    with pytest.raises(fsdd.UserError, match=words):
        fsdd.evaluate(saved, images, np.array(labels), fields)


@pytest.mark.slow
def test_the_api_distils(tmp_path):
    fields = FIELDS | {"stages": ("distill",), "distill.steps": 3, "evaluate.networks": 0, "evaluate.stages": ()}
    made = fsdd.distill("digits", tmp_path, {name: value for name, value in fields.items() if name != "dataset"})
    data = sources.load("digits")
    # A run that scored none says nothing of how many: three.
    assert fsdd.evaluate(made, data.test_images, data.test_labels, {"evaluate.steps": 2}).values.shape == (3,)
    assert made.pixels.shape == (10, 8, 8, 1)
    given = configs.flat(configs.few_networks(configs.default())) | {"dataset": "digits"} | fields
    assert (
        json.loads((tmp_path / "results.json").read_text())["config"].items()
        >= {name: given[name] for name in ("refine.networks", "refine.uses", "distill.steps")}.items()
    )
    with pytest.raises(fsdd.UserError, match=r"distill\.stepss.\] is not a field.*distill\.steps"):
        fsdd.distill("digits", tmp_path, {"distill.stepss": 3})


def test_the_api_takes_paths_and_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    data = sources.load("digits")
    np.savez(tmp_path / "mine.npz", train_images=data.train_images[:60], train_labels=data.train_labels[:60])
    fields = {"stages": (), "evaluate.networks": 0, "data_dir": tmp_path}
    made = fsdd.distill(tmp_path / "mine.npz", "~/run", fields)
    assert made.pixels.shape == (10, 8, 8, 1)
    assert (tmp_path / "run" / "synthetic.npz").is_file()
    with pytest.raises(fsdd.UserError, match=r"^fields\[.data_dir.\] is 5; allowed: the path of a folder"):
        fsdd.distill("digits", tmp_path / "other", {"data_dir": 5})


def test_every_use_of_randomness_has_keys_of_its_own():
    drawn = [keys.purpose_key(seed, purpose) for seed in (0, 1) for purpose in keys.PURPOSES]
    drawn += [keys.scoring_key(0, index) for index in range(3)]
    assert len({tuple(jax.random.key_data(key).tolist()) for key in drawn}) == len(drawn)


def test_a_process_that_finds_all_subsets_taken_says_so():
    cache = {"subsets": 0, "bytes": 0, "wall_seconds": 0.0, "before": [], "after": []}
    lines = report.describe({"stages": {"cache": cache}, "evaluations": []}, pathlib.Path("run"))
    assert lines == ["cache: other processes are at all subsets"]
