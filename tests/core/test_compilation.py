"""Compiling: the same values as plain JAX, and whole programs only."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsdd.core import compilation


def _draw(key, scale):
    return scale * jax.random.truncated_normal(key, -2, 2, (64,))


def test_values_and_options_are_those_of_jax():
    ours, plain = compilation.jit(_draw, donate_argnums=1), jax.jit(_draw)
    scale = jnp.full(64, 3.0)
    np.testing.assert_allclose(ours(jax.random.key(0), scale), plain(jax.random.key(0), 3.0), rtol=1e-6)
    assert scale.is_deleted()


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the compiler is asked for nothing there")
def test_within_another_program_it_is_refused(monkeypatch):
    """JAX says so of whatever has options of the compiler: ours has them where XLA_FLAGS do not set its level."""
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    inner = compilation.jit(_draw)
    with pytest.raises(ValueError, match="xla_backend_optimization_level"):
        jax.jit(lambda key: inner(key, 1.0))(jax.random.key(0))
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=3")
    inner = compilation.jit(_draw)
    jax.jit(lambda key: inner(key, 1.0))(jax.random.key(0))


def _scale(x, *, factor):
    return factor * x


def test_equal_bound_functions_share_a_program_and_others_do_not():
    double = compilation.jit(compilation.bind(_scale, factor=2))
    assert compilation.jit(compilation.bind(_scale, factor=2)) is double
    assert compilation.jit(compilation.bind(_scale, factor=3)) is not double
    assert compilation.jit(compilation.bind(_scale, factor=2), donate_argnums=0) is not double
    assert double(jnp.int32(4)) == 8
    # The key of a stored program holds the name: no address may be in it.
    assert compilation.bind(_scale, factor=2).__name__ == "_scale"
