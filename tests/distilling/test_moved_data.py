"""The same images at another path are the same data: a workdir goes on with them, and with no others."""

import json
import os
import shutil

import numpy as np
import pytest
import runs

from fsdd.errors import UserError
from fsdd.pretraining import store

SHORT = {"stages": ("distill",), "evaluate.stages": (), "evaluate.networks": 0}
FIELDS = runs.TINY | {"stages": ("distill", "refine"), "evaluate.stages": ("start", "refine")}


@pytest.fixture
def arrays():
    random = np.random.default_rng(0)
    return {"images": random.integers(0, 256, (40, 8, 8), np.uint8), "labels": np.arange(40) % 4}


def run(folder, dataset, **changes):
    return runs.run(runs.default(FIELDS | {"dataset": str(dataset)} | changes), folder)


def times(folder):
    """When each file of results was written."""
    kept = ("set.npz", "result.json", "config.json", "network0.json", "whitening.npz")
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name in kept}


@pytest.mark.parametrize(
    "old", [pytest.param(False, marks=pytest.mark.slow), pytest.param(True, marks=pytest.mark.whole)]
)
def test_a_run_goes_on_with_data_that_moved(tmp_path, arrays, monkeypatch, old, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    np.savez("data/mine.npz", **arrays)
    results = run(tmp_path / "run", tmp_path / "data/mine.npz")
    before = times(tmp_path / "run")
    if old:  # as it was before this file said where the data were
        path = tmp_path / "run/data.json"
        path.write_text(
            json.dumps({name: one for name, one in json.loads(path.read_text()).items() if name != "dataset"})
        )
    shutil.move("data", "scratch")
    os.rename("scratch/mine.npz", "scratch/mine_2.npz")
    for dataset in ("scratch/mine_2.npz", "./scratch/../scratch/mine_2.npz", str(tmp_path / "scratch/mine_2.npz")):
        again = run(tmp_path / "run", dataset)
        assert again["evaluations"] == results["evaluations"] and again["stages"] == results["stages"]
        assert times(tmp_path / "run") == before
        assert again["config"]["dataset"] == dataset
        assert f"{dataset} has the same images and labels" in capsys.readouterr().out


def test_other_data_at_another_path_are_refused_by_their_path(tmp_path, arrays):
    np.savez(tmp_path / "mine.npz", **arrays)
    run(tmp_path / "run", tmp_path / "mine.npz", **SHORT)
    before = times(tmp_path / "run")
    np.savez(tmp_path / "other.npz", images=255 - arrays["images"], labels=arrays["labels"])
    with pytest.raises(UserError) as error:
        run(tmp_path / "run", tmp_path / "other.npz", **SHORT)
    for words in (f"config.dataset = '{tmp_path}/mine.npz'", f"now it is '{tmp_path}/other.npz'", "another --workdir"):
        assert words in str(error.value)
    # Without the digests nothing shows that the data are the same.
    (tmp_path / "run/data.json").unlink()
    shutil.copy(tmp_path / "mine.npz", tmp_path / "copy.npz")
    with pytest.raises(UserError, match=r"config.dataset = .*mine.npz', now it is .*copy.npz'"):
        run(tmp_path / "run", tmp_path / "copy.npz", **SHORT)
    assert times(tmp_path / "run") == before


@pytest.mark.slow
def test_a_store_of_subsets_goes_on_with_data_that_moved(tmp_path, arrays):
    np.savez(tmp_path / "mine.npz", **arrays)
    fields = {"network.width": 4, "network.depth": 2, "distill.steps": 2, "subsets.classes_min": 2}
    fields |= {"subsets.classes_max": 3}
    fields |= {"subsets.images": 12, "subsets.synthetic": 6, "subsets.views": 1, "stages": ("cache", "pretrain")}

    def cache(dataset, count):
        config = runs.default(fields | {"dataset": str(dataset), "subsets.count": count})
        return runs.run(config, tmp_path / "run", "cache")

    cache(tmp_path / "mine.npz", 1)
    (tmp_path / "mine.npz").rename(tmp_path / "moved.npz")
    cache(tmp_path / "moved.npz", 2)
    assert store.Source(store.shards(tmp_path / "run/cache")[0]).indices == [0, 1]
    np.savez(tmp_path / "other.npz", images=255 - arrays["images"], labels=arrays["labels"])
    with pytest.raises(UserError, match=r"config.dataset = .*mine.npz', now it is .*other.npz'"):
        cache(tmp_path / "other.npz", 3)
