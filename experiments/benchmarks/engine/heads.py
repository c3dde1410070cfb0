"""Ridge heads `(features [n, d], labels [n, c]) -> w [c, d]`: today's, and what might take its place."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve, solve_triangular

from fsdd.core import krr

_HIGHEST = jax.lax.Precision.HIGHEST
_dot = functools.partial(jnp.matmul, precision=_HIGHEST)


def today(features: jax.Array, labels: jax.Array) -> jax.Array:
    """Shifted Cholesky QR in three passes."""
    return krr.ridge_head(features, labels).T


def _factored(features: jax.Array, relative: float) -> tuple[jax.Array, jax.Array]:
    """K = F F^T + lambda I, and its Cholesky factor, in the precision of the features."""
    gram = _dot(features, features.T)
    gram = gram + relative * jnp.trace(gram) * jnp.eye(len(features), dtype=features.dtype)
    return gram, jnp.linalg.cholesky(gram, symmetrize_input=False)


def _pull_back(features, alpha, solve, head_bar, relative):
    """Gradients of features and labels, as `krr._head_backward` derives them, by a solver of K x = y."""
    head = _dot(alpha.T, features)
    g = solve(_dot(features, head_bar.T))
    shrink = 2 * relative * jnp.sum(g * alpha)
    return _dot(alpha, head_bar - _dot(g.T, features)) - _dot(g, head) - shrink * features, g


def float64_plain(features: jax.Array, labels: jax.Array) -> jax.Array:
    """Gram matrix and Cholesky in float64, and plain autodiff; the whole program needs `jax.enable_x64`."""
    wide = features.astype(jnp.float64)
    _, lower = _factored(wide, krr.RIDGE / len(features))
    return _dot(cho_solve((lower, True), labels.astype(jnp.float64)).T, wide).astype(jnp.float32)


def _in_float64(function: Callable) -> Callable:
    """Computes float64 in there, whatever the program around it does."""

    @functools.wraps(function)
    def inner(*arguments):
        with jax.enable_x64(True):
            return function(*arguments)

    return inner


@jax.custom_vjp
def float64(features: jax.Array, labels: jax.Array) -> jax.Array:
    """The same with a backward pass of its own in float64, within a program of float32."""
    return _float64_forward(features, labels)[0]


@_in_float64
def _float64_forward(features, labels):
    wide = jax.lax.convert_element_type(features, jnp.float64)
    _, lower = _factored(wide, krr.RIDGE / len(features))
    alpha = cho_solve((lower, True), jax.lax.convert_element_type(labels, jnp.float64))
    head = jax.lax.convert_element_type(_dot(alpha.T, wide), jnp.float32)
    return head, (features, lower, alpha)


@_in_float64
def _float64_backward(residuals, head_bar):
    features, lower, alpha = residuals
    wide, head_bar = (jax.lax.convert_element_type(one, jnp.float64) for one in (features, head_bar))
    solve = functools.partial(cho_solve, (lower, True))
    bars = _pull_back(wide, alpha, solve, head_bar, krr.RIDGE / len(features))
    return tuple(jax.lax.convert_element_type(bar, jnp.float32) for bar in bars)


float64.defvjp(_float64_forward, _float64_backward)


def _fast_factor(features: jax.Array, relative: float) -> tuple[jax.Array, jax.Array]:
    """`krr.factor` with its first two products at default precision (TF32), whose rounding needs larger shifts."""
    n = len(features)
    eye = jnp.eye(n, dtype=features.dtype)
    wide, lower = (features, jnp.sqrt(relative * jnp.sum(jnp.square(features))) * eye), None
    for step in range(3):
        gram = sum(jnp.matmul(part, part.T, precision=None if step < 2 else _HIGHEST) for part in wide)
        shift = 1e-3 * jnp.trace(gram) if step < 2 else 0.0
        once = jnp.linalg.cholesky(gram + shift * eye, symmetrize_input=False)
        wide = [solve_triangular(once, part, lower=True) for part in wide]
        lower = once if lower is None else _dot(lower, once)
    return wide[0], lower


@jax.custom_vjp
def fast(features: jax.Array, labels: jax.Array) -> jax.Array:
    """Today's with two of three products at default precision."""
    return _fast_forward(features, labels)[0]


def _fast_forward(features, labels):
    relative = krr.RIDGE / len(features)
    q1, lower = _fast_factor(features, relative)
    z = solve_triangular(lower, labels, lower=True)
    head = _dot(z.T, q1)
    return head, (features, q1, lower, z, head, relative)


fast.defvjp(_fast_forward, lambda residuals, head_bar: krr._head_backward(residuals, head_bar)[:2])


@jax.custom_vjp
def refined(features: jax.Array, labels: jax.Array) -> jax.Array:
    """Gram matrix and Cholesky in float32, each solution refined once by its residual through the features."""
    return _refined_forward(features, labels)[0]


def _refine(features, lower, shift, target):
    solve = functools.partial(cho_solve, (lower, True))
    first = solve(target)
    return first + solve(target - _dot(features, _dot(features.T, first)) - shift * first)


def _refined_forward(features, labels):
    relative = krr.RIDGE / len(features)
    _, lower = _factored(features, relative)
    alpha = _refine(features, lower, relative * jnp.sum(jnp.square(features)), labels)
    return _dot(alpha.T, features), (features, lower, alpha)


def _refined_backward(residuals, head_bar):
    features, lower, alpha = residuals
    relative = krr.RIDGE / len(features)
    solve = functools.partial(_refine, features, lower, relative * jnp.sum(jnp.square(features)))
    return _pull_back(features, alpha, solve, head_bar, relative)


refined.defvjp(_refined_forward, _refined_backward)

# Name in tables, head, and whether the whole program needs float64.
VARIANTS = {
    "a today": (today, False),
    "b float64": (float64, False),
    "c two passes in TF32": (fast, False),
    "d Cholesky, refined": (refined, False),
    "e float64, autodiff": (float64_plain, True),
}
