"""Experts: networks that train on real images, whose way MTT's networks follow.

An epoch is all real images once, in a random order; the batch that would not be full takes some of the one before.
What a step draws depends on the expert's key and the step. Descent is plain, so that parameters after an epoch are all
that it takes to go on.
"""

import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from fsdd.core import augmentation, descent, losses
from fsdd.methods import regression
from fsdd.methods.streams import Real
from fsdd.networks import sampling


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How experts train.

    Attributes:
        network: their architecture.
        rate: learning rate of their plain gradient descent.
        batch: real images of a step.
        policy: one of `augmentation.POLICIES`, parameters drawn for each image.
        mirror: whether it may flip images.
    """

    network: nn.Module
    rate: float = 0.01
    batch: int = 256
    policy: str = "dsa"
    mirror: bool = True

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """Plain gradient descent."""
        return optax.sgd(self.rate)


def epoch_steps(images: int, batch: int) -> int:
    """Steps of an epoch over so many real images."""
    return math.ceil(images / batch)


def init(recipe: Recipe, key: jax.Array, image_shape: tuple[int, int, int]) -> descent.State:
    """An expert before its first step."""
    return regression.init(sampling.sample(recipe.network, jax.random.fold_in(key, 0), image_shape), recipe.optimiser)


def step(
    member: descent.State, index: jax.Array, key: jax.Array, real: Real, *, recipe: Recipe
) -> tuple[descent.State, descent.Metrics]:
    """Step `index` of an expert, counted from its first epoch on."""
    size = len(real.images)
    epoch, turn = jnp.divmod(index, epoch_steps(size, recipe.batch))
    order = jax.random.permutation(jax.random.fold_in(jax.random.fold_in(key, 1), epoch), size)
    count = min(recipe.batch, size)
    rows = jax.lax.dynamic_slice(order, [jnp.minimum(turn * count, size - count)], [count])
    augment_key = jax.random.fold_in(jax.random.fold_in(key, 2), index)
    images = augmentation.augment(augment_key, real.images[rows], recipe.policy, recipe.mirror)
    fixed = {"network": recipe.network, "optimiser": recipe.optimiser, "loss": losses.cross_entropy}
    return regression.step(member, images, real.labels[rows], **fixed)
