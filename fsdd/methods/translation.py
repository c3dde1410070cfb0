"""The translator moves: adaptation to a target set, and pre-training on cached subsets (Alg. 2)."""

import functools
from collections.abc import Callable, Sequence

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from fsdd.core import compilation, descent
from fsdd.core.synthetic_set import Mask, SyntheticSet, decode, encode
from fsdd.methods.nfr import Objective
from fsdd.methods.streams import Draw
from fsdd.networks.translator import Translator

STATISTICS = ("batch", "running")
# Images of a set that are translated at once.
CHUNK = 500


@flax.struct.dataclass
class Moving:
    """What the gradient reaches: the translator's parameters and, per source set, its labels `[n, classes]`.

    In pre-training no labels move: there are none.
    """

    params: dict
    labels: tuple[jax.Array, ...]


@functools.cache
def build_optimiser(
    translator: optax.GradientTransformation, labels: optax.GradientTransformation | None
) -> optax.GradientTransformation:
    """One transformation for `Moving`; labels that do not move are frozen."""
    return optax.multi_transform(
        {"translator": translator, "labels": labels or optax.set_to_zero()}, Moving("translator", "labels")
    )


def init(variables: dict, sources: tuple[SyntheticSet, ...], optimiser: optax.GradientTransformation) -> descent.State:
    """Start from a translator's variables; `sources` are S' at one or several IPCs.

    A `Moving` moves; the running statistics of the translator's BatchNorm are the rest.
    """
    moving = Moving(variables["params"], tuple(source.labels for source in sources))
    return descent.init(moving, optimiser, variables["batch_stats"])


def variables(state: descent.State) -> dict:
    """The translator's variables."""
    return {"params": state.moving.params, "batch_stats": state.rest}


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


def mean_loss(
    params: dict, batch_stats: dict, cases: Sequence[Case], translator: Translator, objective: Objective
) -> tuple[jax.Array, tuple[dict, dict]]:
    """Mean over cases of the loss of their translated sets; with it the new running statistics and its parts.

    Each set is normalised by its own statistics: it is a batch of its own. Running statistics move towards the mean
    over cases, so that it does not matter in which order, or on which devices, they are.
    """
    variables, of_cases = {"params": params, "batch_stats": batch_stats}, []
    for case in cases:
        made, moved = _translate_in_training(translator, variables, case.source, objective.factor, case.mask)
        value, parts = objective(made, case.draw, case.mask)
        of_cases.append((value, (moved, parts)))
    return descent.average(of_cases)


def _translate_in_training(
    translator: Translator, variables: dict, source: SyntheticSet, factor: int, mask: Mask | None = None
) -> tuple[SyntheticSet, dict]:
    """A set translated by its own statistics, and the running ones after it."""
    images, updated = translator.apply(
        variables, decode(source.images, factor), rows=mask and mask.rows, mutable=["batch_stats"]
    )
    return source.replace(images=encode(images, factor)), updated["batch_stats"]


def step(
    state: descent.State,
    draws: Sequence[Draw],
    sources: tuple[SyntheticSet, ...],
    *,
    translator: Translator,
    objective: Objective,
    optimiser: optax.GradientTransformation,
    axis: str | None = None,
) -> tuple[descent.State, descent.Metrics]:
    """One update on the draws of a step: the loss is the mean over them, and over the source sets, which all see them.

    With `axis`, draws are spread over that axis of a mesh, and the mean is over all of it.
    """

    def loss(moving, batch_stats):
        variables, of_sets = {"params": moving.params, "batch_stats": batch_stats}, []
        for source, labels in zip(sources, moving.labels, strict=True):
            made, statistics = _translate_in_training(translator, variables, source, objective.factor)
            made = made.replace(labels=labels)
            value, parts = descent.average([objective(made, draw) for draw in draws])
            of_sets.append((value, (statistics, parts)))
        return descent.average(of_sets)

    return descent.update(state, loss, optimiser, axis)


