"""The synthetic set S: what is distilled."""

from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np


@flax.struct.dataclass
class SyntheticSet:
    """Images and labels that move by gradient.

    Attributes:
        images: float `[n, h, w, c]`, whitened; sorted by class, the images of one class in consecutive rows.
        labels: float `[n, classes]`, centred (a one-hot row minus its mean, scaled).

    Sets that move side by side are stacked: `[sets, n, ...]`.
    """

    images: jax.Array
    labels: jax.Array

    def __len__(self) -> int:
        return self.images.shape[0]

    def mirrored(self) -> "SyntheticSet":
        """The set followed by its horizontal mirror: twice the rows, the labels repeated."""
        images = jnp.concatenate([self.images, self.images[:, :, ::-1]])
        return SyntheticSet(images, jnp.concatenate([self.labels, self.labels]))

    def subsample(self, key: jax.Array, count: int) -> "SyntheticSet":
        """At most `count` of its images; `key` decides which."""
        if len(self) <= count:
            return self
        rows = jax.random.permutation(key, len(self))[:count]
        return SyntheticSet(self.images[rows], self.labels[rows])

    def decoded(self, factor: int) -> "SyntheticSet":
        """The set whose images are those that networks see: see `decode`."""
        return self.replace(images=decode(self.images, factor))


def decode(images: jax.Array, factor: int) -> jax.Array:
    """Stored images to those that networks see, `[n, h, w, c]` -> `[n, factor * h, factor * w, c]`, bilinear.

    With a factor of 2 a set of four times as many images takes as many numbers ("DS").
    """
    if factor == 1:
        return images
    n, h, w, c = images.shape
    return jax.image.resize(images, (n, factor * h, factor * w, c), "bilinear")


def encode(images: jax.Array, factor: int) -> jax.Array:
    """Images to what is stored of them, `[n, factor * h, factor * w, c]` -> `[n, h, w, c]`: means of squares."""
    if factor == 1:
        return images
    n, h, w, c = images.shape
    return jnp.mean(images.reshape(n, h // factor, factor, w // factor, factor, c), axis=(2, 4))


def pick(images: jax.Array, factor: int) -> jax.Array:
    """The same by single pixels, the first of each square, as IDC shrinks the images that it starts from."""
    return images[:, ::factor, ::factor]


@flax.struct.dataclass
class Mask:
    """What of a padded synthetic set is no padding; padded images and labels are zero, and stay it.

    Attributes:
        rows: bool `[n]`.
        classes: bool `[classes]`.
    """

    rows: jax.Array
    classes: jax.Array


def centred_labels(classes: np.ndarray, num_classes: int) -> np.ndarray:
    """One-hot rows minus 1/C: int `[n]` -> float32 `[n, C]`, the regression target of real images."""
    return (np.eye(num_classes, dtype=np.float32) - np.float32(1 / num_classes))[classes]


def initial_labels(classes: np.ndarray, num_classes: int) -> np.ndarray:
    """The labels that distillation starts from: centred ones divided by sqrt(C/10), `[n, C]`."""
    return centred_labels(classes, num_classes) / np.float32(np.sqrt(num_classes / 10))


def choose_real(labels: np.ndarray, num_classes: int, ipc: int, seed: int) -> np.ndarray:
    """Indices `[C * ipc]` of real images to start from: `ipc` per class, sorted by class, drawn without replacement.

    A class of fewer images gives all it has, again and again in one random order; `varied` makes these differ.
    """
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(labels == label) for label in range(num_classes)]
    return np.concatenate([np.resize(rng.choice(own, min(ipc, len(own)), replace=False), ipc) for own in rows])


def choose_first(labels: np.ndarray, num_classes: int, ipc: int) -> np.ndarray:
    """The same of the first real images of each class in their order; one of fewer gives them again and again."""
    rows = [np.flatnonzero(labels == label) for label in range(num_classes)]
    return np.concatenate([np.resize(own[:ipc], ipc) for own in rows])


def varied(images: jax.Array, chosen: np.ndarray, mirror: bool, seed: int) -> jax.Array:
    """Images of which some are chosen more than once, in versions that differ: distilled from equals, they stay equal.

    Args:
        images: whitened `[m, h, w, c]`, those of `chosen`.
        chosen: int `[m]`, the index of each; where it is there for the first time the image is left as it is.
        mirror: whether every second version is the mirror image.
        seed: determines the noise, a tenth of the standard deviation of the images, in all further versions.
    """
    _, first, inverse = np.unique(chosen, return_index=True, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    starts = np.searchsorted(inverse[order], np.arange(len(first)))
    version = np.empty(len(chosen), int)
    version[order] = np.arange(len(chosen)) - np.repeat(starts, np.diff([*starts, len(chosen)]))
    if not version.any():
        return images
    turned = jnp.asarray(version % 2 == 1) & mirror
    images = jnp.where(turned[:, None, None, None], images[:, :, ::-1], images)
    noise = np.random.default_rng(seed).standard_normal(images.shape).astype(np.float32)
    # Where an image is regressed on with its mirror image, noise alone tells it from its mirror image.
    return images + jnp.asarray(noise * np.float32(0.1) * (version > 0)[:, None, None, None]) * jnp.std(images)


def herd(features: np.ndarray, count: int) -> np.ndarray:
    """Indices `[count]` of the rows `[n, d]` whose mean stays closest to that of all, chosen one after another.

    The herding of Welling (2009), as iCaRL selects its exemplars. A row is chosen at most once.
    """
    wanted, total, chosen = features.mean(axis=0), np.zeros(features.shape[1], features.dtype), []
    squares = np.einsum("nd,nd->n", features, features)
    for size in range(1, count + 1):
        # |wanted - (total + row) / size|^2, without what is the same for all rows.
        distance = squares / size**2 - 2 * features @ (wanted / size - total / size**2)
        distance[chosen] = np.inf
        chosen.append(int(np.argmin(distance)))
        total = total + features[chosen[-1]]
    return np.array(chosen)


def from_real(
    images: jax.Array,
    labels: np.ndarray,
    chosen: np.ndarray,
    num_classes: int,
    factor: int = 1,
    mirror: bool = False,
    seed: int = 0,
    shrink: Callable[[jax.Array, int], jax.Array] = encode,
) -> SyntheticSet:
    """A synthetic set initialised with real images.

    Args:
        images: whitened `[n, h, w, c]`.
        labels: int `[n]`.
        chosen: indices, sorted by class; where one is repeated, its images are `varied`.
        num_classes: C.
        factor: by which images are shrunk.
        mirror: of `varied`, as is `seed`.
        seed: determines its noise.
        shrink: `encode` or `pick`.
    """
    start = shrink(varied(jnp.asarray(images[chosen]), chosen, mirror, seed), factor)
    return SyntheticSet(start, jnp.asarray(initial_labels(labels[chosen], num_classes)))
