"""Cases, compiled many at once and then timed one after another; rows of results that a deadline may cut short."""

import concurrent.futures
import fnmatch
import pathlib
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import records
from fsdd.core import compilation
from fsdd.io import provenance, workdir

# Leaves of outputs that are looked at for NaN: those with fewer entries.
_SMALL = 1 << 20
# Programs that are compiled at once. Trying out cuDNN's algorithms is most of compiling on a GPU, and one program waits
# there for another: with 16 threads 2 of 18 were ready after a minute.
_THREADS = 3


class Case(NamedTuple):
    """One row to measure.

    Attributes:
        name: of the row.
        prepare: compiles; returns the call to time. Cases of a wave are prepared at once, in threads.
        steps: how many steps a call takes; time is told per step.
        flops: of a step.
        moved: bytes read plus written in a step.
        about: further entries of the row.
        check: entries of the row, from what a call returned.
    """

    name: str
    prepare: Callable[[], Callable[[], Any]]
    steps: int = 1
    flops: float = 0.0
    moved: float = 0.0
    about: dict[str, Any] = {}  # noqa: RUF012
    check: Callable[[Any], dict[str, Any]] | None = None


def program(function: Callable, *arguments: Any, x64: bool = False) -> Callable[[], Callable[[], Any]]:
    """`Case.prepare` of a pure function of arrays; `x64` lets it compute in float64."""

    def prepare():
        with jax.enable_x64(x64):
            compiled = compilation.jit(function).lower(*arguments).compile()

        def call():
            with jax.enable_x64(x64):
                return compiled(*arguments)

        return call

    return prepare


def repeated(step: Callable, count: int) -> Callable:
    """`(state, *constants) -> (state, metrics)`: so many steps `(state, index, *constants)` in one scan."""

    def run(state, *constants):
        indices = jax.numpy.arange(count, dtype="int32")
        return jax.lax.scan(lambda carry, index: step(carry, index, *constants), state, indices)

    return run


class Bench:
    """Rows of results, written after each group.

    Attributes:
        rows: what has been measured.
    """

    def __init__(self, out: pathlib.Path, seconds: float, smoke: bool, match: Sequence[str] = ()):
        """Results go to `out`, until `seconds` from now; of rows that fit a pattern of `match`, if it has any."""
        self.rows: list[dict[str, Any]] = []
        self._out, self._deadline, self._smoke = out, time.monotonic() + seconds, smoke
        self._match, self._pool = match, concurrent.futures.ThreadPoolExecutor(_THREADS)

    def _wanted(self, name: str) -> bool:
        return not self._match or any(fnmatch.fnmatchcase(name, one) for one in self._match)

    def left(self) -> float:
        """Seconds until the deadline."""
        return self._deadline - time.monotonic()

    def run(self, wave: dict[str, Callable[[], list[Case]]]) -> None:
        """Prepare the cases of several groups at once, for most of the time left at most; then time them, quietly."""
        began, jobs = time.monotonic(), []
        for group, listed in wave.items():
            try:
                cases = [case for case in listed() if self._wanted(case.name)]
                jobs += [(group, case, self._pool.submit(self._prepare, case)) for case in cases]
            except Exception as error:
                self.add({"group": group, "name": "listing its cases", "error": explain(error)})
        concurrent.futures.wait([job for *_, job in jobs], max(0.6 * self.left(), 0))
        print(f"-- {', '.join(wave)}: prepared in {time.monotonic() - began:.1f} s", flush=True)
        for group in wave:
            for case, job in [(case, job) for name, case, job in jobs if name == group]:
                self.add({"group": group, "name": case.name, **case.about, **self._measure(case, job)})
            self.write()

    def _prepare(self, case: Case) -> tuple[Callable[[], Any], float]:
        began = time.monotonic()
        if self.left() < 0:
            raise TimeoutError("deadline")
        return case.prepare(), time.monotonic() - began

    def _measure(self, case: Case, job: concurrent.futures.Future) -> dict[str, Any]:
        try:
            if job.cancel() or not job.done():
                return {"error": "not compiled in time"}
            call, taken = job.result()
            if self.left() < 1:
                return {"error": "deadline", "compile_s": round(taken, 1)}
            row, output = self._time(call, case)
            row["compile_s"] = round(taken, 1)
            if not _finite(output):
                row["finite"] = False
            return row | (case.check(output) if case.check else {})
        except Exception as error:
            return {"error": explain(error)}

    def _time(self, call: Callable[[], Any], case: Case) -> tuple[dict[str, Any], Any]:
        """Median and least milliseconds a step, and rates; a third of a second a row, or three calls."""
        times, output = [], jax.block_until_ready(call())
        while len(times) < (1 if self._smoke else 3) or (not self._smoke and sum(times) < 0.3 and len(times) < 15):
            began = time.perf_counter()
            output = jax.block_until_ready(call())
            times.append(time.perf_counter() - began)
            if self.left() < 1:
                break
        seconds = statistics.median(times) / case.steps
        row = {"ms": 1e3 * seconds, "least_ms": 1e3 * min(times) / case.steps, "calls": len(times)}
        if case.flops:
            row["tflops"] = case.flops / seconds / 1e12
        if case.moved:
            row["gb_per_s"] = case.moved / seconds / 1e9
        return row, output

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row, and print it."""
        self.rows.append(row)
        print(" ".join(f"{name}={_show(value)}" for name, value in row.items()), flush=True)

    def write(self) -> None:
        """Write all rows so far."""
        workdir.write(self._out, {"jax": jax.__version__, "rows": self.rows} | provenance.summary())


def explain(error: Exception) -> str:
    """An error as a row tells it."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _finite(output: Any) -> bool:
    """Whether no small floating-point leaf holds NaN or infinity; a scan may end there though its start was sound."""
    leaves = [leaf for leaf in jax.tree.leaves(output) if jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating)]
    return all(np.isfinite(np.asarray(leaf, np.float64)).all() for leaf in leaves if leaf.size < _SMALL)


def _show(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def markdown(name: str = "engine_gpu") -> str:
    """The stored results as one table a group."""
    found, parts = records.load(name), []
    for group in dict.fromkeys(row["group"] for row in found["rows"]) if found else ():
        rows = [row for row in found["rows"] if row["group"] == group]
        head = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in _HIDDEN]
        cells = [[_show(row[key]) if key in row else None for key in head] for row in rows]
        parts.append(f"**{group}**\n\n{records.table(head, cells)}")
    return "\n\n".join([*parts, f"{found['device']}, jax {found['jax']}"]) if found else ""


# What tables leave out.
_HIDDEN = ("group", "least_ms", "calls")
