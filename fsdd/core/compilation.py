"""How whole programs are compiled."""

import os
from collections.abc import Callable

import jax

_LEVEL = "xla_backend_optimization_level"


def jit(function: Callable, **options) -> Callable:
    """`jax.jit` for what is called by no other compiled function, quick to compile on CPU.

    There LLVM's higher levels of optimisation cost time, most where networks are drawn and where images are small, and
    gain none afterwards: what counts is in kernels that are compiled already (experiments/README.md, "What a step
    costs"). Whoever sets the level by XLA_FLAGS has that one.

    Args:
        function: as for `jax.jit`.
        options: those of `jax.jit`, but for `compiler_options`.

    Raises:
        ValueError: on a call within another compiled function, on CPU; JAX takes options for whole programs only.
    """
    if jax.default_backend() == "cpu" and _LEVEL not in os.environ.get("XLA_FLAGS", ""):
        options["compiler_options"] = {_LEVEL: 1}
    return jax.jit(function, **options)
