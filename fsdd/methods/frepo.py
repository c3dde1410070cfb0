"""FRePo (Zhou et al., NeurIPS 2022): S moves in a pool of networks that are themselves trained on S as it moves.

Each step draws one network of the pool and a batch of real images, moves S by the NFR loss there, and trains that
network one step on S. A network that has been trained often enough gives way to a fresh one; ages start staggered, so
that they do not all go at once.
"""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
import optax

from fsdd.core import chunks, compilation, descent
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.methods import distillation, optimisers, regression
from fsdd.methods.nfr import Objective
from fsdd.methods.streams import Draw, Real
from fsdd.networks import sampling

# How the learning rate of a pool's network goes: that of FRePo's JAX code, and that of its PyTorch code.
SCHEDULES = ("constant", "warmup_times_cosine")
# Over so many steps FRePo's PyTorch code lets the rate rise, of which a network takes a hundred: it stays far below.
_WARMUP = 500


@dataclasses.dataclass(frozen=True)
class Pool:
    """How the pool is kept.

    Attributes:
        size: networks in it.
        updates: after how many steps of its own a network gives way to a fresh one.
        rate: learning rate of its networks' Adam.
        batch: synthetic images that a network sees in a step, at most.
        schedule: one of `SCHEDULES`: `rate` throughout, or a rise towards it chained with a cosine over `updates`.
    """

    size: int = 10
    updates: int = 100
    rate: float = 3e-4
    batch: int = 500
    schedule: str = "constant"

    def ages(self) -> jax.Array:
        """How many steps each network counts at the start, int `[size]`."""
        return jnp.arange(self.size) * (self.updates // self.size)

    def replaced(self, steps: int, ages: jax.Array) -> int:
        """How many networks gave way to fresh ones in so many steps, at whose end their ages are these.

        Ages count from where they started up to `updates`, then from nought again.
        """
        return (int(self.ages().sum()) + steps - int(ages.sum())) // self.updates

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """What trains its networks."""
        return optimisers.build("adam", self.rates)

    @property
    def rates(self) -> optax.Schedule:
        """The learning rate of a network at each of its own steps."""
        if self.schedule == "constant":
            return optax.constant_schedule(self.rate)
        return optimisers.chained_cosine(self.rate, _WARMUP, self.updates)


@flax.struct.dataclass
class Members:
    """The networks of a pool.

    Attributes:
        networks: their states in training, `[p, ...]` in every leaf.
        ages: int `[p]`, how many steps each counts.
    """

    networks: descent.State
    ages: jax.Array


def init(
    synthetic: SyntheticSet,
    optimiser: optax.GradientTransformation,
    objective: Objective,
    pool: Pool,
    key: jax.Array,
    image_shape: tuple[int, int, int],
) -> descent.State:
    """Start from a synthetic set and fresh networks whose ages are staggered, for images of shape `(h, w, c)`.

    The synthetic set moves; the rest is the pool's `Members`.
    """
    fresh = compilation.jit(jax.vmap(lambda one: _fresh(objective, pool, one, image_shape)))
    members = Members(fresh(jax.random.split(key, pool.size)), pool.ages())
    return descent.init(synthetic, optimiser, members)


def _fresh(objective: Objective, pool: Pool, key: jax.Array, image_shape: tuple[int, int, int]) -> descent.State:
    return regression.init(sampling.sample(objective.network, key, image_shape), pool.optimiser)


def step(
    state: descent.State,
    key: jax.Array,
    real: Real,
    *,
    objective: Objective,
    optimiser: optax.GradientTransformation,
    pool: Pool,
    batch: int = 1024,
    chunk: int = 1024,
) -> tuple[descent.State, descent.Metrics]:
    """One update of S on `batch` random real images in a random network, and one of that network on S."""
    turn_key, rows_key, seen_key, fresh_key = jax.random.split(key, 4)
    members = state.rest
    turn = jax.random.randint(turn_key, (), 0, pool.size)
    member = jax.tree.map(lambda leaf: leaf[turn], members.networks)
    variables = regression.variables(member)
    rows = jax.random.randint(rows_key, (batch,), 0, len(real.images))
    features = chunks.map_chunks_within(
        lambda some: sampling.features(objective.real_network, variables, real.images[some]), rows, chunk
    )
    draw, settings = Draw(variables, features, real.labels[rows]), {"objective": objective, "pool": pool}
    moving = descent.State(state.moving, (), state.optimiser)
    moving, member, metrics = move(moving, member, draw, seen_key, optimiser=optimiser, **settings)
    age = members.ages[turn] + 1
    grown = age >= pool.updates
    member = jax.lax.cond(grown, lambda: _fresh(objective, pool, fresh_key, real.images.shape[1:]), lambda: member)
    networks = jax.tree.map(lambda leaf, one: leaf.at[turn].set(one), members.networks, member)
    members = Members(networks, members.ages.at[turn].set(jnp.where(grown, 0, age)))
    return descent.State(moving.moving, members, moving.optimiser), metrics


def move(
    moving: descent.State,
    member: descent.State,
    draw: Draw,
    key: jax.Array,
    *,
    objective: Objective,
    optimiser: optax.GradientTransformation,
    pool: Pool,
) -> tuple[descent.State, descent.State, descent.Metrics]:
    """S by the loss of a draw in a network, then the network by S as it now is, or by a part of it that `key` draws."""
    moving, metrics = distillation.step(moving, (draw,), objective=objective, optimiser=optimiser)
    seen = moving.moving.subsample(key, pool.batch)
    images = seen.decoded(objective.factor).images
    member, _ = regression.step(member, images, seen.labels, network=objective.network, optimiser=pool.optimiser)
    return moving, member, metrics
