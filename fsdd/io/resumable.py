"""Follow an iteration of pure steps: show it, record its metrics, checkpoint it, and go on where it was killed."""

import contextlib
import json
import pathlib
import shutil
import time
from collections.abc import Iterator

import jax
import numpy as np
import scipy.linalg  # noqa: F401  loaded, so that the limit below reaches its LAPACK
import threadpoolctl

from fsdd.errors import Diverged
from fsdd.io import progress, workdir
from fsdd.io.atomic import replacing
from fsdd.io.checkpoint import Checkpoints


class Resumable:
    """One iteration that leaves its state in a folder.

    Use: `start, state = resumable.restore(template)`, then `resumable.follow(steps from start on)`, then, once the
    result is safe elsewhere, `resumable.discard()`.

    Attributes:
        total: steps of the whole iteration.
        curve: metrics at about `points` evenly spaced steps: a list of `{"step": .., "<metric>": ..}`.
        seconds: wall seconds so far, over all runs; steps that a kill threw away are not counted.
        compile_seconds: how many of them the compiler took.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        label: str,
        total: int,
        every_seconds: float,
        points: int = 200,
        writes: bool = True,
    ):
        """An iteration of `total` steps, called `label` to the user, saved in `folder` every so many seconds.

        Of the processes that take the steps of one iteration together one writes; all go on from what it wrote.
        """
        self._folder, self._label, self.total = folder, label, total
        self._every_seconds, self._stride = every_seconds, max(total // points, 1)
        self._checkpoints = Checkpoints(folder / "checkpoints")
        self._start, self._writes = 0, writes
        self.curve: list[dict] = []
        self.seconds = self.compile_seconds = 0.0
        self._began: float | None = None

    @property
    def elapsed(self) -> float:
        """Wall seconds so far, also while steps are being followed."""
        return self.seconds if self._began is None else time.monotonic() - self._began

    def restore(self, template) -> tuple[int, object]:
        """`(step, state)` to go on from: the newest checkpoint, or 0 and the template."""
        self._start, state = self._checkpoints.restore(template)
        saved = workdir.read(self._folder / "journal" / f"{self._start}.json") if self._start else None
        if saved is not None:
            self.curve, self.seconds, self.compile_seconds = saved["curve"], saved["seconds"], saved["compile_seconds"]
        if self._writes:
            # Journals of checkpoints that were never completed would outlive those of the steps to come.
            for path in self._journals():
                if int(path.stem) > self._start:
                    path.unlink()
        return self._start, state

    def follow(self, steps: Iterator[tuple[int, object, dict]], bar: progress.Bar | None = None, units: int = 1):
        """Run `(steps done, state, metrics stacked over the dispatch)` to the end; return the last state.

        Progress is shown on a bar of its own, or on `bar`, to which each step, also those done before, is so many
        units.
        """
        if bar is None:
            shown = progress.bar(self._label, self.total, self._start)
        else:
            bar.skip(self._start * units)
            shown = contextlib.nullcontext(bar)
        # On CPU the factors of a few rows are LAPACK's; its idle threads spin, which can take a third of a step from
        # XLA's.
        with shown as bar, threadpoolctl.threadpool_limits(1, "blas"):
            try:
                return self._follow(bar, units, steps)
            finally:
                # Whoever catches what stopped the steps finds whole checkpoints.
                self._checkpoints.wait()

    def _follow(self, bar: progress.Bar, units: int, steps: Iterator[tuple[int, object, dict]]):
        self._began, compiled = time.monotonic() - self.seconds, progress.compile_clock.seconds - self.compile_seconds
        saved_at, state, waiting = time.monotonic(), None, None
        before = self._start
        for position, state, metrics in steps:
            if waiting is not None:
                # One dispatch behind: its metrics are ready, so reading them does not hold up the device.
                self._record(*waiting, bar, units)
            waiting, before = (position, position - before, metrics), position
            if time.monotonic() - saved_at > self._every_seconds and position < self.total:
                self._record(*waiting, bar, units)
                waiting = None
                self.seconds = self.elapsed
                self.compile_seconds = progress.compile_clock.seconds - compiled
                self._save(position, state)
                saved_at = time.monotonic()
        if waiting is not None:
            self._record(*waiting, bar, units)
        # The last update comes after the last loss.
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state)):
            raise Diverged(f"{self._label}: diverged at step {self.total - 1}; lower its rate", self.total - 1)
        self.seconds, self._began = self.elapsed, None
        self.compile_seconds = progress.compile_clock.seconds - compiled
        return state

    def _record(self, position: int, size: int, metrics: dict, bar: progress.Bar, units: int) -> None:
        first = position - size
        losses = np.asarray(metrics["loss"])
        for i in np.flatnonzero(~np.isfinite(losses))[:1]:
            line = f"{self._label}: the loss is {losses[i]} at step {first + i}; lower its rate"
            raise Diverged(line, int(first + i))
        wanted = [i for i in range(size) if (first + i) % self._stride == 0 or first + i == self.total - 1]
        if wanted:
            host = {name: np.asarray(values) for name, values in metrics.items()}
            self.curve += [{"step": first + i} | {name: float(host[name][i]) for name in host} for i in wanted]
            bar.set_postfix(loss=f"{losses[wanted[-1]]:.4f}", refresh=False)
        bar.update(size * units)

    def _save(self, position: int, state) -> None:
        if not self._writes:
            return
        # The journal first: a checkpoint without its journal would lose the curve, a journal without one is ignored.
        journal = {"curve": self.curve, "seconds": self.seconds, "compile_seconds": self.compile_seconds}
        (self._folder / "journal").mkdir(exist_ok=True)
        with replacing(self._folder / "journal" / f"{position}.json") as path:
            path.write_text(json.dumps(journal))
        self._checkpoints.save(position, state)
        for old in self._journals()[:-3]:
            old.unlink()

    def _journals(self) -> list[pathlib.Path]:
        """In the order of their steps."""
        return sorted((self._folder / "journal").glob("*.json"), key=lambda path: int(path.stem))

    def figures(self) -> dict:
        """What a finished iteration leaves in its result."""
        return {
            "steps": self.total,
            "wall_seconds": round(self.seconds, 2),
            "compile_seconds": round(self.compile_seconds, 2),
            "last": self.curve[-1] if self.curve else {},
            "curve": self.curve,
        }

    def discard(self) -> None:
        """Delete the state of an iteration whose result is stored."""
        self._checkpoints.close()
        clear(self._folder)


def clear(folder: pathlib.Path) -> None:
    """Delete what an iteration left in its folder, also if it was killed after its result had been stored."""
    for name in ("checkpoints", "journal"):
        shutil.rmtree(folder / name, ignore_errors=True)
