"""MTT (Cazenavette et al., CVPR 2022): networks that train on S arrive where experts that train on T do.

An iteration starts from the parameters of a random expert after a random one of its first epochs, takes N steps on S,
and compares what it has with the expert some epochs later. S moves down the squared distance of the two, over that
between the expert's two epochs, and so does the one step size of the N steps.

MTT's code moves the step size by plain gradient descent, and runs end where it turns negative. Here it is multiplied by
exp(u / a) where that adds u to a: the same to first order, and always positive.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import optax
from flax import struct

from fsdd.core import descent, losses
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.methods import optimisers, unrolling


@struct.dataclass
class Moving:
    """What MTT learns: S, and the step size `[]` with which networks learn it."""

    synthetic: SyntheticSet
    step_size: jax.Array


class Figures(NamedTuple):
    """What MTT chooses by set and images per class.

    Attributes:
        inner: N, the steps on S.
        epochs: M, the expert's epochs that they stand for.
        max_start: the epochs of an expert after which an iteration may start, from 0 on.
        rate: learning rate of the images.
        step_rate: that of the step size.
        step_size: where the step size starts.
        batch: images of S in a step, at most.
    """

    inner: int
    epochs: int
    max_start: int
    rate: float
    step_rate: float
    step_size: float
    batch: int


# A batch of all of S, whatever its size.
_ALL = 10**7
# By images per class, of CIFAR-10 and of CIFAR-100.
FIGURES = {
    10: {
        1: Figures(50, 2, 2, 100.0, 1e-7, 0.01, _ALL),
        10: Figures(30, 2, 20, 100.0, 1e-5, 0.001, _ALL),
        50: Figures(30, 2, 40, 1000.0, 1e-5, 0.001, _ALL),
    },
    100: {
        1: Figures(20, 3, 20, 1000.0, 1e-5, 0.01, _ALL),
        10: Figures(20, 2, 20, 1000.0, 1e-5, 0.01, _ALL),
        50: Figures(80, 2, 40, 1000.0, 1e-5, 0.01, 125),
    },
}


def choose(classes: int, ipc: int, **given: float) -> Figures:
    """MTT's figures for CIFAR-100 from 100 classes on, else for CIFAR-10, but for those that are given and not 0.

    They are those of the nearest number of images per class that is not larger.
    """
    by_size = FIGURES[100 if classes >= 100 else 10]
    own = by_size[max(size for size in by_size if size <= ipc)]
    return own._replace(**{name: value for name, value in given.items() if value})


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How networks learn S: as `learning` says, from at most `batch` of its images in a step."""

    learning: unrolling.Learning
    batch: int


def step(moving: Moving, member: descent.State, index: jax.Array, key: jax.Array, *, recipe: Recipe) -> descent.State:
    """One step of a network on S, or on a part of it that the key draws."""
    rows_key, augment_key = jax.random.split(jax.random.fold_in(key, index))
    seen = moving.synthetic.subsample(rows_key, recipe.batch)
    return recipe.learning.step(member, seen, moving.step_size, augment_key)


def judge(member: descent.State, start: Any, target: Any) -> jax.Array:
    """The distance to the expert's later parameters, over that between its two."""
    return losses.squared_distance(member.moving, target) / losses.squared_distance(start, target)


@functools.lru_cache(8)
def build_unrolling(recipe: Recipe) -> unrolling.Unrolling:
    """The programs of MTT's loss and gradient."""
    return unrolling.Unrolling(lambda *given: step(*given, recipe=recipe), judge)


@functools.cache
def build_optimiser(rate: float, step_rate: float, momentum: float) -> optax.GradientTransformation:
    """Gradient descent of `Moving`: labels stay, and the step size stays positive."""
    moved = {
        "images": optax.sgd(rate, momentum),
        "labels": optax.set_to_zero(),
        "step size": optax.chain(optax.sgd(step_rate, momentum), optimisers.keep_positive()),
    }
    return optax.partition(moved, Moving(SyntheticSet("images", "labels"), "step size"))
