"""The stages of the rivals of Table 2. Their numerics are compared in tests/methods."""

import json

import jobs
import numpy as np
import pytest
import runs

from fsdd import config as configs
from fsdd.data import sources
from fsdd.distilling import context as contexts
from fsdd.distilling import estimate
from fsdd.errors import Diverged, UserError
from fsdd.io import report, trajectories
from fsdd.io.stored_files import load

pytestmark = pytest.mark.whole
# Without its augmentation, dsa is dc.
METHODS = ("dm", "dsa", "idc", "mtt", "dd", "rtp")


def _fields(method, **fields):
    changes = {name.replace("__", "."): value for name, value in fields.items()}
    small = {"network.depth": 1, "evaluate.depth": 1, "evaluate.networks": 0, "rtp.bases": 3}
    return runs.default(runs.TINY | small | {"method": method} | changes)


@pytest.fixture(scope="module", params=METHODS)
def finished(request, tmp_path_factory):
    """A method, and the folder and the results of its run, with its set half way."""
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, folder, runs.run(_fields(request.param, evaluate__stages=(f"{request.param}@2",)), folder)


def test_images_move_and_labels_do_not(finished):
    method, folder, results = finished
    figures = results["stages"][method]
    assert len(figures["curve"]) == figures["steps"] == runs.TINY[f"{method}.steps"]
    assert figures["networks"] == (2 if method in ("idc", "mtt") else figures["steps"])
    stored = load(folder / "synthetic.npz")
    assert stored.whitening.kind == "standardize"
    np.testing.assert_allclose(stored.synthetic.labels, np.eye(10) - 0.1, atol=1e-6)
    half, last = runs.images(folder / method / "kept" / "2.npz"), runs.images(folder / method / "set.npz")
    moved = np.abs(last - half).reshape(10, -1).max(axis=1)
    assert (moved > 1e-6).all(), "every class moves"
    (line,) = (line for line in report.describe(results, folder) if line.startswith(f"{method} "))
    assert line.endswith(f", loss {figures['last']['loss']:.4f}")
    assert (stored.step_size is None) == (method != "mtt")
    for picture in ("synthetic.png", "curves.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")


class _Killed(Exception):
    pass


def test_it_resumes_bit_for_bit(finished, tmp_path):
    method, folder, _ = finished
    runs.kill(_fields(method), tmp_path, 2)
    results = runs.run(_fields(method), tmp_path)
    assert [point["step"] for point in results["stages"][method]["curve"]] == list(range(runs.TINY[f"{method}.steps"]))
    np.testing.assert_array_equal(*(runs.images(one / method / "set.npz") for one in (folder, tmp_path)))


def test_dc_starts_from_noise_and_is_scored_by_its_protocol_and_by_frepos(tmp_path):
    results = {}
    for protocol in (None, "frepo_torch"):
        fields = {"evaluate__networks": 1, "evaluate__protocol": protocol, "dc__steps": 1}
        # Of 10 images an epoch is one step.
        fields |= {"evaluate__steps": 0, "evaluate__epochs": 5, "evaluate__stages": ("start",)}
        results[protocol] = runs.run(_fields("dc", **fields), tmp_path)
    (own,), (frepos,) = (one["evaluations"] for one in results.values())
    assert (own["architecture"], own["steps"], own["recipe"]["optimiser"]) == ("dc_convnet", 5, "sgd")
    assert (frepos["architecture"], frepos["recipe"]["optimiser"]) == ("convnet", "adamw")
    assert len(list((tmp_path / "evaluation").iterdir())) == 2
    assert results[None]["stages"] == results["frepo_torch"]["stages"], "the set is the same"
    drawn = runs.images(tmp_path / "dc" / "set.npz")
    assert abs(drawn.mean()) < 0.2 and abs(drawn.std() - 1) < 0.2


def test_idc_starts_from_the_first_images_in_tiles_and_is_scored_by_its_protocol(tmp_path):
    fields = {"factor": 2, "ipc": 2, "idc__steps": 1, "idc__rate": 1e-9, "idc__momentum": 0.0}
    fields |= {"evaluate__networks": 1, "evaluate__steps": 2, "evaluate__stages": ("start",)}
    results = runs.run(_fields("idc", **fields), tmp_path)
    (score,) = results["evaluations"]
    wanted = {"schedule": "two_drops", "policy": "idc_scoring", "cutmix": 0.5, "batch": 64, "optimiser": "sgd"}
    assert {name: score["recipe"][name] for name in wanted} == wanted
    real, stored = sources.load("digits"), load(tmp_path / "synthetic.npz")
    assert stored.synthetic.images.shape == (10 * 2 * 4, 4, 4, 1)
    for label in range(10):
        first = real.train_images[real.train_labels == label][:8, ::2, ::2] / np.float32(255)
        found = stored.whitening.invert(stored.synthetic.images[8 * label : 8 * label + 8])
        np.testing.assert_allclose(found, first, atol=1e-5)


@pytest.mark.parametrize("kind", ["auto", "zca", "mtt_zca"])
def test_idc_takes_images_that_are_whitened_by_channel(kind):
    words = f"config.whitening.kind is {kind!r}; allowed: dc_cifar10, dc_cifar100, standardize with the stage idc"
    with pytest.raises(UserError, match=words):
        configs.resolve(_fields("idc", whitening__kind=kind))


