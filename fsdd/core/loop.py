"""Many steps of one pure function, dispatched singly or in `lax.scan`.

On accelerators many steps run per dispatch. On CPU, XLA runs a convolution inside a loop without its multi-threaded
kernels (jax-ml/jax issue 12868), so there each step is a dispatch of its own. Both ways compute the same.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from fsdd.core import compiling


def steps_per_dispatch(limit: int, *stops: int) -> int:
    """The largest divisor up to `limit` of all steps at which a dispatch has to end; 0 does not count.

    One compiled shape then serves from any of them to any other: from where a run resumes, say, to its last step.
    """
    whole = math.gcd(*stops)
    return max(size for size in range(1, min(limit, whole) + 1) if whole % size == 0)


def dispatcher(step: Callable, size: int) -> Callable:
    """Compile `size` steps into one call.

    Args:
        step: `(carry, index, *constants) -> (carry, metrics)`, pure; index is an int32 scalar.
        size: steps per call.

    Returns:
        `(carry, first, *constants) -> (carry, metrics)` with metrics stacked to `[size, ...]`; the carry is donated.
    """

    def many(carry, first, *constants):
        if size == 1:
            carry, metrics = step(carry, first, *constants)
            return carry, jax.tree.map(lambda metric: metric[None], metrics)
        return jax.lax.scan(lambda c, i: step(c, i, *constants), carry, first + jnp.arange(size))

    return compiling.jit(many, donate_argnums=0)
