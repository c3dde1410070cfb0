"""What is measured on: sizes, random inputs, networks. Inputs are drawn on the host, so that nothing is compiled."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fsdd.core import descent
from fsdd.core.synthetic_set import SyntheticSet, initial_labels
from fsdd.methods import optimisers
from fsdd.methods.streams import Draw, Real
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet

SHAPE, CLASSES = (32, 32, 3), 10
DTYPES = ("float32", "float16", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How large everything is.

    Attributes:
        width: of the ConvNet.
        images: of synthetic sets.
        real: real images that a step sees.
        pool: real images on the device.
        scan: steps in a scan.
        fresh: steps over fresh networks, each.
        square: side of a matrix.
        large: entries of an array to copy.
        rows: of a head.
        subsets: side by side in the cache.
        inner: steps that are unrolled.
        batch: real images of the bi-level algorithm.
        translator: widths of the translator.
    """

    width: int = 128
    images: tuple[int, ...] = (10, 100, 500)
    real: int = 1024
    pool: int = 50_000
    scan: int = 20
    fresh: int = 40
    square: int = 4096
    large: int = 1 << 27
    rows: tuple[int, ...] = (20, 200, 1000)
    subsets: int = 8
    inner: int = 8
    batch: int = 128
    translator: tuple[int, int, int] = (64, 64, 64)


SMOKE = Sizes(8, (10,), 32, 256, 2, 2, 64, 1 << 14, (8, 16), 2, 2, 16, (8, 8, 8))


class Parts:
    """Random inputs of these sizes.

    Attributes:
        sizes: how large they are.
        adam: an optimiser.
    """

    def __init__(self, sizes: Sizes):
        """Draw nothing yet."""
        self.sizes, self.adam = sizes, optimisers.build("adam", 1e-3)
        self._rng = np.random.default_rng(0)

    def normal(self, *shape: int, dtype: Any = "float32", scale: float = 1.0) -> jax.Array:
        """Random normal numbers, times a scale."""
        return jnp.asarray((self._rng.standard_normal(shape, np.float32) * np.float32(scale)).astype(jnp.dtype(dtype)))

    def network(self, dtype: str = "float32", norm: str = "batch") -> ConvNet:
        """The ConvNet; float32 is its default."""
        return ConvNet(CLASSES, self.sizes.width, norm=norm, dtype=None if dtype == "float32" else jnp.dtype(dtype))

    @property
    def forward(self) -> float:
        """FLOPs of an image through the network."""
        w = self.sizes.width
        return 2 * 9 * (32**2 * 3 * w + 16**2 * w * 2 * w + 8**2 * 2 * w * 4 * w)

    def variables(self, norm: str = "batch", count: int | None = None) -> sampling.Variables:
        """One random network, or several stacked."""
        network = self.network(norm=norm)
        shapes = jax.eval_shape(lambda key: sampling.sample(network, key, SHAPE), jax.random.key(0))
        return jax.tree_util.tree_map_with_path(functools.partial(self.leaf, () if count is None else (count,)), shapes)

    def leaf(self, lead: tuple[int, ...], path: tuple, like: jax.ShapeDtypeStruct) -> jax.Array:
        """One array of a network's variables, by its path, as `tree_map_with_path` calls it."""
        name, shape = path[-1].key, (*lead, *like.shape)
        if name == "kernel":
            return self.normal(*shape, scale=1 / math.sqrt(math.prod(like.shape[:-1])))
        return jnp.asarray(np.full(shape, float(name in ("scale", "var")), np.float32))

    def labels(self, count: int) -> jax.Array:
        """Centred labels `[count, classes]`, classes in turn."""
        return jnp.asarray(initial_labels(np.sort(np.arange(count) % CLASSES), CLASSES))

    def synthetic(self, count: int) -> SyntheticSet:
        """So many images and labels."""
        return SyntheticSet(self.normal(count, *SHAPE), self.labels(count))

    @functools.cached_property
    def draw(self) -> Draw:
        """A network, and features that are like those of real images."""
        variables, real = self.variables(), self.sizes.real
        size = sampling.feature_size(self.network(), SHAPE)
        return Draw(variables, jnp.asarray(ill_conditioned(self._rng, real, size)), self.labels(real))

    @functools.cached_property
    def pool(self) -> Real:
        """Many real images, some of them the same."""
        tile = min(5000, self.sizes.pool)
        images = np.tile(self._rng.standard_normal((tile, *SHAPE), np.float32), (self.sizes.pool // tile, 1, 1, 1))
        return Real(jnp.asarray(images), self.labels(len(images)))


def ill_conditioned(rng: np.random.Generator, rows: int, size: int, seed: int = 1) -> np.ndarray:
    """ReLU features of a shared mean, a few shared directions and small noise: a Gram matrix of condition near 1e6."""
    shared = np.random.default_rng(seed)
    mean, directions = shared.standard_normal(size), shared.standard_normal((8, size))
    noise = rng.standard_normal((rows, size), np.float32) * math.sqrt(rows / 1e6)
    return np.maximum(mean + 0.01 * rng.standard_normal((rows, 8)) @ directions + noise, 0).astype(np.float32)


def start(moving: Any, optimiser: optax.GradientTransformation, rest: Any = ()) -> descent.State:
    """`descent.init` without compiling anything: moments are zeros from the host."""
    shapes = jax.eval_shape(optimiser.init, moving)
    return descent.State(moving, rest, jax.tree.map(lambda like: jnp.asarray(np.zeros(like.shape, like.dtype)), shapes))


def predict(weights: jax.Array, features: jax.Array) -> jax.Array:
    """`[m, c]` for features `[m, d]` and a head `[c, d]`, as `krr.predict`."""
    return jnp.einsum("cd,md->cm", weights, features, precision=jax.lax.Precision.HIGHEST).T
