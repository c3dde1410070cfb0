"""How whole programs are compiled."""

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any

import jax

_LEVEL = "xla_backend_optimization_level"


@dataclasses.dataclass(frozen=True)
class Bound:
    """`functools.partial` by name, equal to every other of the same function and values: they share a program.

    Attributes:
        function: what is called.
        values: names and values of some of its arguments; all hashable.
    """

    function: Callable
    values: tuple[tuple[str, Any], ...]

    @property
    def __name__(self) -> str:
        """The function's own: it is part of the key under which a compiled program is stored."""
        return self.function.__name__

    def __call__(self, *arguments, **named):
        """The function's result."""
        return self.function(*arguments, **dict(self.values), **named)


def bind(function: Callable, **values: Any) -> Bound:
    """A function some of whose arguments are given already, by name."""
    return Bound(function, tuple(sorted(values.items())))


def jit(function: Callable, **options) -> Callable:
    """`jax.jit` for what is called by no other compiled function, quick to compile on CPU.

    Of a `Bound` function it is one program for all that equal it: what a process has traced it does not trace again.

    There LLVM's higher levels of optimisation cost time, most where networks are drawn and where images are small, and
    gain none afterwards: what counts is in kernels that are compiled already (experiments/README.md, "What a step
    costs"). Whoever sets the level by XLA_FLAGS has that one.

    Args:
        function: as for `jax.jit`.
        options: those of `jax.jit`, but for `compiler_options`.

    Raises:
        ValueError: on a call within another compiled function, on CPU; JAX takes options for whole programs only.
    """
    return _jit_shared(function, **options) if isinstance(function, Bound) else _jit(function, **options)


def _jit(function: Callable, **options) -> Callable:
    if jax.default_backend() == "cpu" and _LEVEL not in os.environ.get("XLA_FLAGS", ""):
        options["compiler_options"] = {_LEVEL: 1}
    return jax.jit(function, **options)


# More than a run has; programs of runs long past are let go.
_jit_shared = functools.lru_cache(256)(_jit)
