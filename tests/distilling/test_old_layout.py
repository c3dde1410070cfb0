"""Workdirs, stores and translators of the first version are gone on with, and what is done is not done again.

`golden/old_layout.tar.xz` holds what that version left of two tiny runs on digits: `run`, which distilled, translated,
refined and scored, and `pretrained`, with a store of two subsets and a translator.
"""

import json
import pathlib
import tarfile

import numpy as np
import pytest
import runs

from fsdd import config as configs
from fsdd.assembly import translators
from fsdd.errors import UserError
from fsdd.pretraining import store

ARCHIVE = runs.ROOT / "tests" / "golden" / "old_layout.tar.xz"
RUN = {
    "network.width": 4,
    "distill.steps": 6,
    "distill.batch": 32,
    "translate.networks": 2,
    "translate.real_images": 32,
    "translator.widths": (2, 2, 2),
    "refine.networks": 2,
    "refine.uses": 2,
    "refine.real_images": 32,
    "evaluate.stages": ("refine",),
    "evaluate.networks": 2,
    "evaluate.steps": 3,
}
PRETRAINING = {
    "network.width": 4,
    "distill.steps": 6,
    "distill.batch": 16,
    "subsets.count": 2,
    "subsets.classes_max": 3,
    "subsets.images": 12,
    "subsets.synthetic": 3,
    "subsets.buckets": 1,
    "subsets.views": 1,
    "pretrain.steps": 2,
    "pretrain.subsets": 1,
    "pretrain.uses": 1,
    "pretrain.group": 1,
    "pretrain.real_images": 12,
    "pretrain.every": 2,
    "translator.widths": (2, 2, 2),
}
# What stages leave and later ones read.
LEFT = ("*/set.npz", "*/result.json", "*/config.json", "*/from.json")


@pytest.fixture
def old(tmp_path) -> pathlib.Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def _bytes(folder: pathlib.Path, *patterns: str) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for pattern in patterns for path in folder.glob(pattern) if path.is_file()}


def test_finished_stages_are_loaded(old):
    kept = _bytes(
        old / "run", "*/set.npz", "*/result.json", "*/config.json", "*/from.json", "translate/translator/**/*"
    )
    assert len([path for path in kept if path.endswith("set.npz")]) == 3
    stages = json.loads((old / "run" / "results.json").read_text())["stages"]
    results = runs.run(runs.named("quickstart", RUN), old / "run")
    assert results["stages"] == stages
    assert _bytes(old / "run", *LEFT, "translate/translator/**/*") == kept
    # In networks that are drawn and trained as they were; rounding may turn one of 359 images.
    former = [json.loads(file.read_text())["accuracy"] for file in sorted((old / "run/evaluation").glob("*/*0.json"))]
    assert results["evaluations"][0]["accuracies"][0] == pytest.approx(former[0], abs=0.6)


def test_an_old_workdir_refuses_what_it_always_refused(old):
    with pytest.raises(UserError, match=r"distill.steps = 6, now it is 7"):
        runs.run(runs.named("quickstart", RUN | {"distill.steps": 7}), old / "run")


@pytest.mark.slow
def test_a_store_is_continued(old):
    shards = _bytes(old / "pretrained", "cache/shards/*")
    results = runs.run(
        runs.named("pretrain_quickstart", PRETRAINING | {"subsets.count": 3}), old / "pretrained", "cache"
    )
    assert results["stages"]["cache"]["subsets"] == 3
    assert _bytes(old / "pretrained", "cache/shards/*").items() > shards.items()
    found, damaged = store.shards(old / "pretrained" / "cache")
    assert not damaged
    assert store.Source(found).indices == [0, 1, 2]
    # A subset that is made today is made as it was.
    again = old / "again"
    runs.run(runs.named("pretrain_quickstart", PRETRAINING), again, "cache")
    source, anew = store.Source(found), store.Source(store.shards(again / "cache")[0])
    for position in (0, 1):
        np.testing.assert_array_equal(source[position].rows, anew[position].rows)
        np.testing.assert_allclose(source[position].images, anew[position].images, atol=1e-4)


@pytest.mark.whole
def test_a_pretrained_translator_is_loaded_and_used(old):
    folder = old / "pretrained"
    before = _bytes(folder, "translator/**/*")
    stages = json.loads((folder / "results.json").read_text())["stages"]
    assert runs.run(runs.named("pretrain_quickstart", PRETRAINING), folder)["stages"] == stages
    assert _bytes(folder, "translator/**/*") == before
    fields = {"dataset": "digits", "network.width": 4, "distill.steps": 6, "distill.batch": 16, "distill.rate": 1e-2}
    fields |= {"translate.init": str(folder / "translator"), "translate.networks": 0, "translator.widths": (2, 2, 2)}
    config = configs.resolve(runs.default(fields))
    # Distilled as its card, in the words of then, says.
    assert translators.describe_mismatch(config, config.translate.init) is None
    runs.run(runs.default(fields | {"evaluate.networks": 0}), old / "adapted")
    before, after = (runs.images(old / "adapted" / stage / "set.npz") for stage in ("distill", "translate"))
    assert np.abs(before - after).max() > 1e-6
