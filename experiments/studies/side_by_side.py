"""Variants of adaptation side by side: one change at a time, several starts, all in the very same random networks.

    python -m experiments.studies.side_by_side --ipc 1 --starts 5 --minutes 8 --data_dir ~/tensorflow_datasets

What a step of adaptation costs is mostly the real images' way through a fresh network. Here every variant and every
start moves in that network before the next one is drawn: they share its cost, and what they differ by is not the luck
of the networks. A start is a seed: other real images, other batches of `1 Net`, other evaluation networks; variants of
one start share these, so that differences are paired. All by the PyTorch code's protocol, as Table 3 is.

Variants are in order of worth: what does not fit into the minutes is left out, last ones first. Writes
results/side_by_side_ipcIPC.json.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import importlib
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import cells, records
from experiments.studies import held_out
from experiments.studies.learner import Learner
from fsdd import config as configs
from fsdd.assembly import environment, scorers, translators
from fsdd.core import compilation, descent, synthetic_set
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.distilling import context as contexts
from fsdd.distilling import pipeline
from fsdd.distilling.context import Context
from fsdd.io import progress, provenance, workdir
from fsdd.methods import autoencoding, optimisers, translation
from fsdd.methods.nfr import Objective
from fsdd.methods.streams import Draw, Real
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
# Factors of the values of a set that is not adapted.
CONTRASTS = (1.4, 2.0, 3.0)


class Clock:
    """What is left of the minutes."""

    def __init__(self, minutes: float):
        """Starts now."""
        self._began, self._seconds = time.monotonic(), 60 * minutes

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return self._seconds - self.spent


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


def build_context(arguments: argparse.Namespace) -> Context:
    """The data and the objective of the first start."""
    config = importlib.import_module(f"configs.cifar10_ipc{arguments.ipc}").get_config()
    fields = {"protocol": "frepo_torch", "method": "distill", "data_dir": arguments.data_dir}
    fields |= {"distill.steps": arguments.steps}
    if arguments.smoke:
        fields |= {"network.width": 8, "evaluate.steps": 4, "distill.batch": 64}
    config.update_from_flattened_dict(fields)
    return contexts.prepare(configs.resolve(config), arguments.root / f"ipc{arguments.ipc}_start0")


def reseed(context: Context, seed: int, factor: int = 1) -> Context:
    """The same data and networks with another seed: other real images, batches and evaluation networks.

    `factor` is the one by which stored images are smaller (DS).
    """
    config = configs.replace(context.config, {"seed": seed, "factor": factor, "stages": None})
    return dataclasses.replace(context, config=config)


def distil(context: Context, start: int) -> SyntheticSet:
    """`1 Net` from one start, or what is stored of it."""
    folder = context.folder.with_name(f"{context.folder.name[:-1]}{start}")
    seeded = dataclasses.replace(reseed(context, start), folder=folder)
    workdir.create(folder)
    return pipeline.run_stages(seeded)["distill"]


class Table:
    """Rows on their way to the result file, which is up to date after each figure."""

    def __init__(self, out: pathlib.Path, facts: dict[str, Any]):
        """An empty one."""
        self._out, self._facts, self.rows = out, facts, {}

    def put(self, row: str, **figures: Any) -> None:
        """Add figures to a row."""
        self.rows.setdefault(row, {"row": row}).update(figures)
        workdir.write(self._out, self._facts | {"rows": list(self.rows.values())} | provenance.summary())


def judge(context: Context, sets: dict[str, list[SyntheticSet]], table: Table, networks: int) -> None:
    """What ridge heads in networks that no variant saw make of each set, on test images."""
    images = context.whitening.apply(context.data.test_images[:5000])
    labels = synthetic_set.centred_labels(context.data.test_labels[:5000], context.data.num_classes)
    ask = held_out.Judge(context.objective, Real(jnp.asarray(images), jnp.asarray(labels)), networks)
    for name, starts in sets.items():
        table.put(name, ridge=[ask(one) for one in starts])
        figures = table.rows[name]["ridge"]
        print(f"{name}: nfr {[one['nfr'] for one in figures]}, {[one['accuracy'] for one in figures]} %", flush=True)


def score(context: Context, sets: dict[str, list[SyntheticSet]], table: Table, networks: int, clock: Clock) -> None:
    """Accuracy of networks trained on each set: one for every set, then another for every set, while there is time."""
    network, recipe = scorers.build_scorer(context.config, context.data.num_classes)
    images = jnp.asarray(context.whitening.apply(context.data.test_images))
    learn = Learner(network, recipe, images, context.data.test_labels, context.config.compute.dispatch)
    longest = 0.0
    for index in range(networks):
        for name, starts in sets.items():
            found = list(table.rows.get(name, {}).get("accuracies", [[] for _ in starts]))
            for start, one in enumerate(starts):
                if clock.left < 1.2 * longest:
                    print("no time is left for another network", flush=True)
                    return
                began = clock.spent
                found[start] = [*found[start], round(learn(one, start, index), 2)]
                # The first one compiles.
                longest = max(longest, clock.spent - began) if longest else 1e-9
            table.put(name, accuracies=found)
            print(f"{name}: {found}", flush=True)


def paired(row: dict[str, Any], base: dict[str, Any]) -> tuple[float, float] | None:
    """How far a row is above another in accuracy: mean over starts of the difference, and its standard error.

    Only evaluation networks count that every start of both has.
    """
    pairs = list(zip(row.get("accuracies", ()), base.get("accuracies", ())))  # noqa: B905, one may not be scored yet
    count = min((len(one) for pair in pairs for one in pair), default=0)
    if not count:
        return None
    ahead = [np.mean(one[:count]) - np.mean(two[:count]) for one, two in pairs]
    return float(np.mean(ahead)), float(np.std(ahead, ddof=1) / np.sqrt(len(ahead)))


def markdown(ipc: int) -> str:
    """What is measured of each variant at one IPC, beside the identity and beside what is not adapted."""
    found = records.load(f"side_by_side_ipc{ipc}")
    if not found:
        return ""
    rows, lines = {row["row"]: row for row in found["rows"]}, []
    for name, row in sorted(rows.items(), key=lambda item: np.mean([one["nfr"] for one in item[1]["ridge"]])):
        ridge = {figure: np.mean([one[figure] for one in row["ridge"]]) for figure in ("nfr", "accuracy", "scale")}
        beside = [paired(row, rows[base]) for base in ("one_net", "identity")]
        scored = row.get("accuracies", [[]])
        count = min(len(one) for one in scored)
        mean = f"{np.mean([one[:count] for one in scored]):.1f}" if count else None
        shown = [f"{two[0]:+.1f} ± {two[1]:.1f}" if two and two[1] else None for two in beside]
        lines.append(
            [
                name,
                f"{ridge['nfr']:.4f}",
                f"{ridge['scale']:.2f}",
                f"{ridge['accuracy']:.1f}",
                mean,
                count,
                *shown,
            ]
        )
    head = ["variant", "NFR loss", "best scale", "ridge accuracy (%)", "accuracy (%)", "networks"]
    what = f"IPC {ipc}, {found['starts']} starts, {found['networks']:,} fresh networks, {found['device']}"
    return f"{records.table([*head, 'over one_net', 'over identity'], lines)}\n\n{what}."


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.studies.side_by_side")
    parser.add_argument("--ipc", type=int, default=1, choices=cells.IPCS["cifar10"])
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=60.0, help="for all of it")
    parser.add_argument("--steps", type=int, default=3000, help="T, of `1 Net`")
    parser.add_argument("--networks", type=int, default=1000, help="fresh networks of adaptation")
    parser.add_argument("--evaluate", type=int, default=2, help="networks that are trained on each set, at most")
    parser.add_argument("--only", nargs="*", choices=[one.name for one in VARIANTS], help="variants; default: all")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs/side_by_side"), help="for workdirs")
    parser.add_argument("--data_dir")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument(
        "--smoke", action="store_true", help="narrow networks, which say nothing; in a temporary folder"
    )
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.root = pathlib.Path(tempfile.mkdtemp(prefix="fsdd_smoke_"))
        arguments.out = arguments.out or arguments.root / "side_by_side.json"
    arguments.out = arguments.out or records.FOLDER / f"side_by_side_ipc{arguments.ipc}.json"
    return arguments


def main() -> None:
    """Distil, adapt, judge and score."""
    arguments = parse_arguments()
    clock = Clock(arguments.minutes)
    environment.prepare()
    context = build_context(arguments)
    facts = {name: getattr(arguments, name) for name in ("ipc", "starts", "steps", "networks")}
    table = Table(arguments.out, facts)
    print(f"data are there after {clock.spent:.0f} s", flush=True)
    sources = [distil(context, start) for start in range(arguments.starts)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *sources)
    print(f"sets are distilled after {clock.spent:.0f} s", flush=True)
    variants = [one for one in VARIANTS if arguments.only is None or one.name in arguments.only]
    widths = {one.width for one in variants if one.start == "autoencoder"}
    trained = {width: train_autoencoder(context, width, 5 if arguments.smoke else 5000) for width in widths}
    racers = [Racer(one, context, stacked, arguments.networks, trained) for one in variants]
    racers = race(racers, context, arguments.networks, 64 if arguments.smoke else 1024, clock)
    print(f"variants are adapted after {clock.spent:.0f} s", flush=True)
    sets = {"one_net": sources}
    for racer in racers:
        sets[racer.variant.name] = racer.sets()
        table.put(racer.variant.name, **dataclasses.asdict(racer.variant), curve=racer.curve(), taken=len(racer.losses))
    shipped = Variant("shipped", "shipped")
    begun = start_translator(shipped, context, {})
    sets["shipped_unadapted"] = [translation.translate(shipped.translator, begun, one) for one in sources]
    for factor in CONTRASTS:
        sets[f"one_net_times_{factor}"] = [one.replace(images=factor * one.images) for one in sources]
    store(sets, arguments.out.with_suffix(".npz"))
    judge(context, sets, table, networks=2 if arguments.smoke else 16)
    score(context, sets, table, arguments.evaluate, clock)
    print(f"done after {clock.spent:.0f} s", flush=True)


def store(sets: dict[str, list[SyntheticSet]], path: pathlib.Path) -> None:
    """Keep what came out, in half precision: of all starts where that is small, else of the first."""
    few = sets["one_net"][0].images.size < 10**5
    arrays = {}
    for name, starts in sets.items():
        for start, one in enumerate(starts if few else starts[:1]):
            if "_times_" not in name:
                arrays[f"{name}/{start}/images"] = np.asarray(one.images, np.float16)
                arrays[f"{name}/{start}/labels"] = np.asarray(one.labels, np.float16)
    np.savez_compressed(path, **arrays)


if __name__ == "__main__":
    main()
