"""Convolutions as CPUs are quick at them, against plain NumPy and XLA's own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import sum_tolerance

from fsdd.core import compilation
from fsdd.networks import convolutions, layers


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def numpy_conv(images, kernel, stride=1):
    """In float64, with zeros around the images."""
    size, half = len(kernel), len(kernel) // 2
    padded = np.pad(images.astype(np.float64), ((0, 0), (half, half), (half, half), (0, 0)))
    rows, columns = (range(0, images.shape[axis], stride) for axis in (1, 2))
    return np.stack(
        [
            np.stack([np.einsum("nijc,ijcd->nd", padded[:, i : i + size, j : j + size], kernel) for j in columns], 1)
            for i in rows
        ],
        axis=1,
    )


@pytest.mark.parametrize(
    ("side", "stride", "size"),
    [(1, 1, 3), (2, 1, 1), (2, 2, 1), (2, 1, 3), (2, 2, 3), (2, 1, 5), (5, 2, 3), (5, 1, 5), (5, 2, 5)],
)
def test_a_convolution_by_patches_is_a_convolution(side, stride, size):
    """In plain NumPy; it is linear in images and in kernels, so that gradients follow from its values."""
    images, kernel = noise(3, side, side, 4), noise(size, size, 4, 6, seed=1)
    wanted = numpy_conv(images.astype(np.float64), kernel, stride)
    weights = noise(*wanted.shape, seed=2)
    pads = [(size // 2, size // 2)] * 2

    @compilation.jit
    def convolve(images, kernel):
        def weighted(images, kernel):
            found = convolutions.by_patches(images, kernel, (stride, stride), pads)
            return jnp.sum(weights * found), found

        return jax.grad(weighted, (0, 1), has_aux=True)(images, kernel)

    gradients, found = convolve(images, kernel)
    close = sum_tolerance(4 * size**2, np.sqrt(4 * size**2))
    np.testing.assert_allclose(found, wanted, **close)
    other, other_kernel = noise(*images.shape, seed=3), noise(*kernel.shape, seed=4)
    for gradient, direction, moved in (
        (gradients[0], other, numpy_conv(other.astype(np.float64), kernel, stride)),
        (gradients[1], other_kernel, numpy_conv(images.astype(np.float64), other_kernel, stride)),
    ):
        slope = np.sum(weights * moved)
        magnitude = np.linalg.norm(weights * moved)
        np.testing.assert_allclose(
            np.vdot(np.asarray(gradient, np.float64), direction), slope, **sum_tolerance(4 * size**2, magnitude)
        )


@pytest.mark.parametrize("channels", [(2, 4), (4, 2)])
def test_each_of_the_three_is_the_gradient_of_the_sum_to_what_it_is_not_given(channels):
    """The sum of the convolution times outputs, in each of its three arguments, by directions."""
    images, kernel = noise(2, 5, 3, channels[0]), noise(3, 3, *channels, seed=1)
    outputs = noise(2, 5, 3, channels[1], seed=2)
    wanted = numpy_conv(images, kernel)
    close = sum_tolerance(9 * channels[0], np.sqrt(9 * channels[0]))
    np.testing.assert_allclose(convolutions.same(images, kernel), wanted, **close)
    for found, moved in (
        (convolutions.transposed(outputs, kernel), lambda other: numpy_conv(other, kernel)),
        (convolutions.correlate(images, outputs), lambda other: numpy_conv(images, other)),
    ):
        direction = noise(*found.shape, seed=3)
        slopes = outputs * moved(direction)
        close = sum_tolerance(slopes.size, np.linalg.norm(slopes))
        np.testing.assert_allclose(np.vdot(np.asarray(found, np.float64), direction), slopes.sum(), **close)


@pytest.mark.parametrize("channels", [(2, 4), (4, 2)])
def test_second_derivatives_are_those_of_a_plain_convolution(channels):
    """The gradient of a squared gradient reaches all that the three functions hand to each other."""

    def plain(images, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(images, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=layout)

    def twice(conv):
        def inner(images, kernel):
            return jnp.sum(jnp.sin(conv(images, kernel)))

        def outer(images, kernel):
            return sum(jnp.sum(leaf**2) for leaf in jax.grad(inner, (0, 1))(images, kernel))

        return compilation.jit(jax.grad(outer, (0, 1)))(images, kernel)

    images, kernel = noise(2, 5, 3, channels[0]), noise(3, 3, *channels, seed=1)
    for found, wanted in zip(twice(convolutions.same), twice(plain), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3)


def test_kernels_of_three_at_full_size_take_the_quick_way_on_cpus():
    is_cpu = jax.default_backend() == "cpu"
    assert (convolutions.choose((1, 8, 8, 3), 3, 1) is not None) == is_cpu
    assert convolutions.choose((1, 8, 8, 3), 5, 1) is None and convolutions.choose((1, 8, 8, 3), 3, 2) is None
    assert convolutions.choose((1, 2, 2, 3), 5, 2) is convolutions.by_patches


@pytest.mark.parametrize("shape", [(2, 4, 6, 3), (2, 5, 7, 3)])
def test_pooling_is_flaxs_to_the_second_order(shape):
    """Its values, its gradient, and the gradient of that; of an odd side the last pixel is left out."""
    images, weights = noise(*shape), noise(*shape, seed=1)

    def differentiated(pool):
        def first(images):
            return jax.grad(lambda images: jnp.sum(pool(images) ** 3))(images)

        return jax.jit(lambda images: (pool(images), first(images), jax.vjp(first, images)[1](weights)[0]))(images)

    wanted = differentiated(lambda x: nn.avg_pool(x, (2, 2), (2, 2)))
    for one, other in zip(differentiated(layers.pool), wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("channels", [(17, 20), (20, 17), (16, 20), (20, 3)])
def test_gradients_to_kernels_are_xlas_for_few_and_many_channels(channels):
    images, outputs = noise(2, 6, 5, channels[0]), noise(2, 6, 5, channels[1], seed=1)
    kernel = jnp.zeros((3, 3, *channels))
    wanted = jax.vjp(lambda kernel: convolutions._convolve(images, kernel), kernel)[1](outputs)[0]
    np.testing.assert_allclose(jax.jit(convolutions.correlate)(images, outputs), wanted, rtol=1e-4, atol=1e-4)