def pretrain(
    state: descent.State,
    cases: Case,
    *,
    translator: Translator,
    objective: Objective,
    optimiser: optax.GradientTransformation,
    axis: str | None = None,
) -> tuple[descent.State, descent.Metrics]:
    """One update on B subsets, each in a network of its own.

    Args:
        state: without labels: those of S' stay as they are.
        cases: `[b, ...]` in every leaf.
        translator: G.
        objective: the NFR loss.
        optimiser: moves the translator.
        axis: the mesh axis over which the batch is spread, if any; gradients are averaged over it.
    """
    each = _split(cases)

    def loss(moving, batch_stats):
        return mean_loss(moving.params, batch_stats, each, translator, objective)

    return descent.update(state, loss, optimiser, axis)


def _split(cases: Case) -> list[Case]:
    """Stacked cases one by one, not to be vmapped: a convolution with a kernel for each network is slow everywhere."""
    return [jax.tree.map(lambda leaf, at=at: leaf[at], cases) for at in range(len(cases.draw.labels))]


def judge(
    variables: dict, cases: Case, *, translator: Translator, objective: Objective, axis: str | None = None
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """The parts of the loss of stacked cases, translated and as they are: means over them, and over a mesh axis."""
    each = _split(cases)
    _, (_, translated) = mean_loss(variables["params"], variables["batch_stats"], each, translator, objective)
    plain = [objective(case.source, case.draw, case.mask)[1] for case in each]
    parts = translated, descent.average(plain)
    return parts if axis is None else jax.lax.pmean(parts, axis)


def translate(
    translator: Translator,
    variables: dict,
    source: SyntheticSet,
    statistics: str = "batch",
    *,
    factor: int = 1,
    chunk: int = CHUNK,
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
    parts = [source.images[at : at + chunk] for at in range(0, len(source), chunk)]
    if statistics == "batch":
        variables = _with_statistics(translator, variables, parts, factor)
    apply = translation_program(translator, factor)
    return source.replace(images=jnp.concatenate([apply(variables, images) for images in parts]))


@functools.cache
def translation_program(translator: Translator, factor: int) -> Callable:
    """`(variables, images [n, h, w, c]) -> images`, stored ones, compiled once for each translator."""

    @compilation.jit
    def apply(variables, images):
        return encode(translator.apply(variables, decode(images, factor), train=False), factor)

    return apply


@functools.cache
def _moments_program(translator: Translator, factor: int) -> Callable:
    """`(variables, images) -> moments` of what reaches each norm of a translator, compiled once for each."""

    @compilation.jit
    def moments(variables, images):
        """Means of what reaches each norm, and of its square, `[2, channels]`."""
        _, seen = translator.apply(
            variables,
            decode(images, factor),
            train=False,
            mutable=["intermediates"],
            capture_intermediates=lambda module, _: isinstance(module, nn.Conv),
        )
        names = [f"Conv_{index}" for index in range(len(variables["batch_stats"]))]
        inputs = [seen["intermediates"][name]["__call__"][0] for name in names]
        return [jnp.stack([jnp.mean(x, (0, 1, 2)), jnp.mean(jnp.square(x), (0, 1, 2))]) for x in inputs]

    return moments


def _with_statistics(translator: Translator, variables: dict, parts: list[jax.Array], factor: int) -> dict:
    """`variables` with the statistics of all images: a pass for each norm, since it sees what those before it leave."""
    moments = _moments_program(translator, factor)
    sizes, stats = jnp.asarray([len(images) for images in parts]), dict(variables["batch_stats"])
    for norm in range(len(stats)):
        seen = jnp.stack([moments({**variables, "batch_stats": stats}, images)[norm] for images in parts])
        mean, square = jnp.einsum("k,kmc->mc", sizes / jnp.sum(sizes), seen)
        stats[f"BatchNorm_{norm}"] = {"mean": mean, "var": jnp.maximum(square - jnp.square(mean), 0)}
    return {**variables, "batch_stats": stats}
