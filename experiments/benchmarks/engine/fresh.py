"""Adaptation over fresh networks, steps dispatched singly or many at once, and pieces of a step."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.engine.bench import Case, program, repeated
from experiments.benchmarks.engine.parts import DTYPES, SHAPE, Parts, start
from fsdd.methods import stream_driver, streams, translation
from fsdd.methods.nfr import Objective
from fsdd.methods.streams import Real
from fsdd.networks import sampling
from fsdd.networks.translator import Translator

_SIZES = 2  # of the sets, those that are adapted


def cases(parts: Parts) -> list[Case]:
    """Streams by steps of a dispatch and kinds of numbers, then pieces of a step."""
    sizes, count = parts.sizes.images[:_SIZES], parts.sizes.fresh
    listed = [_stream(parts, size, dispatch, "float32") for size in sizes for dispatch in (1, count)]
    listed += [_stream(parts, size, count, dtype) for size in sizes for dtype in DTYPES[1:]]
    return [*listed, *_pieces(parts)]


def moving(parts: Parts, size: int) -> tuple[Callable, Callable, jax.Array]:
    """A step on a draw, its start, and the set to translate."""
    translator, synthetic = Translator(widths=parts.sizes.translator), parts.synthetic(size)
    optimiser = translation.build_optimiser(parts.adam, parts.adam)

    def step(state, draws, source):
        settings = {"translator": translator, "objective": Objective(parts.network()), "optimiser": optimiser}
        return translation.step(state, draws, (source,), **settings)

    shapes = jax.eval_shape(lambda key: translation.fresh(translator, key, SHAPE), jax.random.key(0))
    variables = jax.tree_util.tree_map_with_path(functools.partial(parts.leaf, ()), shapes)
    start_of = translation.Moving(variables["params"], (synthetic.labels,))
    return step, lambda: start(start_of, optimiser, variables["batch_stats"]), synthetic


def _stream(parts: Parts, size: int, dispatch: int, dtype: str) -> Case:
    """`stream_driver.run` with real features in so many bits; each call goes on where the last one ended."""
    step, begin, synthetic = moving(parts, size)
    count = parts.sizes.fresh

    def prepare():
        stream = streams.Stream(count * 10**5, 1, real_images=parts.sizes.real, chunk=parts.sizes.real)
        keys = jax.random.key(1), jax.random.key(2)
        # Its start is donated: it must be its own.
        state = jax.tree.map(jnp.copy, begin())
        taken = stream_driver.run(
            stream, parts.network(dtype), parts.pool, keys, step, state, synthetic, dispatch=dispatch
        )
        next(taken)
        return lambda: [next(taken)[2] for _ in range(count // dispatch)][-1]

    flops = (parts.sizes.real + 2 * 2 * size) * parts.forward
    return Case(f"{size} images, {dispatch} steps a dispatch, features {dtype}", prepare, count, flops)


def _pieces(parts: Parts) -> list[Case]:
    """What a network's draw, a permutation and a gather of rows take."""
    count, real, pool = parts.sizes.scan, parts.sizes.real, parts.pool
    many = len(pool.images)

    def key(index):
        return jax.random.fold_in(jax.random.key(1), index)

    def network(last, index):
        return sampling.sample(parts.network(), key(index), SHAPE), ()

    def permutation(last, index):
        return jax.random.permutation(key(index), many)[:real], ()

    def gather(last, index, pool):
        rows = jax.random.randint(key(index), (real,), 0, many)
        return Real(pool.images[rows], pool.labels[rows]), ()

    rows = jnp.asarray(np.arange(real, dtype=np.int32) % many)
    last = Real(parts.normal(real, *SHAPE), parts.labels(real))
    return [
        Case("a network's draw alone", program(repeated(network, count), parts.variables()), count),
        Case("permutation of all rows alone", program(repeated(permutation, count), rows), count),
        Case("random rows and their images alone", program(repeated(gather, count), last, pool), count),
    ]
