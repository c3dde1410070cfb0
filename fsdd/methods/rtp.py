"""RTP (Deng and Russakovsky, NeurIPS 2022): networks that train on S with momentum do well on T.

An iteration takes a fresh network and a batch of real images, unrolls many steps of the network on S, each on some of
its images, and moves S down the cross-entropy of the real images in the network as it then is.

S may be stored as bases that all classes share: images of half the side, of which each image is a sum with
coefficients of its own, enlarged.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import optax
from flax import struct

from fsdd.core import descent
from fsdd.core.synthetic_set import SyntheticSet, decode
from fsdd.methods import class_batches, unrolling
from fsdd.methods.class_batches import Classes
from fsdd.methods.streams import Real
from fsdd.networks import sampling

# Side of an image over that of a basis.
BASIS_FACTOR = 2


@struct.dataclass
class Bases:
    """S as sums of bases.

    Attributes:
        bases: `[b, h / 2, w / 2, c]`.
        coefficients: `[n, b]`, sorted by class.
        labels: `[n, classes]`; they stay.
    """

    bases: jax.Array
    coefficients: jax.Array
    labels: jax.Array

    def recall(self) -> SyntheticSet:
        """The images that they stand for."""
        images = jnp.tensordot(self.coefficients, self.bases, 1)
        return SyntheticSet(decode(images, BASIS_FACTOR), self.labels)


Stored = SyntheticSet | Bases


def recall(stored: Stored) -> SyntheticSet:
    """The set of what is stored, which may be itself."""
    return stored.recall() if isinstance(stored, Bases) else stored


def draw_bases(key: jax.Array, count: int, image_shape: tuple[int, int, int], labels: jax.Array) -> Bases:
    """`count` bases of images `(h, w, c)`, and coefficients for labels `[n, classes]`, both uniform as Xavier's."""
    (height, width, channels), (basis_key, key) = image_shape, jax.random.split(key)
    shape = count, height // BASIS_FACTOR, width // BASIS_FACTOR, channels
    values = math.prod(shape[1:])
    bases = uniform(basis_key, (count, values)).reshape(shape)
    return Bases(bases, uniform(key, (len(labels), count)), labels)


def uniform(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Xavier's uniform draw of a matrix: within the root of 6 over the sum of its sides."""
    return jax.random.uniform(key, shape, minval=-1, maxval=1) * math.sqrt(6 / sum(shape))


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How networks learn S, and what judges them.

    Attributes:
        learning: what steps share.
        rate: learning rate of networks.
        batch: images of each class in a step, at most.
        real: real images of each class that judge a network.
    """

    learning: unrolling.Learning
    rate: float = 0.01
    batch: int = 10
    real: int = 64


def step(stored: Stored, member: descent.State, index: jax.Array, key: jax.Array, *, recipe: Recipe) -> descent.State:
    """One step of a network on random images of S, as many of each class."""
    rows_key, augment_key = jax.random.split(jax.random.fold_in(key, index))
    synthetic = recall(stored)
    return recipe.learning.step(member, some_of_each(synthetic, recipe.batch, rows_key), recipe.rate, augment_key)


def some_of_each(synthetic: SyntheticSet, count: int, key: jax.Array) -> SyntheticSet:
    """`count` random images of each class, or all where there are no more; sorted by class as they were."""
    classes = synthetic.labels.shape[1]
    each = len(synthetic) // classes
    if each <= count:
        return synthetic
    orders = jax.vmap(lambda own: jax.random.permutation(own, each)[:count])(jax.random.split(key, classes))
    rows = (orders + each * jnp.arange(classes)[:, None]).reshape(-1)
    return SyntheticSet(synthetic.images[rows], synthetic.labels[rows])


def draw(
    key: jax.Array, real: Real, classes: Classes, *, recipe: Recipe
) -> tuple[descent.State, tuple[jax.Array, jax.Array]]:
    """A fresh network, and the real images and labels that judge it."""
    network_key, rows_key = jax.random.split(key)
    variables = sampling.sample(recipe.learning.network, network_key, real.images.shape[1:])
    rows = class_batches.draw(classes, recipe.real, rows_key).reshape(-1)
    return recipe.learning.begin(variables), (real.images[rows], real.labels[rows])


@functools.lru_cache(8)
def build_unrolling(recipe: Recipe) -> unrolling.Unrolling:
    """The programs of RTP's loss and gradient."""
    return unrolling.Unrolling(lambda *given: step(*given, recipe=recipe), recipe.learning.cross_entropy)


@functools.cache
def build_optimiser(rate: float, momentum: float, clip: float) -> optax.GradientTransformation:
    """Gradient descent of what is stored, labels apart, by gradients of a norm of at most `clip`."""
    moving = optax.chain(optax.clip_by_global_norm(clip), optax.sgd(rate, momentum))

    def parts(stored):
        moved = jax.tree.map(lambda _: "moved", stored)
        return moved.replace(labels="held")

    return optax.partition({"moved": moving, "held": optax.set_to_zero()}, parts)


def count_numbers(stored: Stored) -> int:
    """How many numbers it stores for images."""
    return sum(leaf.size for leaf in jax.tree.leaves(stored.replace(labels=None)))
