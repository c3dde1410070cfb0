"""The translator moves: adaptation to a target set (Alg. 2, lines 11-15), and its start as an auto-encoder."""

from collections.abc import Callable, Iterator

import flax.struct
import jax
import jax.numpy as jnp
import optax

from fsdd.core import loop, losses
from fsdd.core.synthetic import SyntheticSet
from fsdd.methods.nfr import Objective
from fsdd.methods.streams import Draw
from fsdd.networks.translator import Translator

STATISTICS = ("batch", "running")


@flax.struct.dataclass
class Moving:
    """What the gradient reaches: the translator's parameters and, per source set, its labels `[n, classes]`."""

    params: dict
    labels: tuple[jax.Array, ...]


@flax.struct.dataclass
class State:
    """A translator on its way.

    Attributes:
        moving: parameters and labels.
        batch_stats: running statistics of the translator's BatchNorm.
        optimiser: optax's state for `moving`.
    """

    moving: Moving
    batch_stats: dict
    optimiser: optax.OptState


def optimiser(translator: optax.GradientTransformation, labels: optax.GradientTransformation | None):
    """One transformation for `Moving`; labels that do not move are frozen."""
    return optax.multi_transform(
        {"translator": translator, "labels": labels or optax.set_to_zero()}, Moving("translator", "labels")
    )


def init(variables: dict, sources: tuple[SyntheticSet, ...], optimiser: optax.GradientTransformation) -> State:
    """Start from a translator's variables; `sources` are S' at one or several IPCs."""
    moving = Moving(variables["params"], tuple(source.labels for source in sources))
    return State(moving, variables["batch_stats"], optimiser.init(moving))


def fresh(translator: Translator, key: jax.Array, image_shape: tuple[int, int, int]) -> dict:
    """Variables of a random translator (the identity, if it is residual)."""
    return translator.init(key, jnp.zeros((1, *image_shape)))


def step(
    state: State,
    draw: Draw,
    *,
    sources: tuple[SyntheticSet, ...],
    translator: Translator,
    objective: Objective,
    optimiser: optax.GradientTransformation,
) -> tuple[State, dict[str, jax.Array]]:
    """One update on one draw; the loss is the mean over the source sets, which all see the same network."""

    def loss(moving):
        total, parts, stats = 0.0, [], state.batch_stats
        for source, labels in zip(sources, moving.labels, strict=True):
            variables = {"params": moving.params, "batch_stats": stats}
            images, updated = translator.apply(variables, source.images, mutable=["batch_stats"])
            stats = updated["batch_stats"]
            value, part = objective(SyntheticSet(images, labels), draw)
            total, parts = total + value / len(sources), [*parts, part]
        mean = jax.tree.map(lambda *values: sum(values) / len(values), *parts)
        return total, (mean, stats)

    (value, (parts, stats)), gradient = jax.value_and_grad(loss, has_aux=True)(state.moving)
    updates, moments = optimiser.update(gradient, state.optimiser, state.moving)
    moving = optax.apply_updates(state.moving, updates)
    return State(moving, stats, moments), {"loss": value, **parts}


def translate(translator: Translator, variables: dict, source: SyntheticSet, statistics: str = "batch") -> SyntheticSet:
    """S = G(S'): images translated, labels as they are.

    `statistics` is what the translator's BatchNorm uses: "batch", the set's own, as in training, or "running".
    """
    if statistics == "running":
        return source.replace(images=translator.apply(variables, source.images, train=False))
    return source.replace(images=translator.apply(variables, source.images, mutable=["batch_stats"])[0])


@flax.struct.dataclass
class AutoEncoderState:
    """A translator that learns to reconstruct: its variables and optax's state."""

    variables: dict
    optimiser: optax.OptState


def init_autoencoder(variables: dict, optimiser: optax.GradientTransformation) -> AutoEncoderState:
    """Start from a translator's variables."""
    return AutoEncoderState(variables, optimiser.init(variables["params"]))


def reconstruct(
    state: AutoEncoderState, images: jax.Array, *, translator: Translator, optimiser: optax.GradientTransformation
) -> tuple[AutoEncoderState, dict[str, jax.Array]]:
    """One update towards G(x) = x on real images `[b, h, w, c]` (the `w AE` row)."""

    def loss(params):
        output, updated = translator.apply({**state.variables, "params": params}, images, mutable=["batch_stats"])
        flat = (len(images), -1)
        return losses.squared_error(output.reshape(flat), images.reshape(flat)) / images[0].size, updated

    (value, updated), gradient = jax.value_and_grad(loss, has_aux=True)(state.variables["params"])
    updates, moments = optimiser.update(gradient, state.optimiser, state.variables["params"])
    variables = {"params": optax.apply_updates(state.variables["params"], updates), **updated}
    return AutoEncoderState(variables, moments), {"loss": value}


def autoencode(
    step: Callable, state: AutoEncoderState, images: jax.Array, key: jax.Array, *, batch: int, steps: int,
    start: int = 0, dispatch: int = 1,
) -> Iterator[tuple[int, AutoEncoderState, dict]]:  # fmt: skip
    """Drive `reconstruct` over random batches of real images; yields like `streams.run`."""

    def on_batch(carry, index, images):
        rows = jax.random.randint(jax.random.fold_in(key, index), (batch,), 0, len(images))
        return step(carry, images[rows])

    size = loop.steps_per_dispatch(dispatch, steps)
    many = loop.dispatcher(on_batch, size)
    for position in range(start, steps, size):
        state, metrics = many(state, jnp.int32(position), images)
        yield position + size, state, metrics
