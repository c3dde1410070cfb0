"""How long an image takes through a network or a translator on this machine: what estimates are made of."""

import time
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fsdd.core import compilation
from fsdd.methods import translation
from fsdd.networks import sampling
from fsdd.networks.translator import Translator


def seconds_per_image(network: nn.Module, chunk: jax.Array) -> float:
    """Wall seconds of one image's pass forward; `chunk` holds as many as pass at once, `[n, h, w, c]`."""
    variables = _zeros(lambda key: sampling.sample(network, key, chunk.shape[1:]))
    return _seconds(lambda variables, images: sampling.features(network, variables, images), variables, chunk)


def translator_seconds_per_image(translator: Translator, chunk: jax.Array) -> float:
    """The same for a translator."""
    variables = _zeros(lambda key: translation.fresh(translator, key, chunk.shape[1:]))
    return _seconds(lambda variables, images: translator.apply(variables, images, train=False), variables, chunk)


def _zeros(fresh: Callable[[jax.Array], dict]) -> dict:
    """Variables of the shapes that `fresh` draws: images pass them in the same time, and they take none to make."""
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(fresh, jax.random.key(0)))


def _seconds(forward: Callable, variables: dict, chunk: jax.Array) -> float:
    """Median of three passes, by the image."""
    # Variables are arguments: constants of zero might be folded.
    forward, times = compilation.jit(forward), []
    jax.block_until_ready(forward(variables, chunk))
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(forward(variables, chunk))
        times.append(time.perf_counter() - began)
    return float(np.median(times)) / len(chunk)
