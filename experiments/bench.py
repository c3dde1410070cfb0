"""Wall time per step of each stage, beside the floor counted from FLOPs and this machine's own convolution rate.

    python -m experiments.bench

CIFAR-10 shapes, IPC 1, width 128, random pixels: what a step costs does not depend on them. Writes results/bench.json,
or bench_gpu.json where there is a GPU.
"""

import functools
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import threadpoolctl

from experiments import sweep
from fsdd.io import provenance
from fsdd.core import descent
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.core.whitening import Whitening
from fsdd.evaluation import training
from fsdd.io import workdir
from fsdd.methods import bilevel
from fsdd.methods import lanes
from fsdd.methods import distillation
from fsdd.methods import frepo
from fsdd.methods import nfr
from fsdd.methods import optimisers
from fsdd.methods import streams
from fsdd.methods import translation
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet
from fsdd.networks.translator import Translator

SHAPE, IMAGES, REAL = (32, 32, 3), 20, 1024
FORWARD = 2 * 154e6  # FLOPs of an image through the ConvNet of width 128
INPUT_LAYER = 2 * 9 * 3 * 128 * 32 * 32  # of which the first convolution's
TRANSLATOR = 2 * 9 * (3 * 64 + 64 * 64 * 2 + 64 * 3) * 32 * 32


def seconds(function: Callable, *arguments, repeats: int = 15) -> float:
    """Median wall seconds of a compiled call."""
    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def convolution_rate() -> float:
    """FLOP/s of the ConvNet's second convolution on 128 images, forward."""
    x, kernel = jnp.ones((128, 16, 16, 128)), jnp.ones((3, 3, 128, 256))
    convolve = jax.jit(
        lambda x, k: jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    )
    return 2 * 128 * 16 * 16 * 9 * 128 * 256 / seconds(convolve, x, kernel)


def _lanes(network: ConvNet, variables: dict, adam: optax.GradientTransformation, rate: float) -> dict:
    """A step of four subsets of ten synthetic images at once."""
    rng = np.random.default_rng(0)
    recipe = lanes.Recipe(nfr.Objective(network), adam, 1, 256, 1, "none")
    labels, plain = np.repeat(np.arange(10), 25), Whitening(np.zeros(3, np.float32), np.ones(3, np.float32))
    lane = lanes.lane(
        rng.normal(size=(250, *SHAPE)).astype(np.float32), labels, np.arange(0, 250, 25), jax.random.key(0),
        whitening=plain, real=250, rows=10, classes=10,
    )  # fmt: skip
    programs = lanes.Programs(recipe, variables, plain, jax.devices())
    lanes = programs.place(lanes.stack([lane] * 4))
    features = programs.features(lanes, 50)
    taken = seconds(lambda: next(programs.run(lanes, features, programs.init(lanes))))
    return {"step": "cache, 4 subsets at once", "seconds": taken, "floor": 4 * IMAGES * FORWARD * 2 / rate}


def _pool(objective: nfr.Objective, real: streams.Real, synthetic: SyntheticSet, rate: float) -> dict:
    """A step of FRePo: 1,024 real images forward, the synthetic ones there and back, and their network one step."""
    adam, pool, key = optimisers.build("adam", 1e-3), frepo.Pool(), jax.random.key(0)
    state = frepo.init(synthetic, adam, objective, pool, key, SHAPE)
    step = functools.partial(frepo.step, objective=objective, optimiser=adam, pool=pool, batch=REAL, chunk=128)
    floor = (REAL + 2 * IMAGES) * FORWARD + 10 * (3 * FORWARD - INPUT_LAYER)
    return {"step": "frepo", "seconds": seconds(jax.jit(step), state, key, real, repeats=5), "floor": floor / rate}