def test_idc_that_diverges_says_at_which_step(tmp_path):
    with pytest.raises(Diverged, match=r"idc ipc 1: the loss is nan at step \d; lower its rate"):
        runs.run(_fields("idc", idc__network_rate=1e3, idc__distance="l1", idc__updates=2, idc__uses=4), tmp_path)


def test_mtts_experts_serve_other_runs_and_its_step_size_scores_its_set(tmp_path):
    fields = {"experts__folder": str(tmp_path / "experts"), "evaluate__steps": 2, "evaluate__networks": 1}
    fields |= {"evaluate__stages": ("start", "mtt@2", "mtt"), "evaluate__policy": "none", "mtt__step_rate": 1e-4}
    first = runs.run(_fields("mtt", **fields), tmp_path / "first")
    counted = estimate.count_passes(contexts.prepare(configs.resolve(_fields("mtt", **fields)), tmp_path / "third"))
    assert counted["experts"] == 0 < counted["mtt"]
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "experts").glob("*.npz")}
    assert len(times) == first["stages"]["experts"]["networks"] == 2
    # Another set, whose iterations start from one epoch alone: no expert is trained again.
    other = {"mtt__max_start": 1, "evaluate__stages": (), "evaluate__networks": 0}
    runs.run(_fields("mtt", **fields | other), tmp_path / "second")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "experts").glob("*.npz")} == times
    rates = [one["recipe"]["rate"] for one in first["evaluations"]]
    with np.load(tmp_path / "first" / "mtt" / "kept" / "2.npz") as kept:
        assert rates == [0.01, float(kept["step_size"]), first["stages"]["mtt"]["step_size"]]
    assert len(set(rates)) == 3
    assert load(tmp_path / "first").step_size == rates[2]


def test_an_expert_goes_on_from_its_last_epoch(tmp_path, monkeypatch):
    fields = {"stages": ("experts",), "experts__epochs": 3, "compute__checkpoint_seconds": 0.0}
    write = trajectories.Trajectories.write

    def write_and_die(self, number, expert):
        write(self, number, expert)
        if (number, expert.epochs) == (1, 2):
            raise _Killed

    monkeypatch.setattr(trajectories.Trajectories, "write", write_and_die)
    with pytest.raises(_Killed):
        runs.run(_fields("mtt", **fields), tmp_path / "killed")
    monkeypatch.undo()
    for name in ("killed", "whole"):
        runs.run(_fields("mtt", **fields), tmp_path / name)
    for number in range(2):
        found, wanted = (
            trajectories.Trajectories(tmp_path / name / "experts").read(number) for name in ("killed", "whole")
        )
        np.testing.assert_array_equal(found.snapshots, wanted.snapshots)
        assert len(found.snapshots) == 4 and found.losses == wanted.losses
        assert wanted.losses[2] < wanted.losses[0], "it learns"


def test_mtt_stops_where_its_step_size_diverges(tmp_path):
    with pytest.raises(Diverged, match=r"mtt ipc 1: (the loss is .* at|diverged at) step .*; lower its rate"):
        runs.run(_fields("mtt", mtt__step_rate=1000.0), tmp_path)


def test_work_is_counted(tmp_path):
    config = configs.resolve(_fields("idc", ipc=2))
    assert estimate.count_passes(contexts.prepare(config, tmp_path))["idc"] == 4 * (3 * (10 * 8 + 2 * 8) + 7 * 20)
    config = configs.resolve(_fields("dc", ipc=2, stages=("dm", "dc", "experts", "mtt", "dd", "rtp")))
    counted = estimate.count_passes(contexts.prepare(config, tmp_path))
    assert counted["dm"] == 6 * (10 * 8 + 2 * 20)
    assert counted["dc"] == 4 * (2 * (3 * 10 * 8 + 7 * 20) + 1 * 2 * 3 * 20)
    # Two experts, of the epochs 0 and 1 to start from and one more.
    assert counted["experts"] == 3 * 2 * 2 * 1438
    assert counted["mtt"] == 4 * 2 * 12 * 20
    assert counted["dd"] == 4 * (3 * 32 + 12 * 2 * 20)
    assert counted["rtp"] == 4 * (3 * 4 * 10 + 12 * 2 * 20)


def test_processes_share_the_experts(tmp_path):
    """Two at once: each expert is trained by one of them, and both have all in the end."""
    flags = ["--config=configs/quickstart.py", "--config.method=mtt", "--config.stages=('experts',)"]
    flags += ["--config.evaluate.networks=0", "--config.evaluate.stages=()", "--config.network.width=4"]
    flags += ["--config.experts.count=4", "--config.experts.policy=none", f"--config.experts.folder={tmp_path / 'all'}"]
    jobs.finish(*(jobs.start(flags, tmp_path / name) for name in ("one", "two")))
    assert sorted(path.name[:11] for path in (tmp_path / "all").glob("*.npz")) == [f"{n:06d}-0003" for n in range(4)]
    results = [json.loads((tmp_path / name / "experts" / "result.json").read_text()) for name in ("one", "two")]
    assert results[0]["networks"] == results[1]["networks"] == 4
