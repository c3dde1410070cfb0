"""How whole programs are compiled."""

from collections.abc import Callable

import jax


def jit(function: Callable, **options) -> Callable:
    """`jax.jit` for what is called by no other compiled function, quick to compile on CPU.

    There LLVM's higher levels of optimisation take most of the time to the first step and gain nothing afterwards: what
    counts is in kernels that are compiled already (experiments/README.md, "What a step costs").
    """
    if jax.default_backend() == "cpu":
        options["compiler_options"] = {"xla_backend_optimization_level": 1}
    return jax.jit(function, **options)