def _space(objective: nfr.Objective, real: streams.Real, rate: float) -> dict:
    """An outer step of the bi-level algorithm: 8 inner ones, 128 real images in either network."""
    adam, key, inner = optimisers.build("adam", 1e-3), jax.random.key(0), bilevel.Inner(8, batch=128, unroll=8)
    classes = bilevel.by_class(np.arange(len(real.images)) % 10, 10)
    state = bilevel.init(sampling.sample(objective.network, key, SHAPE), adam)
    step = functools.partial(bilevel.step, objective=objective, optimiser=adam, inner=inner, ipc=1)
    # Inner steps go there and back, again, and back through both; real images there, and back to the weights in one.
    floor = (8 * 3 * 2 * IMAGES + 2 * IMAGES + (1 + 3) * 128) * FORWARD
    taken = seconds(jax.jit(step), state, key, real, classes, repeats=5)
    return {"step": "bilevel, 8 inner steps, 128 real images", "seconds": taken, "floor": floor / rate}


def main() -> None:
    """Measure."""
    rate = convolution_rate()
    key = jax.random.key(0)
    network = ConvNet(10, norm="batch")
    variables = sampling.sample(network, key, SHAPE)
    objective = nfr.Objective(network)
    real = jax.random.normal(key, (REAL, *SHAPE))
    synthetic = SyntheticSet(jax.random.normal(key, (10, *SHAPE)), jax.random.normal(key, (10, 10)))
    forward = jax.jit(functools.partial(sampling.features, network))
    draw = streams.Draw(variables, forward(variables, real), jax.random.normal(key, (REAL, 10)))
    adam = optimisers.build("adam", 1e-3)
    distil = functools.partial(distillation.step, objective=objective, optimiser=adam)
    translator = Translator()
    moving = translation.optimiser(adam, adam)
    adapt = functools.partial(
        translation.step, sources=(synthetic,), translator=translator, objective=objective, optimiser=moving
    )
    recipe = training.Recipe("adam", schedule="warmup_cosine", steps=1000)
    plain = ConvNet(10)
    states = {
        "distill": (distillation.init(synthetic, adam), distil, IMAGES * FORWARD * 2),
        "translate": (
            translation.init(translation.fresh(translator, key, SHAPE), (synthetic,), moving),
            adapt,
            IMAGES * FORWARD * 2 + 10 * 3 * TRANSLATOR,
        ),
        "evaluate": (
            jax.tree.map(lambda leaf: leaf[0], training.init(plain, recipe, synthetic, key[None])),
            lambda state, _: training._step(plain, recipe, training._optimiser(recipe, 10))(state, 0, key, synthetic),
            10 * (3 * FORWARD - INPUT_LAYER),
        ),
    }
    rows = []
    with threadpoolctl.threadpool_limits(1, "blas"):
        for name, (state, step, flops) in states.items():
            single = seconds(jax.jit(step), state, draw)
            scanned = descent.dispatcher(lambda s, _, draw, step=step: step(s, draw), 10)
            many = seconds(lambda s, f=scanned, d=draw: f(jax.tree.map(jnp.copy, s), jnp.int32(0), d), state, repeats=3)
            rows.append({"step": name, "seconds": single, "in_scan": many / 10, "floor": flops / rate})
            print(rows[-1], flush=True)
        both = streams.Real(real, draw.labels)
        rows += [_lanes(network, variables, adam, rate), _pool(objective, both, synthetic, rate)]
        rows.append(_space(objective, both, rate))
        print(*rows[-3:], sep="\n", flush=True)
        for chunk in (128, REAL):
            chunks = [real[at : at + chunk] for at in range(0, REAL, chunk)]
            taken = seconds(lambda c=chunks: [forward(variables, x) for x in c], repeats=3)
            row = {"step": f"real features of {REAL} images, chunks of {chunk}", "seconds": taken}
            rows.append(row | {"floor": REAL * FORWARD / rate})
            print(rows[-1], flush=True)
    name = "bench" if jax.default_backend() == "cpu" else "bench_gpu"
    workdir.write(sweep.RESULTS / f"{name}.json", {"convolution_flops": rate, "rows": rows} | provenance.summary())


if __name__ == "__main__":
    main()
