"""The pre-training stage on real digits: it learns, resumes exactly, and what it leaves starts an adaptation."""

import collections
import dataclasses
import json
import multiprocessing
import pathlib
import shutil

import jax
import numpy as np
import pytest
import runs

import fsdd
from fsdd import config as configs
from fsdd.errors import UserError
from fsdd.io import shared_store
from fsdd.methods.translator_training import Schedule
from fsdd.pretraining import batches, cache, learning, learning_curve, store

FIELDS = {
    "network.width": 8,
    "distill.steps": 40,
    "subsets.count": 12,
    "subsets.buckets": 1,
    "pretrain.steps": 60,
    "pretrain.uses": 5,
    "pretrain.group": 2,
    "pretrain.real_images": 100,
    "pretrain.every": 20,
    "translator.widths": (8, 8, 8),
}

pytestmark = pytest.mark.whole
# LAMB's steps are as large as the rate times what moves: within a few that is no number.
DIVERGING = {"optimiser": "lamb", "rate": 1000.0, "final": 1.0, "warmup": 0.0}


def _config(**changes):
    return runs.named("pretrain_quickstart", FIELDS | changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[pathlib.Path, dict]:
    """A workdir in which both stages are done."""
    folder = tmp_path_factory.mktemp("pretrained")
    return folder, runs.run(_config(), folder)


def _variables(folder: pathlib.Path) -> list[np.ndarray]:
    import orbax.checkpoint as ocp

    return jax.tree.leaves(ocp.StandardCheckpointer().restore((folder / "translator" / "variables").absolute()))


def _assert_same(one: pathlib.Path, two: pathlib.Path) -> None:
    for wanted, found in zip(_variables(one), _variables(two), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_run_leaves_a_translator_and_how_it_learned(finished):
    folder, results = finished
    figures = results["stages"]["pretrain"]
    assert (figures["steps"], figures["networks"]) == (60, 24)
    assert 0 < figures["waited_for_data"] < 1
    assert figures["held_out"]["translated"] < figures["held_out"]["untranslated"]
    points = [json.loads(line) for line in (folder / "pretrain" / "curve.jsonl").read_text().splitlines()]
    assert [point["step"] for point in points] == [1, 20, 40, 60]
    # A residual translator starts as the identity, and the first step of a warm-up hardly moves it.
    assert points[0]["translated"] == pytest.approx(points[0]["untranslated"], abs=1e-3)
    assert len({point["untranslated"] for point in points}) == 1
    assert (folder / "pretrain" / "curve.png").read_bytes().startswith(b"\x89PNG")
    card = json.loads((folder / "translator" / "card.json").read_text())
    assert card["made_in"]["network.seed"] == 0 and card["made_in"]["distill.steps"] == 40
    assert not list(folder.glob("pretrain/checkpoints"))


def test_a_finished_stage_is_not_repeated(finished):
    folder, results = finished
    before = (folder / "translator" / "card.json").stat().st_mtime_ns
    fields = configs.flat(_config())
    translator = fsdd.pretrain("digits", folder, {name: fields[name] for name in fields if name != "dataset"})
    assert translator == folder / "translator"
    assert (folder / "translator" / "card.json").stat().st_mtime_ns == before
    assert json.loads((folder / "results.json").read_text())["stages"] == json.loads(json.dumps(results["stages"]))


@pytest.mark.parametrize("flip", [False, True])
def test_images_are_mirrored_in_training_where_distillation_was_symmetric_and_never_in_judging(finished, flip):
    folder, _ = finished
    kept = cache.prepare(configs.resolve(_config()), folder)
    turning = configs.resolve(_config(**{"objective.flip": flip}))
    kept = dataclasses.replace(kept, config=turning)
    found = store.Source(cache.read_shards(kept))
    known = {image.tobytes() for one in found for image in one.images}
    turned = {image[:, ::-1].tobytes() for one in found for image in one.images}
    seen = {False: 0, True: 0}
    for batch in batches.stream(kept, 12, Schedule(6), 0):
        for image in batch.source.images[batch.mask.rows]:
            seen[image.tobytes() not in known] += 1
            assert image.tobytes() in known | turned
    assert seen[False] > 0 and (seen[True] > 0) == flip
    judged = batches.held_out(kept, 12)
    assert all(image.tobytes() in known for image in judged.source.images[judged.mask.rows])


def test_real_images_are_others_of_its_classes_where_unseen_ones_are_asked_for(finished):
    """In the batches themselves; which images pools hold is in test_real_images.py."""
    folder, _ = finished
    kept = cache.prepare(configs.resolve(_config(**{"pretrain.real": "unseen"})), folder)
    rows_of = collections.defaultdict(set)
    for row, image in enumerate(kept.data.train_images):
        rows_of[image.tobytes()].add(row)
    subsets = {one.index: one for one in store.Source(cache.read_shards(kept))}
    for number, batch in zip(range(3), batches.stream(kept, 12, Schedule(3), 0), strict=True):
        _, chosen = batches.choose(kept, 12, number)
        for lane, index in enumerate(chosen):
            subset, labels = subsets[int(index)], batch.labels[lane].argmax(1)
            for image, label in zip(batch.images[lane], labels, strict=True):
                rows = rows_of[image.tobytes()]
                assert rows - set(subset.rows)
                assert subset.classes[label] in kept.data.train_labels[list(rows)]


@pytest.mark.parametrize("count", range(2, 42))
def test_some_subsets_are_held_out_and_stay_so_as_a_store_grows(count):
    train, judges = batches.split(count)
    assert train and judges
    assert sorted([*train, *judges]) == list(range(count))
    if count >= 10:
        assert set(judges) <= set(batches.split(count + 1)[1])


def test_a_batch_is_of_one_bucket_and_of_subsets_that_are_not_held_out(finished):
    folder, _ = finished
    kept = cache.prepare(configs.resolve(_config(**{"subsets.buckets": 3})), folder)
    _, judges = batches.split(12)
    seen, buckets = set(), set()
    for number in range(60):
        bucket, chosen = batches.choose(kept, 12, number)
        assert {kept.bucket(int(index)) for index in chosen} == {bucket}
        buckets.add(bucket)
        seen |= set(chosen.tolist())
    assert seen == set(range(12)) - set(judges)
    assert len(buckets) > 1
    shapes = {batch.source.images.shape[1] for batch in batches.stream(kept, 12, Schedule(12), 0)}
    assert shapes == {batches.choose(kept, 12, number)[0] for number in range(12)}


@pytest.mark.slow  # compiles pre-training again, for half a minute and more
def test_judges_have_the_width_of_the_networks_to_come_whatever_teaches(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder / "cache", tmp_path / "cache")
    fields = {"pretrain.width": 4, "pretrain.scaled": True, "pretrain.steps": 2}
    runs.run(_config(**fields), tmp_path, "pretrain")
    mine, theirs = (json.loads((at / "pretrain" / "curve.jsonl").read_text().splitlines()[0])
                    for at in (tmp_path, folder))  # fmt: skip
    for name in ("untranslated", "scaled_untranslated", "accuracy_untranslated"):
        assert mine[name] == pytest.approx(theirs[name], rel=1e-5)
    assert any((one != two).any() for one, two in zip(_variables(tmp_path), _variables(folder), strict=True))


def test_a_curve_is_drawn_though_a_target_was_named_on_the_way(tmp_path):
    points = [{"step": step, "translated": 0.4, "untranslated": 0.5} for step in (1, 20, 40)]
    points[1] |= {"target_translated": 0.3, "target_untranslated": 0.35}
    for until in (1, 2, 3):
        learning_curve.write(tmp_path, points[:until])
        assert learning_curve.read(tmp_path) == points[:until]


def _hold(store_folder: pathlib.Path, ready, done) -> None:
    claims = shared_store.Claims(store_folder)
    assert claims.take(learning.CLAIM)
    ready.set()
    done.wait(60)


def test_one_process_pretrains_at_a_time(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder / "cache", tmp_path / "cache")
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "cache", ready, done))
    other.start()
    assert ready.wait(60)
    with pytest.raises(UserError, match="is being made by another process"):
        runs.run(_config(), tmp_path, "pretrain")
    done.set()
    other.join()
    assert not (tmp_path / "pretrain" / "config.json").exists()


