"""Ways of adapting that move side by side, in the same random networks: what `side_by_side` compares."""

import concurrent.futures
import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import cells
from experiments.studies.paired_sets import Clock
from fsdd.assembly import translators
from fsdd.core import compilation, descent
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.distilling.context import Context
from fsdd.io import progress
from fsdd.methods import autoencoding, optimisers, translation
from fsdd.methods.nfr import Objective
from fsdd.methods.streams import Draw
from fsdd.networks import sampling
from fsdd.networks.translator import Translator

# Adam's rate for labels that move: `translate.label_rate`.
LABEL_RATE = 1e-3


@dataclasses.dataclass(frozen=True)
class Variant:
    """A way of adapting.

    Attributes:
        name: of its row.
        start: "identity", "branch" (an image and a random branch are added), "random", "autoencoder", "shipped", or
            "images": no translator, the images themselves move.
        width: channels of the translator's blocks.
        rate: peak learning rate of what moves, by Adam.
        final: share of it that a cosine ends at; 1 holds it.
        warmup: share of the steps over which it rises.
        labels: whether the set's labels move as well.
        networks: networks of one step, whose gradients are averaged; there are so many times fewer steps.
    """

    name: str
    start: str = "identity"
    width: int = 64
    rate: float = 1e-4
    final: float = 1.0
    warmup: float = 0.0
    labels: bool = True
    networks: int = 1

    @property
    def translator(self) -> Translator | None:
        """The network that moves; None if images do."""
        if self.start == "images":
            return None
        return Translator(3, (self.width,) * 3, residual=self.start in ("identity", "branch", "shipped"))

    def rates(self, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Learning rates `[steps]` of what moves and of labels, on the host; images take the first for both."""
        rate = np.asarray(jax.vmap(optimisers.cosine(self.rate, steps, self.final, self.warmup))(jnp.arange(steps)))
        return rate, np.full(steps, LABEL_RATE if self.labels else 0, np.float32)


VARIANTS = (
    Variant("identity"),
    Variant("images_3e-3_cosine", "images", rate=3e-3, final=0.1),
    Variant("identity_3e-4", rate=3e-4),
    Variant("identity_1e-3_cosine", rate=1e-3, final=0.1, warmup=0.1),
    Variant("shipped", "shipped"),
    Variant("random_width_256", "random", 256),
    Variant("identity_labels_held", labels=False),
    Variant("identity_width_128", width=128),
    Variant("branch", "branch"),
    Variant("identity_1e-3", rate=1e-3),
    Variant("autoencoder_width_256", "autoencoder", 256),
    Variant("random", "random"),
    Variant("identity_4_networks_3e-4", rate=3e-4, networks=4),
    Variant("identity_cosine", final=0.1),
    Variant("identity_width_256", width=256),
    Variant("identity_1e-3_cosine_labels_held", rate=1e-3, final=0.1, warmup=0.1, labels=False),
    Variant("identity_1e-3_cosine_width_128", width=128, rate=1e-3, final=0.1, warmup=0.1),
    Variant("shipped_1e-3_cosine", "shipped", rate=1e-3, final=0.1, warmup=0.1),
    Variant("random_width_256_3e-4", "random", 256, rate=3e-4),
)


@functools.cache
def _step_program(translator: Translator | None, objective: Objective) -> Callable:
    """`(states, sources, draws, rate, label_rate) -> (states, metrics)`, every leaf of a state `[starts, ...]`."""

    def loss_of(source, draws, moving, rest):
        if translator is None:
            values = [objective(moving, draw) for draw in draws]
            value, parts = jax.tree.map(lambda *each: sum(each) / len(each), *values)
            return value, (rest, parts)
        seen = [translation.Case(source.replace(labels=moving.labels[0]), draw) for draw in draws]
        return translation.mean_loss(moving.params, rest, seen, translator, objective)

    def one(state, source, draws, rates):
        optimiser = build_optimiser(translator, *rates)
        return descent.update(state, functools.partial(loss_of, source, draws), optimiser)

    def all_starts(states, sources, draws, rate, label_rate):
        pairs, step = (states, sources), lambda pair: one(*pair, draws, (rate, label_rate))
        if jax.default_backend() != "cpu":
            return jax.lax.map(step, pairs)
        # Convolutions in loops are slow there.
        each = [step(jax.tree.map(lambda leaf, at=at: leaf[at], pairs)) for at in range(len(sources.images))]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)

    return compilation.jit(all_starts, donate_argnums=0)


def build_optimiser(translator: Translator | None, rate: Any, label_rate: Any) -> optax.GradientTransformation:
    """Adam for a translator and labels, or for a set; rates may be traced, so that one program serves them all."""
    if translator is None:
        return optax.adam(rate)
    return translation.build_optimiser(optax.adam(rate), optax.adam(label_rate))


@functools.cache
def _draw_program(objective: Objective, count: int) -> Callable:
    """`(key, real) -> draw`: a fresh network and the features of `count` real images in it."""

    def draw(key, real):
        network_key, rows_key = jax.random.split(key)
        variables = sampling.sample(objective.network, network_key, real.images.shape[1:])
        rows = jax.random.permutation(rows_key, len(real.images))[:count]
        return Draw(variables, sampling.features(objective.network, variables, real.images[rows]), real.labels[rows])

    return compilation.jit(draw)


def start_translator(variant: Variant, context: Context, autoencoders: dict[int, dict]) -> dict:
    """The variables with which a variant begins."""
    translator, shape = variant.translator, context.data.image_shape
    key = jax.random.fold_in(context.key("translate"), variant.width)
    if variant.start == "shipped":
        return translators.load(translator, translators.PACKAGE / cells.PRETRAINED["paper"], shape)
    if variant.start == "autoencoder":
        return autoencoders[variant.width]
    plain = dataclasses.replace(translator, residual=False) if variant.start == "branch" else translator
    return compilation.jit(lambda key: translation.fresh(plain, key, shape))(key)


def train_autoencoder(context: Context, width: int, steps: int) -> dict:
    """Variables of a plain translator that has learned to reconstruct real images."""
    translator, key = Translator(3, (width,) * 3, residual=False), context.key("autoencoder")
    optimiser = optimisers.build("adam", 1e-3)
    state = autoencoding.init(translation.fresh(translator, key, context.data.image_shape), optimiser)
    run = autoencoding.run(
        state, context.real.images, key, translator=translator, optimiser=optimiser, batch=32, steps=steps,
        dispatch=context.config.compute.dispatch,
    )  # fmt: skip
    for _, last, metrics in run:
        state = last
        jax.block_until_ready(metrics)
    print(f"auto-encoder of width {width}: loss {float(metrics['loss'][-1]):.4f} after {steps} steps", flush=True)
    return autoencoding.variables(state)


class Racer:
    """A variant on its way, at all starts at once."""

    def __init__(
        self, variant: Variant, context: Context, sources: SyntheticSet, networks: int, autoencoders: dict[int, dict]
    ):
        """From sets `[starts, n, ...]`, through so many networks."""
        self.variant, self._sources, self.losses = variant, sources, []
        self._rates = variant.rates(networks // variant.networks)
        translator = variant.translator
        optimiser, each = build_optimiser(translator, 1.0, 1.0), range(len(sources.images))
        sets = [jax.tree.map(lambda leaf, at=at: jnp.copy(leaf[at]), sources) for at in each]
        if translator is None:
            states = [descent.init(one, optimiser) for one in sets]
        else:
            begun = start_translator(variant, context, autoencoders)
            states = [translation.init(jax.tree.map(jnp.copy, begun), (one,), optimiser) for one in sets]
        self.states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        self._program = _step_program(translator, context.objective)
        self._waiting: list[Draw] = []

    def step(self, draw: Draw) -> None:
        """Move once in a network, or in all that have gathered."""
        self._waiting.append(draw)
        if len(self._waiting) == self.variant.networks:
            rates = [each[len(self.losses)] for each in self._rates]
            self.states, metrics = self._program(self.states, self._sources, tuple(self._waiting), *rates)
            self.losses.append(metrics["nfr"])
            self._waiting = []

    def seconds(self, draw: Draw) -> float:
        """A network, by a step that is taken back; the first call compiles."""
        states, began = jax.block_until_ready(jax.tree.map(jnp.copy, self.states)), time.perf_counter()
        rates = [each[0] for each in self._rates]
        jax.block_until_ready(self._program(states, self._sources, (draw,) * self.variant.networks, *rates))
        return (time.perf_counter() - began) / self.variant.networks

    def sets(self) -> list[SyntheticSet]:
        """What each start has become."""
        every = []
        for at in range(len(self._sources.images)):
            state, source = jax.tree.map(lambda leaf, at=at: leaf[at], (self.states, self._sources))
            if self.variant.translator is not None:
                source = source.replace(labels=state.moving.labels[0])
                made = translation.translate(self.variant.translator, translation.variables(state), source)
            every.append(state.moving if self.variant.translator is None else made)
        return every

    def curve(self) -> list[float]:
        """NFR loss, means over starts and over fifty stretches of the way."""
        losses = np.mean([np.asarray(one) for one in self.losses], axis=1)
        return [round(float(part.mean()), 4) for part in np.array_split(losses, min(50, len(losses)))]


def race(racers: list[Racer], context: Context, networks: int, real_images: int, clock: Clock) -> list[Racer]:
    """Move variants through the same fresh networks; half of the time that is left decides how many of them."""
    draw, root = _draw_program(context.objective, real_images), jax.random.fold_in(context.key("translate"), 0)
    first, kept = draw(jax.random.fold_in(root, networks), context.real), []
    # One of those that share a program.
    different = {(racer.variant.translator, racer.variant.networks): racer for racer in racers}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda racer: racer.seconds(first), different.values()))
    print(f"compiled after {clock.spent:.0f} s", flush=True)
    spent, most = 0.0, 0.5 * clock.left
    for racer in racers:
        taken = racer.seconds(first)
        fits = (spent + taken) * networks < most
        print(f"{racer.variant.name}: {1e3 * taken:.2f} ms a network{'' if fits else ', left out'}", flush=True)
        if fits:
            spent += taken
            kept.append(racer)
    latest = 0.3 * clock.left
    with progress.bar("networks", networks, unit="network") as bar:
        for index in range(networks):
            one = draw(jax.random.fold_in(root, index), context.real)
            for racer in kept:
                racer.step(one)
            # A queue of a few steps keeps the device at work, and no more networks in memory than that.
            if index % 10 == 9:
                jax.block_until_ready(kept[-1].losses[-1:])
                bar.update(10)
                if clock.left < latest:
                    print(f"stopped after {index + 1} networks: no time is left", flush=True)
                    break
    return kept
