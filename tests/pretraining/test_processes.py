"""Pre-training on real digits: the same translator whatever the devices, processes and kills that made it."""

import pathlib
import shutil

import jax
import jobs
import numpy as np
import pytest

FLAGS = [
    "--config=configs/pretrain_quickstart.py",
    "--stage=pretrain",
    "--config.network.width=8",
    "--config.distill.steps=40",
    "--config.subsets.count=12",
    "--config.subsets.buckets=1",
    "--config.pretrain.subsets=8",
    "--config.pretrain.steps=60",
    "--config.pretrain.rate=3e-4",
    "--config.pretrain.uses=5",
    "--config.pretrain.group=2",
    "--config.pretrain.real_images=60",
    "--config.pretrain.every=20",
    "--config.translator.widths=(8,8,8)",
    "--config.compute.checkpoint_seconds=0.1",
]

# In weights of size 0.1, after 60 steps.
ROUNDING = 1e-5


def _variables(folder: pathlib.Path) -> list[np.ndarray]:
    import orbax.checkpoint as ocp

    return jax.tree.leaves(ocp.StandardCheckpointer().restore((folder / "translator" / "variables").absolute()))


def _assert_same(wanted: pathlib.Path, found: pathlib.Path, rounding: float = 0.0) -> None:
    pairs = zip(_variables(wanted), _variables(found), strict=True)
    largest = max(float(np.abs(one - two).max()) for one, two in pairs)
    print(f"largest difference: {largest:.2g}")
    assert largest <= rounding


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> pathlib.Path:
    """A workdir with a store and nothing else."""
    folder = tmp_path_factory.mktemp("stored")
    jobs.finish(jobs.start([flag.replace("=pretrain", "=cache") for flag in FLAGS], folder))
    return folder


@pytest.fixture(scope="module")
def whole(stored, tmp_path_factory) -> pathlib.Path:
    """A workdir whose translator one process pre-trained on one device without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copytree(stored / "cache", folder / "cache")
    jobs.finish(jobs.start(FLAGS, folder))
    # A residual translator's output layer starts at zero: all of it has been learned.
    assert max(np.abs(leaf).max() for leaf in _variables(folder) if leaf.shape == (3, 3, 8, 1)) > 100 * ROUNDING
    return folder


@pytest.mark.slow  # processes with several devices
@pytest.mark.parametrize("devices", [2, 8])
def test_devices_change_roundings_alone(stored, whole, tmp_path, devices):
    """Gradients are summed in another order, which Adam magnifies."""
    shutil.copytree(stored / "cache", tmp_path / "cache")
    jobs.finish(jobs.start(FLAGS, tmp_path, devices))
    _assert_same(whole, tmp_path, ROUNDING)


@pytest.mark.slow  # several processes
def test_a_job_of_two_processes_caches_and_takes_steps_together(tmp_path, whole):
    both = [flag for flag in FLAGS if not flag.startswith("--stage")]
    jobs.finish(*(jobs.start([*both, *member], tmp_path) for member in jobs.members(2)))
    _assert_same(whole, tmp_path, ROUNDING)
    assert not (tmp_path / "pretrain" / "checkpoints").exists()


@pytest.mark.slow  # kills
def test_killed_at_random_moments(stored, whole, tmp_path):
    """Bit for bit: every kill meets a running process."""
    hits, run = 0, tmp_path / "run"
    while hits < 2 * jobs.KILLS:
        if not run.exists():
            shutil.copytree(stored / "cache", run / "cache")
        hit = jobs.kill(jobs.start(FLAGS, run), run / "pretrain" / "config.json", 12)
        hits += hit
        if not hit:
            _assert_same(whole, run)
            shutil.rmtree(run)
    if not run.exists():
        shutil.copytree(stored / "cache", run / "cache")
    jobs.finish(jobs.start(FLAGS, run))
    _assert_same(whole, run)
