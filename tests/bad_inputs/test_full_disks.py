"""Disks that are full: one line, and with room the run goes on."""

import numpy as np
import pytest
from refusals import assert_failed, process, run

LARGE = ["ipc=6", "image_size=32", "compute.checkpoint_seconds=0"]
FULL_DISKS = {
    "the first file": ([], 1, "whitening.npz"),
    "a checkpoint": (LARGE, 16, "distill/checkpoints"),
    "the set of a stage": (["ipc=6", "image_size=32"], 16, "distill/set.npz"),
    "a translator": (["stages=translate", "translate.networks=1"], 16, "translate/translator"),
    "the stored set": ([], 5, "synthetic.npz"),
}


@pytest.mark.whole  # full disks, each in a process of its own
@pytest.mark.parametrize("case", FULL_DISKS)
def test_a_full_disk_is_one_line_and_with_room_the_run_goes_on(place, tmp_path, case):
    values, blocks, file = FULL_DISKS[case]
    arguments = ["--config=tiny.py", f"--workdir={tmp_path / 'run'}", *(f"--config.{value}" for value in values)]
    done = process(place, *arguments, blocks=str(blocks))
    assert_failed(done.returncode, done.stderr, [str(tmp_path / "run" / file), "cannot be written: File too large"])
    run(place, tmp_path / "run", *values)
    run(place, tmp_path / "undisturbed", *values)
    with np.load(tmp_path / "run/synthetic.npz") as found, np.load(tmp_path / "undisturbed/synthetic.npz") as wanted:
        for name in wanted:
            np.testing.assert_array_equal(found[name], wanted[name])
    files, others = [
        {str(path.relative_to(tmp_path / name)) for path in (tmp_path / name).rglob("*.*")}
        for name in ("run", "undisturbed")
    ]
    assert files == others
