"""A run that is killed at any moment and started again ends with the very bits of an uninterrupted one."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]
STAGES = ("distill", "translate", "refine", "evaluation")
KILLS = int(os.environ.get("FSDD_KILLS", "1"))
FLAGS = [
    "--config=configs/quickstart.py",
    "--config.network.width=8",
    "--config.distill.uses=600",
    "--config.translate.init=autoencoder",
    "--config.translator.residual=False",
    "--config.autoencoder.steps=150",
    "--config.translate.networks=120",
    "--config.refine.networks=8",
    "--config.refine.group=4",
    "--config.refine.uses=40",
    "--config.evaluate.stages=('refine',)",
    "--config.evaluate.networks=2",
    "--config.evaluate.steps=600",
    "--config.compute.checkpoint_seconds=0.3",
]


def _start(workdir: pathlib.Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "fsdd.main", *FLAGS, f"--workdir={workdir}"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _kill_in(stage: str, workdir: pathlib.Path, delay: float) -> bool:
    """Start a run and kill it `delay` seconds after it has entered the stage; whether it was still running then."""
    process = _start(workdir)
    # A stage that runs holds the folder of its checkpoints.
    while process.poll() is None and not list((workdir / stage).glob("**/checkpoints")):
        time.sleep(0.02)
    time.sleep(delay)
    running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return running


def _arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.mark.slow
def test_killed_at_random_moments_of_every_stage(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert _start(whole).wait() == 0
    moments, hits = random.Random(time.time_ns()), 0
    for stage in STAGES:
        for _ in range(KILLS):
            delay = moments.uniform(0, 3)
            hits += _kill_in(stage, killed, delay)
    assert hits, "no kill met a running process"
    assert _start(killed).wait() == 0
    for name in ("distill/set.npz", "translate/set.npz", "refine/set.npz", "synthetic.npz"):
        wanted, found = _arrays(whole / name), _arrays(killed / name)
        assert wanted.keys() == found.keys()
        for key, value in wanted.items():
            np.testing.assert_array_equal(found[key], value, err_msg=f"{name}: {key}")
    accuracies = [
        [path.read_text().split('"accuracy": ')[1].split(",")[0] for path in sorted(folder.glob("evaluation/*/*.json"))]
        for folder in (whole, killed)
    ]
    assert len(accuracies[0]) == 2
    assert accuracies[0] == accuracies[1]
    assert not list(killed.glob("**/checkpoints")), "checkpoints of finished stages are deleted"
