"""DM (Zhao and Bilen, WACV 2023): S moves to where each class has the mean features of its real images.

Every step draws a fresh network, which is never trained. The gradient is of first order and passes the synthetic
images alone: what it compares them with, a batch of real images of each class, is a constant.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from fsdd.core import augmentation, chunks, descent
from fsdd.core.synthetic_set import decode
from fsdd.methods import class_batches
from fsdd.methods.class_batches import Classes
from fsdd.methods.streams import Real
from fsdd.networks import sampling


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a step compares.

    Attributes:
        network: the architecture of the networks.
        batch: real images of each class.
        policy: one of `augmentation.POLICIES`; each class's draw holds for its real and its synthetic images alike.
        mirror: whether it may flip images.
        factor: by which stored images are enlarged before networks see them.
        chunk: real images that pass a network at once.
        real_dtype: what they pass it in; None is as synthetic ones do.
    """

    network: nn.Module
    batch: int = 256
    policy: str = "dsa"
    mirror: bool = True
    factor: int = 1
    chunk: int = 128
    real_dtype: Any = None

    @property
    def real_network(self) -> nn.Module:
        """The architecture as real images pass through it."""
        return self.network if self.real_dtype is None else self.network.clone(dtype=self.real_dtype)


def distances(features_s: jax.Array, features_t: jax.Array) -> jax.Array:
    """Squared distance between the mean features of each class, `[C, n, d]` and `[C, r, d]` -> `[C]`."""
    return jnp.sum(jnp.square(jnp.mean(features_s, axis=1) - jnp.mean(features_t, axis=1)), axis=-1)


def move(
    state: descent.State,
    images_t: jax.Array,
    variables: sampling.Variables,
    key: jax.Array,
    *,
    recipe: Recipe,
    optimiser: optax.GradientTransformation,
) -> tuple[descent.State, descent.Metrics]:
    """One update of S, sorted by class, on real images `[C, r, h, w, c]` in one network; `key` augments both."""

    def seen(images):
        return augmentation.augment_by_class(key, images, recipe.policy, recipe.mirror)

    images_t = seen(images_t)
    features_t = chunks.map_chunks_within(
        lambda some: sampling.features(recipe.real_network, variables, some),
        images_t.reshape(-1, *images_t.shape[2:]),
        recipe.chunk,
    )
    features_t = _by_class(features_t, len(images_t))

    def loss(synthetic, rest):
        images_s = seen(_by_class(decode(synthetic.images, recipe.factor), len(images_t)))
        features_s = sampling.features(recipe.network, variables, images_s.reshape(-1, *images_s.shape[2:]))
        by_class = distances(_by_class(features_s, len(images_t)), features_t)
        return jnp.sum(by_class), (rest, {})

    return descent.update(state, loss, optimiser)


def step(
    state: descent.State,
    key: jax.Array,
    real: Real,
    classes: Classes,
    *,
    recipe: Recipe,
    optimiser: optax.GradientTransformation,
) -> tuple[descent.State, descent.Metrics]:
    """`move` on a random batch of each class in a fresh network."""
    network_key, rows_key, augment_key = jax.random.split(key, 3)
    variables = sampling.sample(recipe.network, network_key, real.images.shape[1:])
    images_t = real.images[class_batches.draw(classes, recipe.batch, rows_key)]
    return move(state, images_t, variables, augment_key, recipe=recipe, optimiser=optimiser)


def _by_class(rows: jax.Array, count: int) -> jax.Array:
    """`[C n, ...]`, sorted by class -> `[C, n, ...]`."""
    return rows.reshape(count, -1, *rows.shape[1:])
