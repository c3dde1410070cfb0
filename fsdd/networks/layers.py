"""What all networks share: initialisations, normalisations and what a network returns."""

import math
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

INITIALISATIONS = ("lecun", "torch")
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
         dtype=None, learns: bool = False) -> jax.Array:  # fmt: skip
    """A convolution with "same" zero padding; call it inside a compact module.

    `learns` is for networks whose gradients to the parameters are of many images (3x3 kernels at stride 1 alone): CPUs
    then take them by products.
    """
    fan_in = size * size * x.shape[-1]
    special = None
    if x.shape[1:3] == (2, 2):
        special = _by_patches
    elif learns and jax.default_backend() == "cpu":
        special = _with_quick_gradients
    return nn.Conv(
        channels, (size, size), (stride, stride), padding=size // 2, use_bias=bias, dtype=dtype,
        conv_general_dilated=special, **_initialisers(initialisation, fan_in),
    )(x)  # fmt: skip


def _by_patches(images: jax.Array, kernel: jax.Array, strides, padding, *, precision=None, **_) -> jax.Array:
    """A convolution `[n, h, w, c]`, `[s, s, c, d]` -> `[n, h', w', d]` as one product of patches and kernel.

    At 2x2 pixels XLA on CPU takes 8 to 60 times as long for its own.
    """
    padded = jnp.pad(images, ((0, 0), *padding, (0, 0)))
    rows, columns = (padded.shape[1 + axis] - kernel.shape[axis] + 1 for axis in (0, 1))
    patches = [
        padded[:, i : i + rows : strides[0], j : j + columns : strides[1]]
        for i in range(kernel.shape[0])
        for j in range(kernel.shape[1])
    ]
    product = jnp.concatenate(patches, axis=-1)
    return jnp.matmul(product, kernel.reshape(-1, kernel.shape[-1]), precision=precision)


def _with_quick_gradients(images: jax.Array, kernel: jax.Array, *_, **__) -> jax.Array:
    return _same_conv(images, kernel)


@jax.custom_vjp
def _same_conv(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """A 3x3 convolution, `[n, h, w, c]`, `[3, 3, c, d]` -> `[n, h, w, d]`, whose gradients are `_correlate`'s.

    For gradients to kernels XLA on CPU takes five times as long for its own convolutions. The two functions are each
    other's derivatives, of any order.
    """
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(images, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=layout)


@jax.custom_vjp
def _correlate(images: jax.Array, outputs: jax.Array) -> jax.Array:
    """Sums over all pixels of each neighbour times each output, `[n, h, w, c]`, `[n, h, w, d]` -> `[3, 3, c, d]`."""
    height, width, channels = images.shape[1:]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))

    def row(i):
        # Three neighbours at once: one product of all nine takes more memory, nine pass over the outputs more often.
        patches = [padded[:, i : i + height, j : j + width] for j in range(3)]
        product = jnp.tensordot(jnp.concatenate(patches, axis=-1), outputs, ((0, 1, 2), (0, 1, 2)))
        return product.reshape(3, channels, -1)

    return jnp.stack([row(i) for i in range(3)])


def _turned(kernel: jax.Array) -> jax.Array:
    """The kernel that takes outputs back to images."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


def _keep(function: Callable) -> Callable:
    return lambda first, second: (function(first, second), (first, second))


def _conv_backward(kept, bar):
    images, kernel = kept
    return _same_conv(bar, _turned(kernel)), _correlate(images, bar)


def _correlate_backward(kept, bar):
    images, outputs = kept
    return _same_conv(outputs, _turned(bar)), _same_conv(images, bar)


_same_conv.defvjp(_keep(_same_conv), _conv_backward)
_correlate.defvjp(_keep(_correlate), _correlate_backward)


def dense(x: jax.Array, units: int, initialisation: str, dtype=None) -> jax.Array:
    """A dense layer; call it inside a compact module."""
    return nn.Dense(units, dtype=dtype, **_initialisers(initialisation, x.shape[-1]))(x)


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
