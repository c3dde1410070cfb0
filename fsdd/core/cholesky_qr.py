r"""The ridge head in float32 alone, for devices that have no float64 or only a slow one (TPUs).

With features F `[n, d]`, labels Y `[n, c]` and lambda as in `krr`, forming the Gram matrix F F^T squares the condition
number of F, and what rounding costs there comes back magnified in w and in its gradient. We therefore factor the
*features*: with

    [F, sqrt(lambda) I]^T = Q R,    Q = [Q1; Q2],

R^T R = F F^T + lambda I and F = R^T Q1^T, hence w = Q1 R^{-T} Y, whose condition number is the square root of the
Gram matrix's. `experiments/benchmarks/precision.py` measures what that buys.

Q and R come by shifted Cholesky QR (Fukaya et al., "Shifted Cholesky QR for computing the QR factorization of
ill-conditioned matrices", SIAM J. Sci. Comput. 2020): three times over, A = [F, sqrt(lambda) I] is divided by the
Cholesky factor L of A A^T. A shift lets the first pass succeed where rounding would leave A A^T indefinite; what it
leaves is well conditioned, so that the others make Q orthogonal to rounding, as Householder's reflections do. A A^T
only says by what to divide A: what rounding spoils of it the next pass mends, and w comes from the factors of A. Those
of Householder go through memory once a column; here all is products and triangular solves, which any device does fast,
and for many sets at once.
"""

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

_HIGHEST = jax.lax.Precision.HIGHEST


def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=_HIGHEST)


def factor(features: jax.Array, relative: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Shifted Cholesky QR of A = [F, sqrt(lambda) I], as the module's docstring says.

    Args:
        features: F `[n, d]`, not all zero.
        relative: lambda over the trace of F F^T.

    Returns:
        Q1^T `[n, d]` and L = R^T `[n, n]`, lower triangular: F = L Q1^T. NaN where A A^T overflows or F is zero.
    """
    n = len(features)
    # Of F F^T.
    trace = jnp.sum(jnp.square(features))
    wide = features, jnp.sqrt(relative * trace) * jnp.eye(n, dtype=features.dtype)
    shift = n * jnp.finfo(features.dtype).eps * trace * jnp.eye(n, dtype=features.dtype)
    lower = None
    for _ in range(3):
        gram = sum(_matmul(part, part.T) for part in wide)
        once = jnp.linalg.cholesky(gram + shift if lower is None else gram, symmetrize_input=False)
        wide = [solve_triangular(once, part, lower=True) for part in wide]
        lower = once if lower is None else _matmul(lower, once)
    return wide[0], lower


@jax.custom_vjp
def head(features: jax.Array, labels: jax.Array, relative: jax.Array) -> jax.Array:
    """w `[c, d]`; `relative` is lambda over the trace of F F^T. Differentiable in features and labels."""
    return _forward(features, labels, relative)[0]


def _forward(features, labels, relative):
    q1, lower = factor(features, relative)
    z = solve_triangular(lower, labels, lower=True)
    weights = _matmul(z.T, q1)
    return weights, (features, q1, lower, z, weights, relative)


def _backward(residuals, head_bar):
    r"""Pull back a cotangent of w.

    With K = F F^T + lambda I, alpha = K^{-1} Y and G = K^{-1} F w_bar, the differential
    dw = dF^T alpha + F^T K^{-1} (dY - dK alpha), dK = dF F^T + F dF^T + dlambda I, gives

        F_bar = alpha (w_bar - F^T G)^T - G w^T - 2 relative <G, alpha> F,    Y_bar = G,

    where alpha = R^{-1} z, G = R^{-1} Q1^T w_bar and F^T G = Q1 Q1^T w_bar: every term comes from the factors, none
    from the Gram matrix.
    """
    features, q1, lower, z, weights, relative = residuals
    projected = _matmul(head_bar, q1.T)
    alpha = solve_triangular(lower, z, trans="T", lower=True)
    g = solve_triangular(lower, projected.T, trans="T", lower=True)
    outside = head_bar - _matmul(projected, q1)
    shrink = 2 * relative * jnp.sum(g * alpha)
    features_bar = _matmul(alpha, outside) - _matmul(g, weights) - shrink * features
    return features_bar, g, None


head.defvjp(_forward, _backward)