@pytest.mark.slow  # compiles pre-training again, for half a minute and more
def test_a_run_that_dies_goes_on_exactly(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder / "cache", tmp_path / "cache")
    runs.kill(_config(), tmp_path, 24, "pretrain")
    assert not (tmp_path / "translator").exists()
    runs.run(_config(), tmp_path, "pretrain")
    _assert_same(folder, tmp_path)


@pytest.mark.slow  # compiles pre-training again, for half a minute and more
def test_interleaving_is_the_two_stages_with_a_growing_store(tmp_path):
    together, apart = tmp_path / "together", tmp_path / "apart"
    config = {"pretrain.rounds": 3, "pretrain.steps": 30}
    runs.run(_config(**config), together)
    runs.run(_config(**config), apart, "cache")
    runs.run(_config(**config), apart, "pretrain")
    assert len(store.shards(together / "cache")[0]) > 1
    _assert_same(together, apart)


@pytest.mark.slow  # compiles pre-training again, for half a minute and more
def test_a_loss_that_is_no_number_names_step_and_subsets(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder / "cache", tmp_path / "cache")
    with pytest.raises(UserError, match=r"at step \d+; .*subsets are \d+, \d+, the last checkpoint") as caught:
        fields = {f"pretrain.{name}": value for name, value in DIVERGING.items()}
        runs.run(_config(**fields), tmp_path, "pretrain")
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "translator").exists()


