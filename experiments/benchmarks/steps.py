"""Wall time per step of each stage, beside the floor counted from FLOPs and this machine's own convolution rate.

    python -m experiments.benchmarks.steps

CIFAR-10 shapes, IPC 1, width 128, random pixels: what a step costs does not depend on them. Writes results/steps.json,
or steps_gpu.json where there is a GPU.
"""

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import threadpoolctl

from experiments import records
from fsdd.core import descent
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.core.whitening import Whitening
from fsdd.evaluation import training, training_recipes
from fsdd.io import provenance, workdir
from fsdd.methods import (
    bilevel,
    class_batches,
    distillation,
    frepo,
    lanes,
    nfr,
    optimisers,
    regression,
    streams,
    translation,
)
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet
from fsdd.networks.translator import Translator

SHAPE, IMAGES, REAL = (32, 32, 3), 20, 1024
FORWARD = 2 * 154e6  # FLOPs of an image through the ConvNet of width 128
INPUT_LAYER = 2 * 9 * 3 * 128 * 32 * 32  # of which the first convolution's
TRANSLATOR = 2 * 9 * (3 * 64 + 64 * 64 * 2 + 64 * 3) * 32 * 32


def median_seconds(
    function: Callable, *arguments, repeats: int = 15, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Median seconds of a compiled call, by default wall seconds."""
    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(repeats):
        began = clock()
        jax.block_until_ready(function(*arguments))
        times.append(clock() - began)
    return statistics.median(times)


def convolution_rate(clock: Callable[[], float] = time.perf_counter) -> float:
    """FLOP/s of the ConvNet's second convolution on 128 images, forward."""
    x, kernel = jnp.ones((128, 16, 16, 128)), jnp.ones((3, 3, 128, 256))
    convolve = jax.jit(
        lambda x, k: jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    )
    return 2 * 128 * 16 * 16 * 9 * 128 * 256 / median_seconds(convolve, x, kernel, clock=clock)


class Parts(NamedTuple):
    """What the measured steps are made of.

    Attributes:
        objective: the NFR loss in the network of full width.
        variables: one random network.
        real: random real images and labels.
        synthetic: ten random images and labels.
        adam: an optimiser.
        rate: FLOP/s of this machine.
    """

    objective: nfr.Objective
    variables: sampling.Variables
    real: streams.Real
    synthetic: SyntheticSet
    adam: optax.GradientTransformation
    rate: float


def build_parts() -> Parts:
    """The parts, with this machine's rate."""
    key, network = jax.random.key(0), ConvNet(10, norm="batch")
    real = streams.Real(jax.random.normal(key, (REAL, *SHAPE)), jax.random.normal(key, (REAL, 10)))
    synthetic = SyntheticSet(jax.random.normal(key, (10, *SHAPE)), jax.random.normal(key, (10, 10)))
    variables = sampling.sample(network, key, SHAPE)
    return Parts(nfr.Objective(network), variables, real, synthetic, optimisers.build("adam", 1e-3), convolution_rate())


def measure_loops(parts: Parts) -> list[dict[str, Any]]:
    """Steps of distillation, translation and evaluation, dispatched singly and ten at once."""
    key, objective, adam = jax.random.key(0), parts.objective, parts.adam
    features = jax.jit(functools.partial(sampling.features, objective.network))(parts.variables, parts.real.images)
    draw = streams.Draw(parts.variables, features, parts.real.labels)
    distil = functools.partial(distillation.step, objective=objective, optimiser=adam)
    translator, moving, sources = Translator(), translation.build_optimiser(adam, adam), (parts.synthetic,)
    adapt = functools.partial(translation.step, translator=translator, objective=objective, optimiser=moving)
    fresh = translation.init(translation.fresh(translator, key, SHAPE), sources, moving)
    recipe = training_recipes.Recipe("adam", schedule="warmup_cosine", steps=1000)
    programs = training.programs(ConvNet(10), recipe, 10, SHAPE)
    # A network in training is the first, and only, of those that are trained at once.
    networks, translated = programs.init(key[None], parts.synthetic), IMAGES * FORWARD * 2 + 10 * 3 * TRANSLATOR
    cases = {
        "distill": (_loop(distil), descent.init(parts.synthetic, adam), ((draw,),), IMAGES * FORWARD * 2),
        "translate": (_loop(adapt), fresh, ((draw,), sources), translated),
        "evaluate": (programs.loop, networks, (key[None], parts.synthetic), 10 * (3 * FORWARD - INPUT_LAYER)),
    }
    rows = []
    for name, (loop, state, constants, flops) in cases.items():
        single = median_seconds(_dispatch(loop, 1, state, constants))
        many = median_seconds(_dispatch(loop, 10, state, constants), repeats=3)
        rows.append({"step": name, "seconds": single, "in_scan": many / 10, "floor": flops / parts.rate})
        print(rows[-1], flush=True)
    return rows


def _loop(step: Callable) -> descent.Loop:
    return descent.Loop(lambda state, _, *given: step(state, *given))


def _dispatch(loop: descent.Loop, size: int, state: Any, constants: tuple) -> Callable[[], Any]:
    """A call of so many steps from one and the same state, which each call copies: its arrays are donated."""
    many = loop.many(size)
    return lambda: many(jax.tree.map(jnp.copy, state), jnp.int32(0), *constants)


def measure_lanes(parts: Parts) -> dict[str, Any]:
    """A step of four subsets of ten synthetic images at once."""
    rng = np.random.default_rng(0)
    recipe = lanes.Recipe(parts.objective, parts.adam, 1, 256, 1, "none")
    labels, plain = np.repeat(np.arange(10), 25), Whitening(np.zeros(3, np.float32), np.ones(3, np.float32))
    lane = lanes.lane(
        rng.normal(size=(250, *SHAPE)).astype(np.float32), labels, np.arange(0, 250, 25), jax.random.key(0),
        whitening=plain, real=250, rows=10, classes=10,
    )  # fmt: skip
    distiller = lanes.LaneDistiller(recipe, parts.variables, plain, jax.devices())
    placed = distiller.place(lanes.stack([lane] * 4))
    features = distiller.features(placed, 50)
    taken = median_seconds(lambda: next(distiller.run(placed, features, distiller.init(placed))))
    floor = 4 * IMAGES * FORWARD * 2 / parts.rate
    return {"step": "cache, 4 subsets at once", "seconds": taken, "floor": floor}


def measure_frepo(parts: Parts) -> dict[str, Any]:
    """A step of FRePo: 1,024 real images forward, the synthetic ones there and back, and their network one step."""
    pool, key = frepo.Pool(), jax.random.key(0)
    state = frepo.init(parts.synthetic, parts.adam, parts.objective, pool, key, SHAPE)
    settings = {"objective": parts.objective, "optimiser": parts.adam, "pool": pool, "batch": REAL, "chunk": 128}
    taken = median_seconds(jax.jit(functools.partial(frepo.step, **settings)), state, key, parts.real, repeats=5)
    floor = (REAL + 2 * IMAGES) * FORWARD + 10 * (3 * FORWARD - INPUT_LAYER)
    return {"step": "frepo", "seconds": taken, "floor": floor / parts.rate}


def measure_bilevel(parts: Parts) -> dict[str, Any]:
    """An outer step of the bi-level algorithm: 8 inner ones, 128 real images in either network."""
    inner, key = bilevel.Inner(8, batch=128, unroll=8), jax.random.key(0)
    classes = class_batches.rows_by_class(np.arange(REAL) % 10, 10)
    state = regression.init(parts.variables, parts.adam)
    settings = {"objective": parts.objective, "optimiser": parts.adam, "inner": inner, "ipc": 1}
    # Inner steps go there and back, again, and back through both; real images there, and back to the weights in one.
    floor = (8 * 3 * 2 * IMAGES + 2 * IMAGES + (1 + 3) * 128) * FORWARD
    step = jax.jit(functools.partial(bilevel.step, **settings))
    taken = median_seconds(step, state, key, parts.real, classes, repeats=5)
    return {"step": "bilevel, 8 inner steps, 128 real images", "seconds": taken, "floor": floor / parts.rate}


def measure_features(parts: Parts, chunk: int) -> dict[str, Any]:
    """Real images forward, so many at once."""
    forward = jax.jit(functools.partial(sampling.features, parts.objective.network))
    chunks = [parts.real.images[at : at + chunk] for at in range(0, REAL, chunk)]
    taken = median_seconds(lambda: [forward(parts.variables, images) for images in chunks], repeats=3)
    name = f"real features of {REAL} images, chunks of {chunk}"
    return {"step": name, "seconds": taken, "floor": REAL * FORWARD / parts.rate}


def markdown() -> str:
    """Milliseconds a step beside their floor, on each machine that measured them."""
    parts = []
    for name in ("steps", "steps_gpu"):
        if found := records.load(name):
            rows = []
            for row in found["rows"]:
                many = f"{1e3 * row['in_scan']:.3g}" if "in_scan" in row else None
                rows.append([row["step"], f"{1e3 * row['seconds']:.3g}", many, f"{1e3 * row['floor']:.3g}"])
            rate = f"{found['device']}; floor: FLOPs over {found['convolution_flops'] / 1e9:.0f} GFLOP/s, its own."
            table = records.table(["step", "ms, dispatched singly", "ms, in scan", "floor (ms)"], rows)
            parts.append(f"{table}\n\n{rate}")
    return "\n\n".join(parts)


def main() -> None:
    """Measure."""
    parts = build_parts()
    with threadpoolctl.threadpool_limits(1, "blas"):
        rows = measure_loops(parts)
        for measure in (measure_lanes, measure_frepo, measure_bilevel):
            rows.append(measure(parts))
            print(rows[-1], flush=True)
        for chunk in (128, REAL):
            rows.append(measure_features(parts, chunk))
            print(rows[-1], flush=True)
    name = "steps" if jax.default_backend() == "cpu" else "steps_gpu"
    workdir.write(
        records.FOLDER / f"{name}.json", {"convolution_flops": parts.rate, "rows": rows} | provenance.summary()
    )


if __name__ == "__main__":
    main()
