"""FRePo (Zhou et al., NeurIPS 2022): S moves in a pool of networks that are themselves trained on S as it moves.

Each step draws one network of the pool and a batch of real images, moves S by the NFR loss there, and trains that
network one step on S. A network that has been trained often enough gives way to a fresh one; ages start staggered, so
that they do not all go at once.
"""

import dataclasses
from collections.abc import Iterator

import flax.struct
import jax
import jax.numpy as jnp
import optax

from fsdd.core import compiling, loop
from fsdd.core.synthetic import SyntheticSet
from fsdd.methods import distillation, optimisers, regression
from fsdd.methods.nfr import Objective
from fsdd.methods.streams import Draw, Real
from fsdd.networks import sampling

# Both of FRePo's codes let the rate of a pool's network rise over this many steps: it never reaches its peak.
_WARMUP = 500


@dataclasses.dataclass(frozen=True)
class Pool:
    """How the pool is kept.

    Attributes:
        size: networks in it.
        updates: after how many steps of its own a network gives way to a fresh one.
        rate: peak learning rate of its networks' Adam.
        batch: synthetic images that a network sees in a step, at most.
    """

    size: int = 10
    updates: int = 100
    rate: float = 3e-4
    batch: int = 500

    def ages(self) -> jax.Array:
        """How many steps each network counts at the start, int `[size]`."""
        return jnp.arange(self.size) * (self.updates // self.size)

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """What trains its networks."""
        return optimisers.build("adam", optax.linear_schedule(0.0, self.rate, _WARMUP))


@flax.struct.dataclass
class State:
    """A synthetic set and the networks that follow it.

    Attributes:
        moving: S and its optimiser.
        members: the pool's networks in training, `[p, ...]` in every leaf.
        ages: int `[p]`, how many steps each counts.
    """

    moving: distillation.State
    members: regression.State
    ages: jax.Array


def init(
    synthetic: SyntheticSet,
    optimiser: optax.GradientTransformation,
    objective: Objective,
    pool: Pool,
    key: jax.Array,
    image_shape: tuple[int, int, int],
) -> State:
    """Start from a synthetic set and fresh networks whose ages are staggered, for images of shape `(h, w, c)`."""
    fresh = compiling.jit(jax.vmap(lambda one: _fresh(objective, pool, one, image_shape)))
    return State(distillation.init(synthetic, optimiser), fresh(jax.random.split(key, pool.size)), pool.ages())


def _fresh(objective: Objective, pool: Pool, key: jax.Array, image_shape: tuple[int, int, int]) -> regression.State:
    return regression.init(sampling.sample(objective.network, key, image_shape), pool.optimiser)


def step(
    state: State,
    key: jax.Array,
    real: Real,
    *,
    objective: Objective,
    optimiser: optax.GradientTransformation,
    pool: Pool,
    batch: int = 1024,
    chunk: int = 1024,
) -> tuple[State, dict[str, jax.Array]]:
    """One update of S on `batch` random real images in a random network, and one of that network on S."""
    turn_key, rows_key, seen_key, fresh_key = jax.random.split(key, 4)
    turn = jax.random.randint(turn_key, (), 0, pool.size)
    member = jax.tree.map(lambda leaf: leaf[turn], state.members)
    rows = jax.random.randint(rows_key, (batch,), 0, len(real.images))
    draw = Draw(member.variables, _features(objective, member, real.images, rows, chunk), real.labels[rows])
    moving, member, metrics = move(
        state.moving, member, draw, seen_key, objective=objective, optimiser=optimiser, pool=pool
    )
    age = state.ages[turn] + 1
    grown = age >= pool.updates
    member = jax.lax.cond(grown, lambda: _fresh(objective, pool, fresh_key, real.images.shape[1:]), lambda: member)
    members = jax.tree.map(lambda leaf, one: leaf.at[turn].set(one), state.members, member)
    return State(moving, members, state.ages.at[turn].set(jnp.where(grown, 0, age))), metrics


def move(
    moving: distillation.State,
    member: regression.State,
    draw: Draw,
    key: jax.Array,
    *,
    objective: Objective,
    optimiser: optax.GradientTransformation,
    pool: Pool,
) -> tuple[distillation.State, regression.State, dict[str, jax.Array]]:
    """S by the loss of a draw in a network, then the network by S as it now is, or by some of it that `key` draws."""
    moving, metrics = distillation.step(moving, draw, objective=objective, optimiser=optimiser)
    seen = moving.synthetic.some(key, pool.batch)
    images = seen.decoded(objective.factor).images
    member, _ = regression.step(member, images, seen.labels, network=objective.network, optimiser=pool.optimiser)
    return moving, member, metrics


def _features(objective: Objective, member: regression.State, images: jax.Array, rows: jax.Array, chunk: int):
    chunks = [
        sampling.features(objective.network, member.variables, images[rows[at : at + chunk]])
        for at in range(0, len(rows), chunk)
    ]
    return jnp.concatenate(chunks)


def run(
    state: State, key: jax.Array, real: Real, steps: int, *, start: int = 0, dispatch: int = 1, **settings
) -> Iterator[tuple[int, State, dict]]:
    """Drive `step`, whose `settings` these are, to `steps`; yields like `streams.run`."""
    size = loop.steps_per_dispatch(dispatch, steps, start)
    many = loop.dispatcher(lambda carry, t, real: step(carry, jax.random.fold_in(key, t), real, **settings), size)
    for position in range(start, steps, size):
        state, metrics = many(state, jnp.int32(position), real)
        yield position + size, state, metrics
