"""The NFR loss (Eq. 2) and the label margin that FRePo adds to it.

Rows that are padding are left out of the means (`rows`, bool `[n]`), classes that are, of the margin (`classes`, bool
`[c]`). Padded classes add nothing to a squared error as long as prediction and labels are zero there.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax


def _mean(values: jax.Array, rows: jax.Array | None) -> jax.Array:
    if rows is None:
        return jnp.mean(values)
    return jnp.sum(jnp.where(rows, values, 0)) / jnp.maximum(jnp.sum(rows), 1)


def squared_error(prediction: jax.Array, labels: jax.Array, rows: jax.Array | None = None) -> jax.Array:
    """Squared error summed over classes, averaged over the batch: `[n, c]`, `[n, c]` -> scalar."""
    return _mean(jnp.sum(jnp.square(prediction - labels), axis=-1), rows)


def half_squared_error(prediction: jax.Array, labels: jax.Array) -> jax.Array:
    """Half of `squared_error`, as FRePo's JAX code trains networks."""
    return 0.5 * squared_error(prediction, labels)


def mean_squared_error(prediction: jax.Array, labels: jax.Array) -> jax.Array:
    """Squared error averaged over classes as well, as FRePo's PyTorch code trains networks."""
    return squared_error(prediction, labels) / labels.shape[-1]


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross-entropy of logits `[n, c]` and the classes for which labels `[n, c]` are highest: scalar."""
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, jnp.argmax(labels, -1)))


def squared_distance(first: Any, second: Any) -> jax.Array:
    """Of two trees of arrays of the same shapes: the sum of all squared differences, a scalar."""
    return sum(jax.tree.leaves(jax.tree.map(lambda one, other: jnp.sum(jnp.square(one - other)), first, second)))


def mixed(
    loss: Callable[[jax.Array, jax.Array], jax.Array], partners: jax.Array, share: jax.Array
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """A loss for images that hold parts of others (`augmentation.Mixed`): to its share that of each image's label."""

    def of_both(logits, labels):
        return share * loss(logits, labels) + (1 - share) * loss(logits, labels[partners])

    return of_both


def best_scale(prediction: jax.Array, labels: jax.Array) -> jax.Array:
    """The factor of a prediction `[n, c]` that brings it closest to labels `[n, c]`; a constant to the gradient.

    At the best factor the loss does not change with it to first order, so that its own derivative is not needed.
    """
    factor = jnp.sum(prediction * labels) / jnp.maximum(jnp.sum(jnp.square(prediction)), 1e-12)
    return jax.lax.stop_gradient(factor)


def label_margin(labels: jax.Array, rows: jax.Array | None = None, classes: jax.Array | None = None) -> jax.Array:
    """Mean over rows of -min(largest - second largest, 1/c), for labels `[n, c]`.

    It keeps learned labels decisive: each row gains until its best class leads by 1/c.
    """
    count = labels.shape[-1] if classes is None else jnp.sum(classes)
    if classes is not None:
        labels = jnp.where(classes, labels, -jnp.inf)
    first, second = jnp.moveaxis(jax.lax.top_k(labels, 2)[0], -1, 0)
    return _mean(-jnp.minimum(first - second, 1 / count), rows)


def accuracy(
    prediction: jax.Array, labels: jax.Array, rows: jax.Array | None = None, classes: jax.Array | None = None
) -> jax.Array:
    """Share of rows whose largest entry agrees: `[n, c]`, `[n, c]` -> scalar in [0, 1]."""
    if classes is not None:
        prediction, labels = (jnp.where(classes, values, -jnp.inf) for values in (prediction, labels))
    return _mean(jnp.argmax(prediction, -1) == jnp.argmax(labels, -1), rows)
