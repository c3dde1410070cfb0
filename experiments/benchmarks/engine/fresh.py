"""Adaptation over fresh networks: today's stream, beside one scanned program that does all of a step on the device."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.engine.bench import Case, program, repeated
from experiments.benchmarks.engine.parts import SHAPE, Parts, start
from fsdd.methods import streams, translation
from fsdd.methods.nfr import Objective
from fsdd.networks import sampling
from fsdd.networks.translator import Translator

_SIZES = 2  # of the sets, those that are adapted


def cases(parts: Parts) -> list[Case]:
    """Today's, then scans by kind of features and of stored images, then pieces of a step."""
    sizes = parts.sizes.images[:_SIZES]
    stored = _stored(parts)
    listed = [_today(parts, size) for size in sizes]
    listed += [
        _scanned(parts, size, dtype, stored[kind], f"{size} images, scanned, features {dtype}, {kind}")
        for size in sizes
        for dtype in ("float32", "float16")
        for kind in stored
    ]
    pool = stored["images float32"]
    name = f"{sizes[0]} images, scanned, features float32, rows in turn"
    listed.append(_scanned(parts, sizes[0], "float32", pool, name, in_turn=True))
    return [*listed, *_pieces(parts, pool)]


def _stored(parts: Parts) -> dict[str, dict[str, jax.Array]]:
    """Real images as they are on the device: whitened, or bytes with what whitens them."""
    real, size = parts.pool, int(np.prod(SHAPE))
    pixels = np.clip(np.asarray(real.images[:1000]) * 50 + 128, 0, 255).astype(np.uint8)
    pixels = np.tile(pixels, (len(real.images) // len(pixels), 1, 1, 1))
    matrix = parts.normal(size, size, scale=4 / size**0.5)
    return {
        "images float32": {"images": real.images, "labels": real.labels},
        "images uint8": {"images": jnp.asarray(pixels), "labels": real.labels, "matrix": matrix},
    }


def _take(pool: dict[str, jax.Array], rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Whitened images and labels of some rows."""
    images = pool["images"][rows]
    if "matrix" in pool:
        images = ((images.reshape(len(rows), -1) / 255.0 - 0.5) @ pool["matrix"]).reshape(images.shape)
    return images, pool["labels"][rows]


def moving(parts: Parts, size: int) -> tuple[Callable, Callable, jax.Array]:
    """A step on a draw, its start, and the set to translate."""
    translator, synthetic = Translator(widths=parts.sizes.translator), parts.synthetic(size)
    optimiser = translation.build_optimiser(parts.adam, parts.adam)

    def step(state, draw, source):
        settings = {"translator": translator, "objective": Objective(parts.network()), "optimiser": optimiser}
        return translation.step(state, draw, sources=(source,), **settings)

    shapes = jax.eval_shape(lambda key: translation.fresh(translator, key, SHAPE), jax.random.key(0))
    variables = jax.tree_util.tree_map_with_path(functools.partial(parts.leaf, ()), shapes)
    start_of = translation.Moving(variables["params"], (synthetic.labels,))
    return step, lambda: start(start_of, optimiser, variables["batch_stats"]), synthetic


def _today(parts: Parts, size: int) -> Case:
    """`streams.run`, a dispatch a step; each call goes on where the last one ended."""
    step, begin, synthetic = moving(parts, size)
    count = parts.sizes.fresh

    def prepare():
        stream = streams.Stream(10**6, 1, real_images=parts.sizes.real, chunk=parts.sizes.real)
        keys = jax.random.key(1), jax.random.key(2)
        # Its start is donated: it must be its own.
        state = jax.tree.map(jnp.copy, begin())
        taken = streams.run(
            stream, parts.network(), parts.pool, keys, lambda carry, draw: step(carry, draw, synthetic), state
        )
        next(taken)
        return lambda: [next(taken)[2] for _ in range(count)][-1]

    return Case(f"{size} images, today's stream", prepare, count, _flops(parts, size))


def _flops(parts: Parts, size: int) -> float:
    return (parts.sizes.real + 2 * 2 * size) * parts.forward


def _scanned(parts: Parts, size: int, dtype: str, pool: dict, name: str, in_turn: bool = False) -> Case:
    """All of it in one scan; rows are random, with replacement, or those after a random one."""
    step, begin, synthetic = moving(parts, size)
    network, count = parts.network(dtype), parts.sizes.fresh

    def whole(state, index, source, pool):
        network_key, rows_key = jax.random.split(jax.random.fold_in(jax.random.key(1), index))
        variables = sampling.sample(network, network_key, SHAPE)
        many = len(pool["images"])
        first = jax.random.randint(rows_key, () if in_turn else (parts.sizes.real,), 0, many)
        rows = (first + jnp.arange(parts.sizes.real)) % many if in_turn else first
        images, labels = _take(pool, rows)
        features = sampling.features(network, variables, images)
        return step(state, streams.Draw(variables, features, labels), source)

    return Case(name, program(repeated(whole, count), begin(), synthetic, pool), count, _flops(parts, size))


def _pieces(parts: Parts, pool: dict) -> list[Case]:
    """What a network's draw, a permutation and a gather of rows take."""
    count, real, many = parts.sizes.scan, parts.sizes.real, len(pool["images"])

    def key(index):
        return jax.random.fold_in(jax.random.key(1), index)

    def network(last, index):
        return sampling.sample(parts.network(), key(index), SHAPE), ()

    def permutation(last, index):
        return jax.random.permutation(key(index), many)[:real], ()

    def gather(last, index, pool):
        return _take(pool, jax.random.randint(key(index), (real,), 0, many)), ()

    rows = jnp.asarray(np.arange(real, dtype=np.int32) % many)
    last = parts.normal(real, *SHAPE), parts.labels(real)
    return [
        Case("a network's draw alone", program(repeated(network, count), parts.variables()), count),
        Case("permutation of all rows alone", program(repeated(permutation, count), rows), count),
        Case("random rows and their images alone", program(repeated(gather, count), last, pool), count),
    ]
