"""Time: progress bars with rate and time left, how much of a stage the compiler took, and how much waiting did."""

import dataclasses
import sys
import threading
import time
from collections.abc import Iterable, Iterator
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


class Bar(tqdm):
    """A progress bar on standard error, redrawn at most twice a second (every 30 s where it goes to a log)."""

    shown: "Bar | None" = None

    def __init__(self, label: str, total: int, start: int, unit: str):
        """Of `total` units, `start` of them done."""
        watched = sys.stderr.isatty()
        super().__init__(
            desc=label, total=total, initial=start, unit=unit, mininterval=0.5 if watched else 30.0,
            dynamic_ncols=watched, smoothing=0.05,
        )  # fmt: skip
        self._said_at = time.monotonic()
        Bar.shown = self

    def say(self, text: str) -> None:
        """Show what the next step waits for, until there is something else to show."""
        # Where TQDM_DISABLE is set, a bar is little more than a name.
        if not self.disable and time.monotonic() - self._said_at >= self.mininterval:
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


def bar(label: str, total: int, start: int = 0, unit: str = "step") -> Bar:
    """A bar, which is the one shown until it is closed."""
    return Bar(label, total, start, unit)


def waiting(what: str, done: int, total: int) -> None:
    """Say on the bar that is shown, if any, how much is done of what its next step waits for."""
    if Bar.shown is not None:
        Bar.shown.say(f"{what} {done:,}/{total:,}")


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, for people."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
