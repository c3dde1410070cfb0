"""Time: progress bars with rate and time left, how much of a stage the compiler took, and how much waiting did."""

import dataclasses
import io
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import jax
from tqdm import tqdm

_COMPILE_EVENTS = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)


class _CompileClock:
    """Seconds that this process has spent tracing and compiling, and how many programs came of it."""

    def __init__(self):
        self.seconds, self.programs = 0.0, 0
        self._lock = threading.Lock()
        jax.monitoring.register_event_duration_secs_listener(self._add)

    def _add(self, event: str, duration: float, **_) -> None:
        if event in _COMPILE_EVENTS:
            with self._lock:
                self.seconds += duration
                self.programs += event == _COMPILE_EVENTS[-1]


compile_clock = _CompileClock()

Item = TypeVar("Item")


@dataclasses.dataclass
class Waited:
    """Seconds for which iterations were waited for: the most that a device, which has work queued, stood idle."""

    seconds: float = 0.0

    def over(self, items: Iterable[Item]) -> Iterator[Item]:
        """The same items; the time that each takes to come is counted."""
        items = iter(items)
        while True:
            began = time.perf_counter()
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                self.seconds += time.perf_counter() - began
            yield item


# A line of a log, and the seconds between two of them at least.
_LINE = "{desc}: {percentage:.0f}%| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
_SELDOM = 5.0


class Bar(tqdm):
    """A progress bar on standard error, redrawn at most twice a second; where that is no terminal, lines of a log.

    Of those there is one for each tenth, but none within five seconds of another, and one at the end.
    """

    shown: "Bar | None" = None

    def __init__(self, label: str, total: int, start: int, unit: str):
        """Of `total` units, `start` of them done."""
        self._watched = _is_terminal()
        self._told, self._told_at = 10 * start // max(total, 1), time.monotonic()
        # What tqdm itself would write to a log is dropped: carriage returns, and blank lines.
        super().__init__(
            desc=label, total=total, initial=start, unit=unit, mininterval=0.5, dynamic_ncols=self._watched,
            smoothing=0.05, file=None if self._watched else io.StringIO(),
        )  # fmt: skip
        self._said_at = time.monotonic()
        Bar.shown = self

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Draw the bar, or write a line if one is due."""
        if self._watched:
            return super().display(msg, pos)
        tenth, now = 10 * self.n // max(self.total, 1), time.monotonic()
        if tenth > self._told and (now - self._told_at >= _SELDOM or self.n >= self.total):
            self._told, self._told_at = tenth, now
            line = self.format_meter(**self.format_dict | {"bar_format": _LINE, "ncols": None})
            print(line, file=sys.stderr, flush=True)
        return True

    def skip(self, units: int) -> None:
        """Count so many units as done before: they say nothing about the rate, and no line is due for them."""
        self.initial, self.n, self.last_print_n = self.initial + units, self.n + units, self.last_print_n + units
        self._told = max(self._told, 10 * self.n // max(self.total, 1))

    def say(self, text: str) -> None:
        """Show what the next step waits for, until there is something else to show."""
        # Where TQDM_DISABLE is set, a bar is little more than a name.
        if not self.disable and self._watched and time.monotonic() - self._said_at >= self.mininterval:
            self._said_at = time.monotonic()
            self.set_postfix_str(text)

    def close(self) -> None:
        """Leave the bar as it is."""
        super().close()
        if Bar.shown is self:
            Bar.shown = None


def tell(line: str) -> None:
    """Print a line at once; letters that the terminal does not have are escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def _is_terminal() -> bool:
    return sys.stderr.isatty()


def bar(label: str, total: int, start: int = 0, unit: str = "step") -> Bar:
    """A bar, which is the one shown until it is closed."""
    return Bar(label, total, start, unit)


def waiting(what: str, done: int, total: int) -> None:
    """Say on the bar that is shown, if any, how much is done of what its next step waits for."""
    if Bar.shown is not None:
        Bar.shown.say(f"{what} {done:,}/{total:,}")


def counting(what: str, total: int) -> Callable[[int], None]:
    """A function that is told of so many more units done, of `total`, and says so by `waiting`."""
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        waiting(what, done, total)

    return count


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, for people."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
