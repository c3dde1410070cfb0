"""The translator moves: adaptation to a target set, pre-training on cached subsets (Alg. 2), and auto-encoding."""

from collections.abc import Callable, Iterator, Sequence

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from fsdd.core import compiling, loop, losses
from fsdd.core.synthetic import Mask, SyntheticSet, decode, encode
from fsdd.methods.nfr import Objective
from fsdd.methods.streams import Draw
from fsdd.networks.translator import Translator

STATISTICS = ("batch", "running")


@flax.struct.dataclass
class Moving:
    """What the gradient reaches: the translator's parameters and, per source set, its labels `[n, classes]`.

    In pre-training no labels move: there are none.
    """

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


@flax.struct.dataclass
class Case:
    """A synthetic set to translate, and the network and real rows that judge it.

    Attributes:
        source: S'.
        draw: a network, and real features with their labels.
        mask: what of S' is no padding; None if there is none.
    """

    source: SyntheticSet
    draw: Draw
    mask: Mask | None = None


def loss(
    params: dict, batch_stats: dict, cases: Sequence[Case], translator: Translator, objective: Objective
) -> tuple[jax.Array, tuple[dict, dict]]:
    """Mean over cases of the loss of their translated sets; with it its parts and the new running statistics.

    Each set is normalised by its own statistics: it is a batch of its own. Running statistics move towards the mean
    over cases, so that it does not matter in which order, or on which devices, they are.
    """
    variables, found = {"params": params, "batch_stats": batch_stats}, []
    for case in cases:
        rows = case.mask and case.mask.rows
        images, updated = translator.apply(
            variables, decode(case.source.images, objective.factor), rows=rows, mutable=["batch_stats"]
        )
        stored = case.source.replace(images=encode(images, objective.factor))
        value, parts = objective(stored, case.draw, case.mask)
        found.append((value, (parts, updated["batch_stats"])))
    return jax.tree.map(lambda *values: sum(values) / len(values), *found)


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

    def of(moving):
        pairs = zip(sources, moving.labels, strict=True)
        cases = [Case(source.replace(labels=labels), draw) for source, labels in pairs]
        return loss(moving.params, state.batch_stats, cases, translator, objective)

    return _update(state, *jax.value_and_grad(of, has_aux=True)(state.moving), optimiser)


def _update(state: State, found, gradient: Moving, optimiser: optax.GradientTransformation) -> tuple[State, dict]:
    value, (parts, stats) = found
    updates, moments = optimiser.update(gradient, state.optimiser, state.moving)
    moving = optax.apply_updates(state.moving, updates)
    return State(moving, stats, moments), {"loss": value, **parts}


def pretrain(
    state: State,
    cases: Case,
    *,
    translator: Translator,
    objective: Objective,
    optimiser: optax.GradientTransformation,
    axis: str | None = None,
) -> tuple[State, dict[str, jax.Array]]:
    """One update on B subsets, each in a network of its own.

    Args:
        state: without labels: those of S' stay as they are.
        cases: `[b, ...]` in every leaf.
        translator: G.
        objective: the NFR loss.
        optimiser: moves the translator.
        axis: the mesh axis over which the batch is spread, if any; gradients are averaged over it.
    """
    each = _apart(cases)

    def of(moving):
        return loss(moving.params, state.batch_stats, each, translator, objective)

    found, gradient = jax.value_and_grad(of, has_aux=True)(state.moving)
    if axis is not None:
        found, gradient = jax.lax.pmean((found, gradient), axis)
    return _update(state, found, gradient, optimiser)


def _apart(cases: Case) -> list[Case]:
    """Stacked cases one by one, not to be vmapped: a convolution with a kernel for each network is slow everywhere."""
    return [jax.tree.map(lambda leaf, at=at: leaf[at], cases) for at in range(len(cases.draw.labels))]


def judge(
    variables: dict, cases: Case, *, translator: Translator, objective: Objective, axis: str | None = None
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """The parts of the loss of stacked cases, translated and as they are: means over them, and over a mesh axis."""
    each = _apart(cases)
    _, (translated, _) = loss(variables["params"], variables["batch_stats"], each, translator, objective)
    plain = [objective(case.source, case.draw, case.mask)[1] for case in each]
    found = translated, jax.tree.map(lambda *values: sum(values) / len(values), *plain)
    return found if axis is None else jax.lax.pmean(found, axis)


def translate(
    translator: Translator,
    variables: dict,
    source: SyntheticSet,
    statistics: str = "batch",
    *,
    factor: int = 1,
    chunk: int = 500,
) -> SyntheticSet:
    """S = G(S'): images translated, labels as they are.

    Args:
        translator: G.
        variables: of G.
        source: S', of any size.
        statistics: what G's BatchNorm uses: "batch", those of the whole set, as in training, or "running".
        factor: of `encode`; G acts on decoded images.
        chunk: images that pass at once; the result does not depend on it but for rounding.
    """
    chunks = [source.images[at : at + chunk] for at in range(0, len(source), chunk)]
    if statistics == "batch":
        variables = _with_statistics(translator, variables, chunks, factor)

    @compiling.jit
    def apply(images):
        return encode(translator.apply(variables, decode(images, factor), train=False), factor)

    return source.replace(images=jnp.concatenate([apply(images) for images in chunks]))


def _with_statistics(translator: Translator, variables: dict, chunks: list[jax.Array], factor: int) -> dict:
    """`variables` with the statistics of all chunks: a pass for each norm, since it sees what those before it leave."""

    @compiling.jit
    def moments(stats, images):
        """Means of what reaches each norm, and of its square, `[2, channels]`."""
        _, seen = translator.apply(
            {**variables, "batch_stats": stats},
            decode(images, factor),
            train=False,
            mutable=["intermediates"],
            capture_intermediates=lambda module, _: isinstance(module, nn.Conv),
        )
        names = [f"Conv_{index}" for index in range(len(stats))]
        inputs = [seen["intermediates"][name]["__call__"][0] for name in names]
        return [jnp.stack([jnp.mean(x, (0, 1, 2)), jnp.mean(jnp.square(x), (0, 1, 2))]) for x in inputs]

    sizes, stats = jnp.asarray([len(images) for images in chunks]), dict(variables["batch_stats"])
    for norm in range(len(stats)):
        found = jnp.stack([moments(stats, images)[norm] for images in chunks])
        mean, square = jnp.einsum("k,kmc->mc", sizes / jnp.sum(sizes), found)
        stats[f"BatchNorm_{norm}"] = {"mean": mean, "var": jnp.maximum(square - jnp.square(mean), 0)}
    return {**variables, "batch_stats": stats}


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

    def error(params):
        output, updated = translator.apply({**state.variables, "params": params}, images, mutable=["batch_stats"])
        flat = (len(images), -1)
        return losses.squared_error(output.reshape(flat), images.reshape(flat)) / images[0].size, updated

    (value, updated), gradient = jax.value_and_grad(error, has_aux=True)(state.variables["params"])
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

    size = loop.steps_per_dispatch(dispatch, steps, start)
    many = loop.dispatcher(on_batch, size)
    for position in range(start, steps, size):
        state, metrics = many(state, jnp.int32(position), images)
        yield position + size, state, metrics
