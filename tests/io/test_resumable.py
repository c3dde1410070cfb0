"""Following an iteration: what is recorded, and that it goes on where it was left."""

import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from fsdd.errors import Diverged
from fsdd.io import progress
from fsdd.io.resumable import Resumable


class _Killed(Exception):
    pass


def _steps(start: int, total: int, size: int = 1, killed_after: int | None = None):
    """A sum of 1, 2, .. so far; its loss is the step."""
    for position in range(start + size, total + 1, size):
        if killed_after is not None and position > killed_after:
            raise _Killed
        losses = np.arange(position - size, position, dtype=np.float32)
        yield position, {"sum": jnp.float32(position * (position + 1) // 2)}, {"loss": losses}


def _resumable(folder, total=20, every=0.0):
    return Resumable(folder, "sum", total, every)


def _kill(resumable, start: int, after: int) -> None:
    with pytest.raises(_Killed):
        resumable.follow(_steps(start, 20, killed_after=after))
    # What a process leaves undone is not done by another; here both are one, which has to be quiet first.
    resumable._checkpoints.close()


def test_it_goes_on_from_its_last_checkpoint_with_its_record_so_far(tmp_path):
    first = _resumable(tmp_path)
    assert first.restore({"sum": jnp.float32(0)})[0] == 0
    _kill(first, 0, after=7)
    second = _resumable(tmp_path)
    start, state = second.restore({"sum": jnp.float32(0)})
    assert start == 7
    assert state["sum"] == start * (start + 1) // 2
    before = second.seconds
    assert before > 0
    assert second.follow(_steps(start, 20))["sum"] == 210
    assert [(point["step"], point["loss"]) for point in second.curve] == [(step, step) for step in range(20)]
    assert second.seconds > before
    second.discard()
    assert list(tmp_path.iterdir()) == []


def test_several_iterations_share_a_bar_which_counts_what_was_done_before(tmp_path):
    first = _resumable(tmp_path / "second")
    first.restore({"sum": jnp.float32(0)})
    _kill(first, 0, after=7)
    with progress.bar("both", 3 * 20) as bar:
        for name, units, done in (("first", 1, 20), ("second", 2, 60)):
            resumable = _resumable(tmp_path / name)
            start, _ = resumable.restore({"sum": jnp.float32(0)})
            resumable.follow(_steps(start, 20), bar, units)
            assert bar.n == done
        # Of those, 7 steps of two units each were taken by another run.
        assert bar.initial == 14


def test_journals_of_lost_checkpoints_do_not_outlive_those_to_come(tmp_path):
    first = _resumable(tmp_path)
    first.restore({"sum": jnp.float32(0)})
    _kill(first, 0, after=4)
    for lost in (17, 18, 19):
        (tmp_path / "journal" / f"{lost}.json").write_text("{}")
    second = _resumable(tmp_path)
    start, _ = second.restore({"sum": jnp.float32(0)})
    _kill(second, start, after=9)
    third = _resumable(tmp_path)
    start, _ = third.restore({"sum": jnp.float32(0)})
    assert start == 9
    assert [point["step"] for point in third.curve] == list(range(start))


@pytest.mark.parametrize("size", [1, 4])
def test_a_loss_that_is_no_number_is_found_at_its_step(tmp_path, size):
    def steps():
        for position, state, metrics in _steps(0, 20, size):
            losses = metrics["loss"]
            yield position, state, {"loss": np.where(losses == 13, np.nan, losses)}

    resumable = _resumable(tmp_path, every=3600.0)
    resumable.restore({"sum": jnp.float32(0)})
    with pytest.raises(Diverged, match="the loss is nan at step 13") as caught:
        resumable.follow(steps())
    assert caught.value.step == 13


def test_bars_may_be_switched_off(tmp_path):
    """tqdm reads TQDM_DISABLE as it is imported."""
    code = """
import pathlib, sys
import numpy as np
from fsdd.io import progress
from fsdd.io import progress
from fsdd.io.resumable import Resumable

resumable = Resumable(pathlib.Path(sys.argv[1]), "sum", 6, 0.0)
resumable.restore({"sum": np.float32(0)})

def steps():
    for position in (2, 4, 6):
        progress.waiting("images", position, 6)
        yield position, {"sum": np.float32(position)}, {"loss": np.arange(position - 2.0, position)}

resumable.follow(steps())
assert [point["step"] for point in resumable.curve] == list(range(6))
resumable.discard()
"""
    environment = os.environ | {"TQDM_DISABLE": "1", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
