"""Real images class by class: so many of each class, different ones where it has as many."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np


@flax.struct.dataclass
class Classes:
    """Which real images are of which class: rows `[classes, most]`, padded, and how many `[classes]`."""

    rows: jax.Array
    counts: jax.Array

    def __len__(self) -> int:
        return self.rows.shape[0]


def rows_by_class(labels: np.ndarray, num_classes: int) -> Classes:
    """The rows of each class, for int labels `[n]`."""
    rows = [np.flatnonzero(labels == label) for label in range(num_classes)]
    counts = np.array([len(own) for own in rows])
    padded = np.stack([np.resize(own, counts.max()) for own in rows])
    return Classes(jnp.asarray(padded), jnp.asarray(counts))


def draw(classes: Classes, count: int, key: jax.Array) -> jax.Array:
    """`count` random rows of each class, `[classes, count]`, without replacement.

    A class of fewer images gives all it has, again and again in one random order.
    """
    number, most = classes.rows.shape
    # Padding comes last in a random order of all places.
    order = jnp.where(jnp.arange(most) < classes.counts[:, None], jax.random.uniform(key, (number, most)), 2.0)
    places = jax.lax.top_k(-order, min(count, most))[1]
    turns = jnp.arange(count) % jnp.minimum(classes.counts, count)[:, None]
    return jnp.take_along_axis(classes.rows, jnp.take_along_axis(places, turns, axis=1), axis=1)


def of_class(classes: Classes, label: jax.Array) -> Classes:
    """The one class `label`, as `Classes` of length 1."""
    return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, label, 1), classes)
