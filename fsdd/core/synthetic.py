"""The synthetic set S: what is distilled."""

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
    """

    images: jax.Array
    labels: jax.Array

    def __len__(self) -> int:
        return self.images.shape[0]

    def mirrored(self) -> "SyntheticSet":
        """The set followed by its horizontal mirror: twice the rows, the labels repeated."""
        images = jnp.concatenate([self.images, self.images[:, :, ::-1]])
        return SyntheticSet(images, jnp.concatenate([self.labels, self.labels]))


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
    """Indices `[C * ipc]` of real images to start from: `ipc` a class, sorted by class, drawn without replacement."""
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(np.flatnonzero(labels == label), ipc, replace=False) for label in range(num_classes)]
    return np.concatenate(chosen)


def from_real(images: jax.Array, labels: np.ndarray, num_classes: int, ipc: int, seed: int) -> SyntheticSet:
    """A synthetic set initialised with random real images.

    Args:
        images: whitened `[n, h, w, c]`.
        labels: int `[n]`.
        num_classes: C.
        ipc: images per class; every class has at least so many.
        seed: determines the choice.
    """
    chosen = choose_real(labels, num_classes, ipc, seed)
    return SyntheticSet(jnp.asarray(images[chosen]), jnp.asarray(initial_labels(labels[chosen], num_classes)))
