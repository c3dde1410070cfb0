"""Convolutions as CPUs are quick at them: what `jax.lax.conv_general_dilated` gives, but for rounding."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

# Channels of which all neighbours of a pixel are rather taken at once.
_FEW = 16


def choose(shape: Sequence[int], size: int, stride: int) -> Callable | None:
    """What convolves images of shape `[n, h, w, c]` by kernels of `size` with "same" padding; None is XLA's own.

    It takes and returns what `jax.lax.conv_general_dilated` does.
    """
    if tuple(shape[1:3]) == (2, 2):
        return by_patches
    if size == 3 and stride == 1 and jax.default_backend() == "cpu":
        return lambda images, kernel, *_, **__: same(images, kernel)
    return None


def by_patches(images: jax.Array, kernel: jax.Array, strides, padding, *, precision=None, **_) -> jax.Array:
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


# A 3x3 convolution y of images x by a kernel k is linear in both. So the sum of y * z, for outputs z, is linear in x, k
# and z, and each of three functions is its gradient to the one that it is not given: `same` to z, `transposed` to x and
# `correlate` to k. They are each other's derivatives, of any order.


@jax.custom_vjp
def same(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """A 3x3 convolution with "same" padding, `[n, h, w, c]`, `[3, 3, c, d]` -> `[n, h, w, d]`.

    XLA on CPU takes up to five times as long as `correlate` for the gradient of its own to the kernel.
    """
    return _convolve(images, kernel)


def _convolve(images: jax.Array, kernel: jax.Array) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(images, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=layout)


@jax.custom_vjp
def transposed(outputs: jax.Array, kernel: jax.Array) -> jax.Array:
    """The convolution back, `[n, h, w, d]`, `[3, 3, c, d]` -> `[n, h, w, c]`."""
    images = jax.ShapeDtypeStruct((*outputs.shape[:3], kernel.shape[2]), outputs.dtype)
    return jax.linear_transpose(lambda images: _convolve(images, kernel), images)(outputs)[0]


@jax.custom_vjp
def correlate(images: jax.Array, outputs: jax.Array) -> jax.Array:
    """Sums over all pixels of each neighbour times each output, `[n, h, w, c]`, `[n, h, w, d]` -> `[3, 3, c, d]`."""
    if outputs.shape[-1] < images.shape[-1]:
        # The neighbours of what has fewer channels make the better products; seen from there they lie opposite.
        return _products(outputs, images)[::-1, ::-1].swapaxes(2, 3)
    return _products(images, outputs)


def _products(images: jax.Array, outputs: jax.Array) -> jax.Array:
    few = images.shape[-1] <= _FEW
    return (_product_of_patches if few else _product_of_columns_and_rows)(images, outputs)


def _product_of_patches(images: jax.Array, outputs: jax.Array) -> jax.Array:
    """All nine neighbours, side by side, times the outputs: of few channels they take little room."""
    height, width, channels = images.shape[1:]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    patches = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    product = jnp.tensordot(jnp.concatenate(patches, axis=-1), outputs, ((0, 1, 2), (0, 1, 2)))
    return product.reshape(3, 3, channels, -1)


def _product_of_columns_and_rows(images: jax.Array, outputs: jax.Array) -> jax.Array:
    """Neighbours in a row, side by side, times the outputs of three rows: a third of the room of all neighbours."""
    height, width, channels = images.shape[1:]
    padded = jnp.pad(images, ((0, 0), (0, 0), (1, 1), (0, 0)))
    columns = jnp.concatenate([padded[:, :, j : j + width] for j in range(3)], axis=-1)
    # A row of images is the neighbour i - 1 rows below the outputs of this one.
    padded = jnp.pad(outputs, ((0, 0), (1, 1), (0, 0), (0, 0)))
    rows = jnp.concatenate([padded[:, 2 - i : 2 - i + height] for i in range(3)], axis=-1)
    product = jnp.tensordot(columns, rows, ((0, 1, 2), (0, 1, 2)))
    return product.reshape(3, channels, 3, -1).transpose(2, 0, 1, 3)


def _keep(function: Callable) -> Callable:
    return lambda first, second: (function(first, second), (first, second))


same.defvjp(_keep(same), lambda kept, z: (transposed(z, kept[1]), correlate(kept[0], z)))
transposed.defvjp(_keep(transposed), lambda kept, x: (same(x, kept[1]), correlate(x, kept[0])))
correlate.defvjp(_keep(correlate), lambda kept, k: (transposed(kept[1], k), same(kept[0], k)))
