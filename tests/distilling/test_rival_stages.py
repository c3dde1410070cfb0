"""The stages of the rivals of Table 2: dm, dc, dsa and idc. Their numerics are compared in tests/methods."""

import numpy as np
import pytest
import runs

from fsdd import config as configs
from fsdd.data import sources
from fsdd.distilling import context as contexts
from fsdd.distilling import estimate
from fsdd.errors import Diverged, UserError
from fsdd.io import checkpoint, report
from fsdd.io.stored_files import load

pytestmark = pytest.mark.whole
# Without its augmentation, dsa is dc.
METHODS = ("dm", "dsa", "idc")


def _fields(method, **fields):
    changes = {name.replace("__", "."): value for name, value in fields.items()}
    small = {"network.depth": 1, "evaluate.depth": 1, "evaluate.networks": 0}
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
    assert figures["networks"] == (2 if method == "idc" else figures["steps"])
    stored = load(folder / "synthetic.npz")
    assert stored.whitening.kind == "standardize"
    np.testing.assert_allclose(stored.synthetic.labels, np.eye(10) - 0.1, atol=1e-6)
    half, last = runs.images(folder / method / "kept" / "2.npz"), runs.images(folder / method / "set.npz")
    moved = np.abs(last - half).reshape(10, -1).max(axis=1)
    assert (moved > 1e-6).all(), "every class moves"
    (line,) = (line for line in report.describe(results, folder) if line.startswith(f"{method} "))
    assert line.endswith(f", loss {figures['last']['loss']:.4f}")
    for picture in ("synthetic.png", "curves.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")


class _Killed(Exception):
    pass


def test_it_resumes_bit_for_bit(finished, tmp_path, monkeypatch):
    method, folder, _ = finished
    save = checkpoint.Checkpoints.save

    def save_and_die(self, step, state):
        save(self, step, state)
        if step == 2:
            self.close()
            raise _Killed

    monkeypatch.setattr(checkpoint.Checkpoints, "save", save_and_die)
    with pytest.raises(_Killed):
        runs.run(_fields(method, compute__checkpoint_seconds=0.0), tmp_path)
    monkeypatch.undo()
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


@pytest.mark.parametrize("kind", ["auto", "zca"])
def test_idc_takes_images_that_are_whitened_by_channel(kind):
    words = f"config.whitening.kind is {kind!r}; allowed: dc_cifar10, dc_cifar100, standardize with the stage idc"
    with pytest.raises(UserError, match=words):
        configs.resolve(_fields("idc", whitening__kind=kind))


def test_idc_that_diverges_says_at_which_step(tmp_path):
    with pytest.raises(Diverged, match=r"idc ipc 1: the loss is nan at step \d; lower its rate"):
        runs.run(_fields("idc", idc__network_rate=1e3, idc__distance="l1", idc__updates=2, idc__uses=4), tmp_path)


def test_work_is_counted(tmp_path):
    config = configs.resolve(_fields("idc", ipc=2))
    assert estimate.count_passes(contexts.prepare(config, tmp_path))["idc"] == 4 * (3 * (10 * 8 + 2 * 8) + 7 * 20)
    config = configs.resolve(_fields("dc", ipc=2, stages=("dm", "dc")))
    counted = estimate.count_passes(contexts.prepare(config, tmp_path))
    assert counted["dm"] == 6 * (10 * 8 + 2 * 20)
    assert counted["dc"] == 4 * (2 * (3 * 10 * 8 + 7 * 20) + 1 * 2 * 3 * 20)
