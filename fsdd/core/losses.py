"""The NFR loss (Eq. 2) and the label margin that FRePo adds to it."""

import jax
import jax.numpy as jnp


def squared_error(prediction: jax.Array, labels: jax.Array) -> jax.Array:
    """Squared error summed over classes, averaged over the batch: `[n, c]`, `[n, c]` -> scalar."""
    return jnp.mean(jnp.sum(jnp.square(prediction - labels), axis=-1))


def label_margin(labels: jax.Array) -> jax.Array:
    """Mean over rows of -min(largest - second largest, 1/c), for labels `[n, c]`.

    It keeps learned labels decisive: each row gains until its best class leads by 1/c.
    """
    first, second = jnp.moveaxis(jax.lax.top_k(labels, 2)[0], -1, 0)
    return jnp.mean(-jnp.minimum(first - second, 1 / labels.shape[-1]))


def accuracy(prediction: jax.Array, labels: jax.Array) -> jax.Array:
    """Share of rows whose largest entry agrees: `[n, c]`, `[n, c]` -> scalar in [0, 1]."""
    return jnp.mean(jnp.argmax(prediction, -1) == jnp.argmax(labels, -1))
