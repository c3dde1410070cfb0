"""DD (Wang et al., 2018): a few steps on S, each on images and at a step size of its own, train a fresh network.

An iteration takes a fresh network and a batch of real images, unrolls the steps, and moves images and step sizes down
the cross-entropy of the real images in the network as it then is. Step k sees image k of each class, and begins again
with the first after the last, for some epochs. Step sizes are softplus of what moves, so that they stay positive.
"""

import functools

import jax
import jax.numpy as jnp
import optax
from flax import struct

from fsdd.core import descent
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.methods import unrolling
from fsdd.methods.streams import Real
from fsdd.networks import sampling


@struct.dataclass
class Moving:
    """What DD learns: S, sorted by class, and a raw step size for each step, `[T]`."""

    synthetic: SyntheticSet
    raw: jax.Array

    @property
    def step_sizes(self) -> jax.Array:
        """`[T]`, positive."""
        return jax.nn.softplus(self.raw)


def init(synthetic: SyntheticSet, epochs: int, step_size: float) -> Moving:
    """What DD starts from: all steps of one size; they are as many as images of a class, times the epochs."""
    steps = epochs * len(synthetic) // synthetic.labels.shape[1]
    return Moving(synthetic, jnp.full(steps, jnp.log(jnp.expm1(step_size)), synthetic.images.dtype))


def step(
    moving: Moving, member: descent.State, index: jax.Array, key: jax.Array, *, learning: unrolling.Learning
) -> descent.State:
    """Step `index` of a network, on its image of each class."""
    synthetic = moving.synthetic
    classes = synthetic.labels.shape[1]
    each = len(synthetic) // classes
    rows = index % each + each * jnp.arange(classes)
    seen = SyntheticSet(synthetic.images[rows], synthetic.labels[rows])
    return learning.step(member, seen, moving.step_sizes[index], jax.random.fold_in(key, index))


def draw(
    key: jax.Array, real: Real, *, learning: unrolling.Learning, count: int
) -> tuple[descent.State, tuple[jax.Array, jax.Array]]:
    """A fresh network, and `count` random real images and their labels that judge it."""
    network_key, rows_key = jax.random.split(key)
    variables = sampling.sample(learning.network, network_key, real.images.shape[1:])
    rows = jax.random.randint(rows_key, (count,), 0, len(real.images))
    return learning.begin(variables), (real.images[rows], real.labels[rows])


@functools.lru_cache(8)
def build_unrolling(learning: unrolling.Learning) -> unrolling.Unrolling:
    """The programs of DD's loss and gradient."""
    return unrolling.Unrolling(lambda *given: step(*given, learning=learning), learning.cross_entropy)


@functools.cache
def build_optimiser(steps: int, rate: float) -> optax.GradientTransformation:
    """Adam of `Moving`, without much memory of gradients, at a rate that halves after each tenth of the steps."""
    halved = {tenth * steps // 10: 0.5 for tenth in range(1, 10) if tenth * steps // 10}
    adam = optax.adam(optax.piecewise_constant_schedule(rate, halved), b1=0.5)
    parts = Moving(SyntheticSet("moved", "labels"), "moved")
    return optax.partition({"moved": adam, "labels": optax.set_to_zero()}, parts)
