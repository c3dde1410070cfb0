"""Steps with `fsdd/networks/convolutions.py` and with XLA's own convolutions, taken in turn.

    python -m experiments.benchmarks.convolutions

At CIFAR-10's size and the paper's width: a network that learns from a synthetic set, distillation and adaptation of a
translator. Nothing else may run. Writes results/convolutions.json.
"""

import contextlib
import functools
import statistics
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from experiments import records
from fsdd.core import descent
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.evaluation import training, training_recipes
from fsdd.io import provenance, workdir
from fsdd.methods import distillation, nfr, optimisers, streams, translation
from fsdd.networks import convolutions, sampling
from fsdd.networks.convnet import ConvNet
from fsdd.networks.translator import Translator

SHAPE, REAL, ROUNDS = (32, 32, 3), 1024, 4
CASES = (
    ("learn", 10), ("learn", 100), ("learn", 500), ("distil", 10), ("distil", 100), ("translate", 10),
    ("translate", 100),
)  # fmt: skip
WAYS = ("products", "xla")


def _choose_xlas(shape, *_) -> Callable | None:
    """XLA's own, but at 2x2 pixels, where patches are quicker by far."""
    return convolutions.by_patches if tuple(shape[1:3]) == (2, 2) else None


@contextlib.contextmanager
def way(name: str) -> Iterator[None]:
    """Trace with this way of convolving."""
    usual = convolutions.choose
    convolutions.choose = _choose_xlas if name == "xla" else usual
    training.programs.cache_clear()
    try:
        yield
    finally:
        convolutions.choose = usual


def _synthetic(count: int) -> SyntheticSet:
    labels = jnp.eye(10)[jnp.arange(count) % 10] - 0.1
    return SyntheticSet(jax.random.normal(jax.random.key(0), (count, *SHAPE)), labels)


def build(step: str, count: int) -> Callable[[], None]:
    """A call that takes one step on so many synthetic images and waits for it."""
    synthetic, key, adam = _synthetic(count), jax.random.key(1), optimisers.build("adam", 1e-4)
    if step == "learn":
        recipe, keys = training_recipes.Recipe("adam", policy="dsa", steps=1000), key[None]
        programs = training.programs(ConvNet(10), recipe, count, SHAPE)
        loop, state, given = programs.loop, programs.init(keys, synthetic), (keys, synthetic)
    else:
        network = ConvNet(10, norm="batch")
        objective, variables = nfr.Objective(network), sampling.sample(network, key, SHAPE)
        features = jax.random.normal(key, (REAL, sampling.feature_size(network, SHAPE)))
        draw = streams.Draw(variables, features, _synthetic(REAL).labels)
        if step == "distil":
            moved = functools.partial(distillation.step, objective=objective, optimiser=adam)
            state, given = descent.init(synthetic, adam), ((draw,),)
        else:
            translator, moving = Translator(), translation.build_optimiser(adam, adam)
            settings = {"translator": translator, "objective": objective, "optimiser": moving}
            moved = functools.partial(translation.step, **settings)
            state = translation.init(translation.fresh(translator, key, SHAPE), (synthetic,), moving)
            given = (draw,), (synthetic,)
        loop = descent.Loop(lambda state, _, *given: moved(state, *given))
    many, kept = loop.many(1), [jax.tree.map(jnp.copy, state)]

    def take():
        kept[0], metrics = many(kept[0], jnp.int32(0), *given)
        jax.block_until_ready(metrics)

    return take


def measure(step: str, count: int) -> dict[str, float]:
    """Median seconds of a step each way, in turn, after those that compile."""
    calls = {}
    for name in WAYS:
        with way(name):
            calls[name] = build(step, count)
            calls[name]()
            calls[name]()
    taken = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - began)
    return {name: round(statistics.median(times), 4) for name, times in taken.items()}


def markdown() -> str:
    """Milliseconds of each step each way."""
    found = records.load("convolutions")
    if not found:
        return ""
    rows = [
        [
            row["step"],
            row["images"],
            *(f"{1e3 * row[name]:.0f}" for name in WAYS),
            f"{row['xla'] / row['products']:.2f}",
        ]
        for row in found["rows"]
    ]
    head = ["step", "synthetic images", "gradients by products (ms)", "XLA's convolutions (ms)", "ratio"]
    return f"{records.table(head, rows)}\n\n{found['device']}."


def main() -> None:
    """Measure all steps."""
    rows = []
    for step, count in CASES:
        rows.append({"step": step, "images": count} | measure(step, count))
        print(rows[-1], flush=True)
    workdir.write(records.FOLDER / "convolutions.json", {"rows": rows} | provenance.summary())


if __name__ == "__main__":
    main()
