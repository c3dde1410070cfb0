"""The device's own ceilings: matrix products, 3x3 convolutions, copies."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.engine.bench import Case, program, repeated
from experiments.benchmarks.engine.parts import Parts

_HIGHEST = jax.lax.Precision.HIGHEST
_KINDS = {
    "float32 HIGHEST": ("float32", _HIGHEST),
    "float32 default": ("float32", None),
    "float16": ("float16", None),
    "bfloat16": ("bfloat16", None),
}
# Images, side, channels in and out.
_CONVOLUTIONS = ((128, 16, 128, 256), (256, 8, 256, 512))


def cases(parts: Parts) -> list[Case]:
    """All kinds of numbers for each."""
    count, matrix = parts.sizes.scan, np.asarray(parts.normal(parts.sizes.square, parts.sizes.square))
    listed = [_product(parts, name, matrix) for name in _KINDS]
    listed += [_product(parts, name, matrix, times=2) for name in ("float16", "bfloat16")]
    listed.append(_product(parts, "float64", matrix))
    scale = parts.sizes.width / 128
    for images, side, *channels in _CONVOLUTIONS:
        wide = [max(int(scale * channel), 1) for channel in channels]
        listed += [_convolution(parts, name, max(int(scale * images), 1), side, *wide) for name in _KINDS]
    large = jnp.asarray(np.tile(np.asarray(parts.normal(1 << 10, 1 << 4)).ravel(), parts.sizes.large >> 14))
    copies = program(repeated(lambda x, _: (-x, ()), count), large)
    return [*listed, Case("copy of a large array", copies, count, moved=2 * 4 * large.size)]


def _product(parts: Parts, name: str, matrix: np.ndarray, times: int = 1) -> Case:
    """A chain of products of a tiled matrix, whose scale stays within bounds in so few."""
    dtype, precision = _KINDS.get(name, (name, None))
    count, side, x64 = max(parts.sizes.scan // 2, 1), times * len(matrix), dtype == "float64"
    with jax.enable_x64(x64):
        x, w = (jnp.asarray(np.tile((matrix * np.float32(scale)).astype(jnp.dtype(dtype)), (times, times)))
                for scale in (1, side**-0.5))  # fmt: skip
        run = repeated(lambda carry, _, w: (jnp.matmul(carry, w, precision=precision), ()), count)
        prepare = program(run, x, w, x64=x64)
    return Case(f"product {side}^3, {name}", prepare, count, 2 * side**3)


def _convolution(parts: Parts, name: str, images: int, side: int, inner: int, outer: int) -> Case:
    """Convolutions of the same images by one kernel after another."""
    dtype, precision = _KINDS[name]
    count = max(parts.sizes.scan // 2, 1)
    x = parts.normal(images, side, side, inner, dtype=dtype)
    kernels = parts.normal(count, 3, 3, inner, outer, dtype=dtype, scale=(9 * inner) ** -0.5)
    last = jnp.asarray(np.ones((images, side, side, outer)), dtype)

    def run(last, x, kernels):
        layout = ("NHWC", "HWIO", "NHWC")

        def one(_, kernel):
            out = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout, precision=precision)
            return out, ()

        return jax.lax.scan(one, last, kernels)[0]

    prepare = program(run, last, x, kernels)
    return Case(f"convolution {images} x {side}x{side} x {inner}->{outer}, {name}", prepare, count,
                2 * images * side**2 * 9 * inner * outer)  # fmt: skip