def test_a_distillation_that_diverges_between_rounds_is_called_one(tmp_path):
    fields = {f"distill.{name}": value for name, value in DIVERGING.items() if name != "warmup"}
    fields |= {"pretrain.rounds": 2, "subsets.count": 4}
    with pytest.raises(UserError, match=r"^cache, .*: the loss is nan at step \d+; lower its rate$"):
        runs.run(_config(**fields), tmp_path)


def test_a_store_with_gaps_does_not_train(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder / "cache", tmp_path / "cache")
    with pytest.raises(UserError, match=r"lacks 1 of the 13 subsets"):
        runs.run(_config(**{"subsets.count": 13}), tmp_path, "pretrain")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pretrain.rate": 0.5}, ["config.pretrain.rate = 0.003", "now it is 0.5"]),
        ({"translator.widths": (4, 4, 4)}, ["config.translator.widths", "[4, 4, 4]"]),
        ({"pretrain.steps": 0}, ["config.pretrain.steps is 0", "from 1 to"]),
        ({"subsets.count": 1}, ["config.subsets.count"]),
    ],
)
def test_configs_that_a_workdir_refuses(finished, changes, words):
    folder, _ = finished
    with pytest.raises(UserError) as caught:
        runs.run(_config(**changes), folder, "pretrain")
    assert len(str(caught.value).splitlines()) == 1
    assert all(word in str(caught.value) for word in words), caught.value


def _adaptation(folder: pathlib.Path, **changes):
    fields = {name: value for name, value in FIELDS.items() if name.split(".")[0] in ("network", "translator")}
    fields |= {
        "dataset": "digits",
        "distill.steps": 20,
        "translate.init": str(folder / "translator"),
        "translate.networks": 5,
        "evaluate.networks": 0,
    }
    return runs.default(fields | changes)


@pytest.mark.slow  # a whole run, as in test_old_layout
def test_a_pretrained_translator_is_adapted(finished, tmp_path):
    folder, _ = finished
    results = runs.run(_adaptation(folder), tmp_path)
    assert results["stages"]["translate"]["steps"] == 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network.seed": 3}, ["config.network.seed is 3", "allowed: 0", "distilled"]),
        ({"network.width": 16}, ["config.network.width is 16", "allowed: 8"]),
        ({"whitening.regularisation": 0.2}, ["config.whitening.regularisation is 0.2", "allowed: 0.1"]),
        ({"translator.residual": False}, ["config.translator.residual is False", "allowed: True"]),
        ({"translator.stride": 2}, ["config.translator.stride is 2", "allowed: 1"]),
    ],
)
def test_a_translator_is_tied_to_its_network(finished, tmp_path, changes, words):
    folder, _ = finished
    with pytest.raises(UserError) as caught:
        runs.run(_adaptation(folder, **changes), tmp_path / "run")
    assert len(str(caught.value).splitlines()) == 1
    assert all(word in str(caught.value) for word in words), caught.value
    assert not (tmp_path / "run").exists()
