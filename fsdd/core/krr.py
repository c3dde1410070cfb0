r"""Kernel ridge regression in a network's feature space: the closed-form last layer w*_S (Eq. 2).

With features F = f_theta(X_S) `[n, d]` and labels Y `[n, c]`,

    w = F^T alpha,    alpha = K^{-1} Y,    K = F F^T + lambda I,    lambda = ridge * trace(F F^T) / n.

Random ReLU features are nearly collinear, so that K has a condition number close to 1 / ridge = 1e6, which float32
barely holds. K is therefore formed and factored in float64, whatever the program around it computes in. At width 128
forming it takes 0.05 % of the operations that the network takes there and back for 20 rows, 0.5 % for 200, 2.6 % for
1,000: nothing on CPUs and on GPUs for computing, and less than the network's time up to a few hundred rows on those
whose float64 runs at a 64th of their float32. TPUs have no float64 to speak of: there `cholesky_qr` fits the head in
float32. `experiments/benchmarks/precision.py` and `factoring.py` measure both.

Rows may be padding (`Mask.rows`): their features and labels are zeroed and n counts the true rows alone, so that each
is a row and a column of K with nothing but lambda on its diagonal. It takes no part in w or in any gradient.
"""

import chex
import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve

from fsdd.core import cholesky_qr
from fsdd.core.float64 import in_float64

RIDGE = 1e-6
_HIGHEST = jax.lax.Precision.HIGHEST


# The head is kept transposed, `[c, d]`: every product below then runs along rows of d, and no matrix of real features
# is ever transposed, which took most of the time on CPU.
@jax.custom_vjp
def _solve(features: jax.Array, labels: jax.Array, relative: jax.Array) -> tuple[jax.Array]:
    """`float64_head` in the precision of what it is given."""
    return _forward(features, labels, relative)[0]


def _forward(features, labels, relative):
    gram = features @ features.T
    gram = gram + relative * jnp.trace(gram) * jnp.eye(len(gram), dtype=gram.dtype)
    lower = jnp.linalg.cholesky(gram, symmetrize_input=False)
    alpha = cho_solve((lower, True), labels)
    head = alpha.T @ features
    return (head,), (features, lower, alpha, head, relative)


def _backward(residuals, bars):
    r"""Pull back a cotangent of w.

    With G = K^{-1} F w_bar, the differential
    dw = dF^T alpha + F^T K^{-1} (dY - dK alpha), dK = dF F^T + F dF^T + dlambda I, gives

        F_bar = alpha (w_bar - F^T G)^T - G w^T - 2 relative <G, alpha> F,    Y_bar = G.
    """
    features, lower, alpha, head, relative = residuals
    (head_bar,) = bars
    g = cho_solve((lower, True), features @ head_bar.T)
    shrink = 2 * relative * jnp.sum(g * alpha)
    features_bar = alpha @ (head_bar - g.T @ features) - g @ head - shrink * features
    return features_bar, g, jnp.zeros_like(relative)


_solve.defvjp(_forward, _backward)
_solve_wide = in_float64(_solve)


def float64_head(features: jax.Array, labels: jax.Array, relative: jax.Array) -> jax.Array:
    """w `[c, d]`; `relative` is lambda over the trace of F F^T. Differentiable in features and labels.

    NaN where features are all zero.
    """
    return _solve_wide(features, labels, relative)[0]


def _head(features: jax.Array, labels: jax.Array, relative: jax.Array) -> jax.Array:
    """w `[c, d]` as the platform does it best."""
    fit = cholesky_qr.head if jax.default_backend() == "tpu" else float64_head
    return fit(features, labels, jnp.asarray(relative, features.dtype))


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
