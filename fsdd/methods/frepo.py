"""FRePo (Zhou et al., NeurIPS 2022): S moves in a pool of networks that are themselves trained on S as it moves.

Each step draws one network of the pool and a batch of real images, moves S by the NFR loss there, and trains that
network one step on S. A network that has been trained often enough gives way to a fresh one; ages start staggered, so
that they do not all go at once.
"""

import dataclasses
import functools
from collections.abc import Sequence

import flax.struct
import jax
import jax.numpy as jnp
import optax

from fsdd.core import chunks, compilation, descent, mesh
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
        at_once: networks that serve a step together, at most `size`; the devices of the host share them.
    """

    size: int = 10
    updates: int = 100
    rate: float = 3e-4
    batch: int = 500
    schedule: str = "constant"
    at_once: int = 1

    def choose(self, key: jax.Array) -> jax.Array:
        """Which networks serve a step, int `[at_once]`: a random one, and those at even distances from it."""
        first = jax.random.randint(key, (), 0, self.size)
        return (first + jnp.arange(self.at_once) * self.size // self.at_once) % self.size

    def ages(self) -> jax.Array:
        """How many steps each network counts at the start, int `[size]`."""
        return jnp.arange(self.size) * (self.updates // self.size)

    def replaced(self, steps: int, ages: jax.Array) -> int:
        """How many networks gave way to fresh ones in so many steps, at whose end their ages are these.

        Ages count from where they started up to `updates`, then from nought again.
        """
        return (int(self.ages().sum()) + steps * self.at_once - int(ages.sum())) // self.updates

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
    fresh = compilation.jit(compilation.bind(_fresh_ones, objective=objective, pool=pool, shape=image_shape))
    members = Members(fresh(jax.random.split(key, pool.size)), pool.ages())
    return descent.init(synthetic, optimiser, members)


def _fresh_ones(keys: jax.Array, *, objective: Objective, pool: Pool, shape: tuple[int, int, int]) -> descent.State:
    return jax.vmap(lambda key: _fresh(objective, pool, key, shape))(keys)


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
    """One update of S on `batch` random real images in a random network, and one of that network on S.

    Of several networks at once each has real images of its own; S follows their mean gradient.
    """
    members, spread = state.rest, mesh.build_local_mesh(pool.at_once)
    keys = jax.vmap(lambda key: jax.random.split(key, 4))(_lane_keys(key, pool.at_once))
    turns = pool.choose(keys[0, 0])

    def on_device(networks, ages, keys, moving, real):
        lanes = range(len(ages))
        own = [jax.tree.map(lambda leaf, lane=lane: leaf[lane], networks) for lane in lanes]
        draws = [
            _draw(objective, member, real, keys[lane, 1], batch, chunk) for lane, member in zip(lanes, own, strict=True)
        ]
        settings = {"objective": objective, "optimiser": optimiser, "pool": pool, "axis": mesh.axis(spread)}
        moving, own, metrics = move(moving, own, draws, keys[:, 2], **settings)
        shape = real.images.shape[1:]
        own = [
            _renew(objective, pool, one, ages[lane], keys[lane, 3], shape) for lane, one in zip(lanes, own, strict=True)
        ]
        networks, ages = jax.tree.map(lambda *leaves: jnp.stack(leaves), *own)
        return moving, metrics, *mesh.gather_lanes((networks, ages), spread)

    own, ages = jax.tree.map(lambda leaf: leaf[turns], (members.networks, members.ages))
    moving, metrics, own, ages = mesh.map_lanes(on_device, spread, lanes=3, reduced=True)(
        own, ages, keys, descent.State(state.moving, (), state.optimiser), real
    )
    networks = jax.tree.map(lambda leaf, some: leaf.at[turns].set(some), members.networks, own)
    return descent.State(moving.moving, Members(networks, members.ages.at[turns].set(ages)), moving.optimiser), metrics


def _lane_keys(key: jax.Array, count: int) -> jax.Array:
    """A key for each network of a step, `[count]`: the first has the step's own."""
    others = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(1, count))
    return jnp.concatenate([key[None], others]) if count > 1 else key[None]


def _draw(objective: Objective, member: descent.State, real: Real, key: jax.Array, batch: int, chunk: int) -> Draw:
    """A network of the pool, and so many random real images in it."""
    variables = regression.variables(member)
    rows = jax.random.randint(key, (batch,), 0, len(real.images))
    features = chunks.map_chunks_within(
        lambda some: sampling.features(objective.real_network, variables, real.images[some]), rows, chunk
    )
    return Draw(variables, features, real.labels[rows])


def _renew(
    objective: Objective, pool: Pool, member: descent.State, age: jax.Array, key: jax.Array, shape: tuple[int, int, int]
) -> tuple[descent.State, jax.Array]:
    """A network after its step, or a fresh one if it is grown; and its age."""
    grown = age + 1 >= pool.updates
    member = jax.lax.cond(grown, lambda: _fresh(objective, pool, key, shape), lambda: member)
    return member, jnp.where(grown, 0, age + 1)


def move(
    moving: descent.State,
    members: Sequence[descent.State],
    draws: Sequence[Draw],
    keys: jax.Array,
    *,
    objective: Objective,
    optimiser: optax.GradientTransformation,
    pool: Pool,
    axis: str | None = None,
) -> tuple[descent.State, list[descent.State], descent.Metrics]:
    """S by the mean loss of draws, then their networks by S as it now is, or by a part of it that a key draws."""
    moving, metrics = distillation.step(moving, draws, objective=objective, optimiser=optimiser, axis=axis)
    moved = []
    for member, key in zip(members, keys, strict=True):
        seen = moving.moving.subsample(key, pool.batch)
        images = seen.decoded(objective.factor).images
        after, _ = regression.step(member, images, seen.labels, network=objective.network, optimiser=pool.optimiser)
        moved.append(after)
    return moving, moved, metrics
