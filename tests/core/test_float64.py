"""Functions in float64 within programs of float32, where JAX traces again what it has traced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsdd.core.float64 import in_float64

# One more than float32 can hold: `x + 1 - x` is one in float64 and nought in float32.
LARGE = np.float32(2**24)


def _one(x, y):
    return ((x + y) - x,)


def _once(x):
    return in_float64(_one)(x, jnp.ones_like(x))[0]


def _scanned(x):
    return jax.lax.scan(lambda carry, _: (carry, _once(carry)), x, length=2)[1][-1]


_WAYS = {
    "alone": _once,
    "mapped": jax.vmap(_once),
    "scan within vmap": jax.vmap(_scanned),
    "jit within vmap": jax.vmap(jax.jit(_once)),
    "cond within vmap": jax.vmap(lambda x: jax.lax.cond(x[0] > 0, _once, jnp.zeros_like, x)),
    "checkpoint": jax.checkpoint(jax.vmap(_once)),
}


@pytest.mark.parametrize("way", _WAYS)
def test_it_is_float64_however_it_is_traced(way):
    x = jnp.full((2, 3), LARGE)
    assert np.array_equal(x + 1 - x, np.zeros((2, 3)))
    found = jax.jit(_WAYS[way])(x)
    assert found.dtype == jnp.float32
    assert np.array_equal(found, np.ones((2, 3)))


def test_outside_of_compiled_functions_too():
    found = in_float64(_one)(LARGE, np.float32(1))[0]
    assert (found, found.dtype) == (1, jnp.float32)


def test_derivatives_are_float64_too():
    """Of sum(x (x + y) - x^2) = sum(x y), by x twice, which rounds to nothing in float32."""

    def product(x, y):
        return (jnp.sum(x * (x + y) - x * x),)

    def first(x, y):
        return jax.grad(lambda x: in_float64(product)(x, y)[0])(x)

    x, y = jnp.full(3, LARGE), jnp.ones(3)
    by_y = jax.jit(jax.grad(lambda x, y: first(x, y).sum(), argnums=1))
    assert np.array_equal(jax.jit(first)(x, y), np.ones(3))
    assert np.array_equal(by_y(x, y), np.ones(3))
