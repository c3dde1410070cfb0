"""Networks that learn a little of the set before they serve: `refine` with `updates`.

A network that a user trains on S does not stay random. FRePo keeps a pool that follows S step by step, and passes its
real images anew at each; here the networks of a group start at random, learn S as it is when the group begins, some of
them more than others, and then serve like any of a stream, their real features kept.
"""

import dataclasses
import functools

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from fsdd.core import loop
from fsdd.core.synthetic import SyntheticSet
from fsdd.methods import distillation, optimisers, regression
from fsdd.methods.nfr import Objective
from fsdd.methods.streams import Draw
from fsdd.networks import sampling


@dataclasses.dataclass(frozen=True)
class Lesson:
    """What networks learn before they serve.

    Attributes:
        updates: the most steps that one takes; those of a group are spread evenly between none and this.
        rate: learning rate of their Adam.
        batch: synthetic images that a network sees in a step, at most.
    """

    updates: int
    rate: float = 3e-4
    batch: int = 500

    def spread(self, group: int) -> list[int]:
        """Steps of each of a group's networks."""
        return [round(self.updates * (index + 0.5) / group) for index in range(group)]


@flax.struct.dataclass
class State:
    """A synthetic set on its way, and what the networks that now serve have learned.

    Attributes:
        moving: S and its optimiser.
        learned: S as it was when the present group began: a resumed run teaches the same.
        steps: int, how many were taken.
    """

    moving: distillation.State
    learned: SyntheticSet
    steps: jax.Array


def init(synthetic: SyntheticSet, optimiser: optax.GradientTransformation) -> State:
    """Start from a synthetic set."""
    return State(distillation.init(synthetic, optimiser), jax.tree.map(jnp.copy, synthetic), jnp.int32(0))


def step(
    state: State, draw: Draw, *, objective: Objective, optimiser: optax.GradientTransformation, group_steps: int
) -> tuple[State, dict[str, jax.Array]]:
    """`distillation.step`; the last of a group's steps leaves what the next group learns."""
    moving, metrics = distillation.step(state.moving, draw, objective=objective, optimiser=optimiser)
    steps = state.steps + 1
    last = steps % group_steps == 0
    learned = jax.tree.map(lambda new, old: jnp.where(last, new, old), moving.synthetic, state.learned)
    return State(moving, learned, steps), metrics


def teach(
    synthetic: SyntheticSet,
    variables: sampling.Variables,
    key: jax.Array,
    *,
    network: nn.Module,
    lesson: Lesson,
    dispatch: int = 1,
) -> sampling.Variables:
    """A group's networks, `[g, ...]` in every leaf, after they have learned a set, as networks see it, each its steps.

    `key` decides what they see of a set larger than their batch.
    """
    optimiser = optimisers.build("adam", lesson.rate)
    learn = _learner(network, lesson, dispatch)
    taught = []
    for index, count in enumerate(lesson.spread(len(jax.tree.leaves(variables)[0]))):
        member = regression.init(jax.tree.map(lambda leaf, index=index: leaf[index], variables), optimiser)
        taught.append(learn(member, count, jax.random.fold_in(key, index), synthetic).variables)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *taught)


@functools.cache
def _learner(network: nn.Module, lesson: Lesson, dispatch: int):
    """`(member, count, key, synthetic) -> member` after so many steps, compiled once for all of a run's groups."""
    optimiser = optimisers.build("adam", lesson.rate)

    def once(member, index, key, synthetic):
        seen = synthetic.some(jax.random.fold_in(key, index), lesson.batch)
        return regression.step(member, seen.images, seen.labels, network=network, optimiser=optimiser)[0]

    return loop.repeater(once, dispatch)
