"""How whole programs are compiled."""

from collections.abc import Callable

import jax


def jit(function: Callable, **options) -> Callable:
    """`jax.jit` for what is called by no other compiled function, quick to compile on CPU.

    There LLVM's higher levels of optimisation cost time, most where networks are drawn and where images are small, and
    gain none afterwards: what counts is in kernels that are compiled already (experiments/README.md, "What a step
    costs").

    Args:
        function: as for `jax.jit`.
        options: those of `jax.jit`, but for `compiler_options`.

    Raises:
        ValueError: on a call within another compiled function, on CPU; JAX takes options for whole programs only.
    """
    if jax.default_backend() == "cpu":
        options["compiler_options"] = {"xla_backend_optimization_level": 1}
    return jax.jit(function, **options)
