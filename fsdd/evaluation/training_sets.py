"""What networks that score a set learn from: the set as it is, or what is left of it in plain images and classes."""

import jax.numpy as jnp
import numpy as np

from fsdd.core.synthetic_set import SyntheticSet, centred_labels
from fsdd.core.whitening import Whitening, quantise

# Whitened images as they were learned; their 8-bit pixels, whitened again; those pixels, standardised by channel.
IMAGES = ("whitened", "rounded", "pixels")
# The regression targets that were learned, or those of the class that each image was made for.
LABELS = ("learned", "hard")


def matching_whitening(fitted: Whitening, images: str = "whitened") -> Whitening:
    """What test images pass through to be like those of `prepare`; `images` is one of `IMAGES`."""
    return Whitening(fitted.channel_mean, fitted.channel_std) if images == "pixels" else fitted


def prepare(
    synthetic: SyntheticSet, classes: np.ndarray, fitted: Whitening, images: str = "whitened", labels: str = "learned"
) -> SyntheticSet:
    """What networks learn from.

    Args:
        synthetic: the set at full size, whitened images `[n, h, w, c]`.
        classes: int `[n]`, the class that each image was made for.
        fitted: its whitening.
        images: one of `IMAGES`.
        labels: one of `LABELS`.

    Returns:
        The set, labels centred `[n, C]`.
    """
    if labels == "hard":
        synthetic = synthetic.replace(labels=jnp.asarray(centred_labels(classes, synthetic.labels.shape[1])))
    if images == "whitened":
        return synthetic
    pixels = quantise(fitted.invert(synthetic.images))
    return synthetic.replace(images=jnp.asarray(matching_whitening(fitted, images).apply(pixels)))
