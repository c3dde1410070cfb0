"""How long an image takes through a network or a translator on this machine: what estimates are made of.

What is timed are the very programs that stages use, but for fresh networks: they are compiled once for both.
"""

import time
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fsdd.methods import streams, translation
from fsdd.networks import sampling
from fsdd.networks.translator import Translator


def seconds_per_image(network: nn.Module, images: jax.Array, chunk: int, cache_dtype: str = "float32") -> float:
    """Wall seconds of one image's pass forward.

    Args:
        network: a random network of this kind is passed.
        images: `[n, h, w, c]`, on the device.
        chunk: how many pass at once.
        cache_dtype: what features are kept in.
    """
    program = streams.feature_program(network, cache_dtype)
    variables = _zeros(lambda key: sampling.sample(network, key, images.shape[1:]))
    rows = jnp.arange(min(chunk, len(images)))
    return _seconds(lambda: program(variables, images, rows)) / len(rows)


def translator_seconds_per_image(translator: Translator, images: jax.Array, factor: int = 1) -> float:
    """Wall seconds of one image's pass through a translator, for stored images `[n, h, w, c]` that pass at once."""
    program = translation.translation_program(translator, factor)
    shape = jax.eval_shape(lambda: translation.decode(images, factor)).shape[1:]
    variables = _zeros(lambda key: translation.fresh(translator, key, shape))
    return _seconds(lambda: program(variables, images)) / len(images)


def _zeros(fresh: Callable[[jax.Array], dict]) -> dict:
    """Variables of the shapes that `fresh` draws: images pass them in the same time, and they take none to make."""
    # Made on the host: on the device each shape would be a program of its own.
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(fresh, jax.random.key(0)))
    return jax.device_put(zeros)


def _seconds(forward: Callable[[], jax.Array]) -> float:
    """Median of three passes, after one that compiles."""
    jax.block_until_ready(forward())
    times = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(forward())
        times.append(time.perf_counter() - began)
    return float(np.median(times))
