r"""Kernel ridge regression in a network's feature space: the closed-form last layer w*_S (Eq. 2).

With features F = f_theta(X_S) `[n, d]` and labels Y `[n, c]`,

    w = F^T (F F^T + lambda I)^{-1} Y,    lambda = ridge * trace(F F^T) / n.

The textbook way forms the Gram matrix F F^T and factors it by Cholesky. Random ReLU features are nearly collinear, so
that matrix has a condition number close to 1 / ridge = 1e6, which float32 barely holds: forming it squares the
condition number of F, and what rounding costs there comes back magnified in w and in its gradient. We therefore factor
the *features*: with

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

Rows may be padding (`Mask.rows`): their features and labels are zeroed and n counts the true rows alone, so that each
is a column of [F, sqrt(lambda) I]^T at right angles to all others. It takes no part in w or in any gradient.
"""

import chex
import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

RIDGE = 1e-6
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


# The head is kept transposed, `[c, d]`: every product below then runs along rows of d, and no matrix of real features
# is ever transposed, which took most of the time on CPU.
@jax.custom_vjp
def _head(features: jax.Array, labels: jax.Array, relative: jax.Array) -> jax.Array:
    return _head_forward(features, labels, relative)[0]


def _head_forward(features, labels, relative):
    q1, lower = factor(features, relative)
    z = solve_triangular(lower, labels, lower=True)
    head = _matmul(z.T, q1)
    return head, (features, q1, lower, z, head, relative)


def _head_backward(residuals, head_bar):
    r"""Pull back a cotangent of w.

    With K = F F^T + lambda I, alpha = K^{-1} Y and G = K^{-1} F w_bar, the differential
    dw = dF^T alpha + F^T K^{-1} (dY - dK alpha), dK = dF F^T + F dF^T + dlambda I, gives

        F_bar = alpha (w_bar - F^T G)^T - G w^T - 2 relative <G, alpha> F,    Y_bar = G,

    where alpha = R^{-1} z, G = R^{-1} Q1^T w_bar and F^T G = Q1 Q1^T w_bar: every term comes from the factors, none
    from the Gram matrix.
    """
    features, q1, lower, z, head, relative = residuals
    projected = _matmul(head_bar, q1.T)
    alpha = solve_triangular(lower, z, trans="T", lower=True)
    g = solve_triangular(lower, projected.T, trans="T", lower=True)
    outside = head_bar - _matmul(projected, q1)
    shrink = 2 * relative * jnp.sum(g * alpha)
    features_bar = _matmul(alpha, outside) - _matmul(g, head) - shrink * features
    return features_bar, g, None


_head.defvjp(_head_forward, _head_backward)


def _fit(features: jax.Array, labels: jax.Array, ridge: float, rows: jax.Array | None) -> jax.Array:
    """w `[c, d]`."""
    if rows is None:
        return _head(features, labels, ridge / len(features))
    count = jnp.maximum(jnp.sum(rows), 1)
    return _head(jnp.where(rows[:, None], features, 0), jnp.where(rows[:, None], labels, 0), ridge / count)


def ridge_head(
    features: jax.Array, labels: jax.Array, ridge: float = RIDGE, rows: jax.Array | None = None
) -> jax.Array:
    """The ridge head w*_S fitted on a synthetic set (Eq. 2).

    Args:
        features: `[n, d]` features of the synthetic images in one network.
        labels: `[n, c]` their labels.
        ridge: the regulariser, relative to the mean of the Gram matrix's diagonal.
        rows: bool `[n]`, false for padding; None if there is none.

    Returns:
        w `[d, c]`; the prediction for features `[m, d]` is `features @ w`. Differentiable in features and labels.
    """
    chex.assert_rank([features, labels], 2)
    chex.assert_equal_shape_prefix([features, labels], 1)
    return _fit(features, labels, ridge, rows).T


def predict(
    features_t: jax.Array,
    features_s: jax.Array,
    labels_s: jax.Array,
    ridge: float = RIDGE,
    rows: jax.Array | None = None,
) -> jax.Array:
    """KRR prediction `[m, c]` for `features_t` `[m, d]` from a synthetic set's `features_s` `[n, d]` and labels."""
    chex.assert_rank([features_t, features_s, labels_s], 2)
    head = _fit(features_s, labels_s, ridge, rows)
    return jnp.einsum("cd,md->cm", head, features_t.astype(head.dtype), precision=_HIGHEST).T
