"""The real images, or the noise, that a synthetic set starts as."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from fsdd.assembly import keys
from fsdd.core import chunks, synthetic_set
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.distilling import spaces
from fsdd.distilling.context import Context
from fsdd.io import progress
from fsdd.methods import rtp, streams


def choose_start(context: Context, ipc: int) -> SyntheticSet:
    """A set of real images, or noise; with a factor, so many more of them, each so much smaller."""
    config, labels, classes = context.config, context.data.train_labels, context.data.num_classes
    count, shrink = ipc * config.factor**2, synthetic_set.encode
    if config.start in ("noise", "grey"):
        return _draw_noise(context, count)
    if config.start == "herding":
        chosen = _herd(context, count)
    elif config.start == "first":
        chosen, shrink = synthetic_set.choose_first(labels, classes, count), synthetic_set.pick
    else:
        chosen = synthetic_set.choose_real(labels, classes, count, config.seed)
    return synthetic_set.from_real(
        context.real.images, labels, chosen, classes, config.factor, config.objective.flip, config.seed, shrink
    )


def _draw_noise(context: Context, count: int) -> SyntheticSet:
    """Standard normal noise in the space of whitened images, or RTP's uniform one, `count` images of each class."""
    classes, (height, width, channels) = context.data.num_classes, context.data.image_shape
    factor, key = context.config.factor, keys.purpose_key(context.config.seed, "noise")
    shape = (classes * count, height // factor, width // factor, channels)
    labels = synthetic_set.initial_labels(np.repeat(np.arange(classes), count), classes)
    if context.config.start == "grey":
        images = rtp.uniform(key, (len(labels), math.prod(shape[1:]))).reshape(shape)
    else:
        images = jax.random.normal(key, shape)
    return SyntheticSet(images, jnp.asarray(labels))


def _herd(context: Context, count: int) -> np.ndarray:
    """Indices of `count` real images of each class, herded by their features in the one fixed network.

    A class of fewer images gives all it has, again and again in the order in which they were herded.
    """
    labels, variables = context.data.train_labels, spaces.draw_fixed(context)
    program = streams.feature_program(context.objective.network)
    # No more than the smallest class has: one compiled shape.
    size = min(context.config.compute.chunk, int(np.bincount(labels).min()))
    chosen = []
    with progress.bar("herding", len(labels), unit="image") as bar:
        for label in range(context.data.num_classes):
            rows = np.flatnonzero(labels == label)
            features = chunks.map_chunks(
                lambda some: program(variables, context.real.images, some),
                jnp.asarray(rows),
                size,
            )
            herded = synthetic_set.herd(np.asarray(features), min(count, len(rows)))
            chosen.append(rows[np.resize(herded, count)])
            bar.update(len(rows))
    return np.concatenate(chosen)
