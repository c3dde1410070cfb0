"""A run that is killed at any moment and started again ends with the very bits of an uninterrupted one."""

import pathlib
import random
import signal
import time

import jobs
import numpy as np
import pytest

STAGES = ("distill", "translate", "refine", "dsa", "evaluation")
FLAGS = [
    "--config=configs/quickstart.py",
    "--config.network.width=8",
    "--config.distill.steps=300",
    "--config.translate.init=autoencoder",
    "--config.translator.residual=False",
    "--config.translator.widths=(8,8,8)",
    "--config.autoencoder.steps=60",
    "--config.translate.networks=60",
    "--config.translate.real_images=64",
    "--config.refine.networks=8",
    "--config.refine.group=4",
    "--config.refine.uses=20",
    "--config.stages=('distill','translate','refine','dsa')",
    "--config.dsa.steps=15",
    "--config.dsa.outer=2",
    "--config.dsa.inner=2",
    "--config.dsa.batch=16",
    "--config.evaluate.stages=('refine',)",
    "--config.evaluate.networks=2",
    "--config.evaluate.steps=300",
    "--config.compute.checkpoint_seconds=0.3",
]


def _kill_in(stage: str, workdir: pathlib.Path, delay: float) -> bool:
    """Start a run and kill it `delay` seconds after it has entered the stage; whether it was still running then."""
    process = jobs.start(FLAGS, workdir)
    # A stage that runs holds the folder of its checkpoints.
    while process.poll() is None and not list((workdir / stage).glob("**/checkpoints")):
        time.sleep(0.02)
    time.sleep(delay)
    running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return running


def _arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.mark.whole  # kills
def test_killed_at_random_moments_of_every_stage(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    jobs.finish(jobs.start(FLAGS, whole))
    moments, hits = random.Random(time.time_ns()), 0
    for stage in STAGES:
        for _ in range(jobs.KILLS):
            delay = moments.uniform(0, 3)
            hits += _kill_in(stage, killed, delay)
    assert hits, "no kill met a running process"
    jobs.finish(jobs.start(FLAGS, killed))
    for name in ("distill/set.npz", "translate/set.npz", "refine/set.npz", "dsa/set.npz", "synthetic.npz"):
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
