"""What all networks share: initialisations, normalisations and what a network returns."""

import math
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsdd.networks import convolutions

INITIALISATIONS = ("lecun", "torch")
# What Flax calls the dense layer in the parameters of every architecture.
HEAD = "Dense_0"
NORMS = ("none", "batch", "instance")


class Output(NamedTuple):
    """What a network makes of images `[n, h, w, c]`.

    Attributes:
        features: `[n, d]`, the flattened activation before the dense layer.
        logits: `[n, classes]`. They cost nothing where only the features are used: the compiler drops them.
    """

    features: jax.Array
    logits: jax.Array


def _symmetric_uniform(bound: float) -> Callable:
    def initialise(key, shape, dtype=jnp.float32, out_sharding=None):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return initialise


def _initialisers(initialisation: str, fan_in: int) -> dict[str, Callable]:
    """Kernel and bias initialisers.

    "lecun" is Flax's default (kernels of variance 1/fan_in, zero biases), "torch" is PyTorch's (kernels and biases
    both uniform in +-1/sqrt(fan_in): a third of that variance, and biases that matter).
    """
    if initialisation == "lecun":
        return {"kernel_init": nn.initializers.lecun_normal(), "bias_init": nn.initializers.zeros_init()}
    if initialisation == "torch":
        uniform = _symmetric_uniform(1 / math.sqrt(fan_in))
        return {"kernel_init": uniform, "bias_init": uniform}
    raise ValueError(f"initialisation {initialisation!r} is none of {INITIALISATIONS}")


def conv(x: jax.Array, channels: int, initialisation: str, size: int = 3, stride: int = 1, bias: bool = True,
         dtype=None) -> jax.Array:  # fmt: skip
    """A convolution with "same" zero padding; call it inside a compact module."""
    fan_in = size * size * x.shape[-1]
    return nn.Conv(
        channels, (size, size), (stride, stride), padding=size // 2, use_bias=bias, dtype=dtype,
        conv_general_dilated=convolutions.choose(x.shape, size, stride), **_initialisers(initialisation, fan_in),
    )(x)  # fmt: skip


def dense(x: jax.Array, units: int, initialisation: str, dtype=None) -> jax.Array:
    """A dense layer; call it inside a compact module."""
    return nn.Dense(units, dtype=dtype, **_initialisers(initialisation, x.shape[-1]))(x)


def pool(x: jax.Array) -> jax.Array:
    """Means of 2x2 pixels; of an odd side the last is left out."""
    if jax.default_backend() != "cpu":
        return nn.avg_pool(x, (2, 2), (2, 2))
    height, width = (side // 2 * 2 for side in x.shape[1:3])
    return pool_pairs(x[:, :height, :width])


# Both are linear, and each is the other's transpose: so they are each other's derivatives, of any order.


@jax.custom_vjp
def pool_pairs(x: jax.Array) -> jax.Array:
    """Means of 2x2 pixels, `[n, h, w, c]` of even sides -> `[n, h/2, w/2, c]`.

    XLA on CPU computes these sums along with what comes before them, and `nn.avg_pool` after it.
    """
    corners = [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    return sum(corners[1:], corners[0]) / 4


@jax.custom_vjp
def spread(x: jax.Array) -> jax.Array:
    """A quarter of each pixel in all of 2x2, `[n, h, w, c]` -> `[n, 2 * h, 2 * w, c]`."""
    n, height, width, channels = x.shape
    quarters = jnp.broadcast_to((x / 4)[:, :, None, :, None], (n, height, 2, width, 2, channels))
    return quarters.reshape(n, 2 * height, 2 * width, channels)


pool_pairs.defvjp(lambda x: (pool_pairs(x), None), lambda _, g: (spread(g),))
spread.defvjp(lambda x: (spread(x), None), lambda _, g: (pool_pairs(g),))


def norm(x: jax.Array, kind: str, train: bool) -> jax.Array:
    """A normalisation of `NORMS`; call it inside a compact module.

    "batch" uses running statistics unless `train` (momentum 0.1: nine tenths of each new batch, as in FRePo).
    "instance" is a group norm of one group a channel; a single pixel, which it would make zero, passes as it is.
    """
    if kind == "none" or (kind == "instance" and x.shape[1:3] == (1, 1)):
        return x
    if kind == "batch":
        return nn.BatchNorm(use_running_average=not train, momentum=0.1, epsilon=1e-5)(x)
    if kind == "instance":
        return nn.GroupNorm(num_groups=None, group_size=1, epsilon=1e-5)(x)
    raise ValueError(f"norm {kind!r} is none of {NORMS}")
