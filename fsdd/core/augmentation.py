"""Augmentation of whitened images, as the two FRePo codes do it: one kind a batch, its parameters per image or shared.

Images are float32 `[h, w, c]` (a batch: `[n, h, w, c]`) in whitened units, so zero is the mean of the data and what
lies outside an image or in a cut-out square is zero. Under `jax.vmap` over keys the kind differs between the mapped
batches, and XLA then computes every kind and selects: map over batches only where that cost does not matter.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

POLICIES = ("none", "frepo", "dsa", "idc_matching", "idc_training", "idc_scoring")


@functools.partial(jax.jit, static_argnames=("policy", "mirror", "siamese"))
def augment(key: jax.Array, images: jax.Array, policy: str, mirror: bool = True, siamese: bool = False) -> jax.Array:
    """Images `[n, h, w, c]` under one randomly drawn kind of the policy (one of `POLICIES`); same shape.

    The kind is drawn uniformly for the whole batch, its parameters for each image. FRePo's policies have six kinds, and
    a call uses one: "frepo" (the JAX code) flips, colours, zooms, rotates, translates or cuts out; "dsa" (the PyTorch
    code, differentiable Siamese augmentation) flips, colours, scales, rotates, shifts or cuts out. Those of IDC's code
    do several in turn: "idc_matching" colours, shifts and cuts out, "idc_training" colours and shifts, "idc_scoring"
    flips, colours, and then shifts, scales or rotates. Without `mirror`, for digits, say, nothing flips, as all codes
    have it.

    With `siamese` the parameters, too, are drawn once for all images. They depend on the key and the images' shape
    alone, so that two batches augmented with one key, of real and of synthetic images, are transformed alike (DSA's
    matching).
    """
    if policy == "none":
        return images
    if policy in _KINDS:
        return _one_of(_KINDS[policy], key, images, mirror, siamese)
    if policy not in _SEQUENCES:
        raise ValueError(f"augmentation policy {policy!r} is none of {POLICIES}")
    sequence = _SEQUENCES[policy]
    for own, kinds in zip(jax.random.split(key, len(sequence)), sequence, strict=True):
        images = _one_of(kinds, own, images, mirror, siamese)
    return images


def _one_of(kinds: tuple["Kind", ...], key: jax.Array, images: jax.Array, mirror: bool, siamese: bool) -> jax.Array:
    """Images under one of some kinds, drawn for all of them; as they are where mirroring is all that there is."""
    each = (None if siamese else 0, 0)
    mapped = [jax.vmap(kind, in_axes=each) for kind in kinds if mirror or kind is not random_flip]
    if not mapped:
        return images
    kind_key, image_key = jax.random.split(key)
    kind = jax.random.randint(kind_key, (), 0, len(mapped))
    return jax.lax.switch(kind, mapped, image_key if siamese else jax.random.split(image_key, len(images)), images)


def augment_by_class(key: jax.Array, images: jax.Array, policy: str, mirror: bool = True) -> jax.Array:
    """Images `[classes, n, h, w, c]`, the kind and the parameters of each class drawn once for all of its images."""
    if policy == "none":
        return images
    one = functools.partial(augment, policy=policy, mirror=mirror, siamese=True)
    return jax.lax.map(lambda pair: one(*pair), (jax.random.split(key, len(images)), images))


class Mixed(NamedTuple):
    """A batch of which each image may hold a part of another.

    Attributes:
        images: `[n, h, w, c]`.
        partners: int `[n]`, the image whose part each holds.
        share: of each image that is its own, a scalar; 1 where nothing is mixed.
    """

    images: jax.Array
    partners: jax.Array
    share: jax.Array


def cutmix(key: jax.Array, images: jax.Array, probability: float) -> Mixed:
    """With a probability, one rectangle of all images `[n, h, w, c]` shows that of others (CutMix, as in IDC's code).

    Its area is uniform, before it is cut at the border; its centre is uniform over the pixels.
    """
    whether_key, partner_key, area_key, *centre_keys = jax.random.split(key, 5)
    side = jnp.sqrt(jax.random.uniform(area_key)) * jax.random.bernoulli(whether_key, probability)

    def within(centre_key, size):
        half = jnp.floor(size * side).astype(int) // 2
        return jnp.abs(jnp.arange(size) + 0.5 - jax.random.randint(centre_key, (), 0, size)) < half

    rows, columns = (within(*pair) for pair in zip(centre_keys, images.shape[1:3], strict=True))
    inside = rows[:, None] & columns
    partners = jax.random.permutation(partner_key, len(images))
    mixed = jnp.where(inside[..., None], images[partners], images)
    return Mixed(mixed, partners, 1 - jnp.mean(inside.astype(images.dtype)))


# What is done to one image, given its parameters.


def colour(image: jax.Array, brightness: jax.Array, contrast: jax.Array, saturation: jax.Array) -> jax.Array:
    """Shifts an image, and scales it about its mean (contrast) and about each pixel's channel mean (saturation).

    All three are one kind, as in both codes. Their order, in which the codes differ, changes nothing: both scalings
    keep the image's mean, and brightness moves images and means alike. On a grey image saturation is the identity.
    """
    grey = jnp.mean(image, axis=-1, keepdims=True)
    mean = jnp.mean(image)
    return mean + brightness + contrast * (grey - mean + saturation * (image - grey))


def affine(image: jax.Array, matrix: jax.Array, offset: jax.Array) -> jax.Array:
    """Output pixel p shows the image at `matrix @ p + offset`, interpolated bilinearly; outside the image is zero.

    Positions are (row, column) in pixels from the image's centre, `matrix` is `[2, 2]` and `offset` `[2]`. Whole-pixel
    offsets under the identity matrix copy pixels exactly.
    """
    height, width, channels = image.shape
    rows, columns = jnp.arange(height) - (height - 1) / 2, jnp.arange(width) - (width - 1) / 2
    row = matrix[0, 0] * rows[:, None] + matrix[0, 1] * columns + offset[0] + (height - 1) / 2
    column = matrix[1, 0] * rows[:, None] + matrix[1, 1] * columns + offset[1] + (width - 1) / 2

    # A border of one zero pixel is all of the outside that interpolation sees, once positions are clipped to it.
    row, column = jnp.clip(row, -1, height), jnp.clip(column, -1, width)
    top, left = jnp.clip(jnp.floor(row), -1, height - 1), jnp.clip(jnp.floor(column), -1, width - 1)
    down, right = (row - top)[..., None], (column - left)[..., None]
    # Gathering from rows of a flat image is fast on CPU too: interpolation matrices took 100 times as long there.
    pixels = jnp.pad(image, ((1, 1), (1, 1), (0, 0))).reshape(-1, channels)
    corner = ((top + 1) * (width + 2) + left + 1).astype(jnp.int32)

    def at(step: int) -> jax.Array:
        return pixels.at[corner + step].get(mode="promise_in_bounds")

    upper = (1 - right) * at(0) + right * at(1)
    lower = (1 - right) * at(width + 2) + right * at(width + 3)
    return (1 - down) * upper + down * lower


def rotate(image: jax.Array, angle: jax.Array) -> jax.Array:
    """Rotates an image about its centre by an angle in radians; positive is anticlockwise as pictures are shown."""
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    return affine(image, jnp.array([[cosine, sine], [-sine, cosine]]), jnp.zeros(2))


def cutout(image: jax.Array, corner: jax.Array, side: int) -> jax.Array:
    """Zeroes a square whose first row and column are `corner` `[2]`, which may lie outside the image."""
    row, column = (jnp.arange(size) - first for size, first in zip(image.shape[:2], corner, strict=True))
    inside = ((row >= 0) & (row < side))[:, None] & ((column >= 0) & (column < side))
    return jnp.where(inside[..., None], 0, image)


# Kinds: (key, image) -> image, with parameters drawn from the key.


def random_flip(key: jax.Array, image: jax.Array) -> jax.Array:
    """Mirrors an image left to right with probability 1/2."""
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


def random_rotation(key: jax.Array, image: jax.Array) -> jax.Array:
    """Rotates by up to 15 degrees either way, uniformly."""
    return rotate(image, math.radians(15) * _symmetric(key))


def random_cutout(key: jax.Array, image: jax.Array, fraction: float) -> jax.Array:
    """Cuts out a square of this fraction of the image's side, rounded.

    As in DSA its centre is uniform over the image, so at a border less of it, down to a quarter, may be visible.
    """
    side = int(min(image.shape[:2]) * fraction + 0.5)
    # An even square is centred on a corner between pixels, of which there is one more than pixels.
    centres = jnp.array(image.shape[:2]) + 1 - side % 2
    return cutout(image, jax.random.randint(key, (2,), 0, centres) - side // 2, side)


def frepo_colour(key: jax.Array, image: jax.Array) -> jax.Array:
    """Brightness, contrast and saturation by up to 0.25.

    Brightness is added, in whitened units; the factors of contrast and saturation are log-uniform in exp(+-0.25), the
    reading of "+-0.25" that the JAX code has (0.78 to 1.28, and as often below one as above).
    """
    brightness, contrast, saturation = 0.25 * _symmetric(key, (3,))
    return colour(image, brightness, jnp.exp(contrast), jnp.exp(saturation))


def frepo_zoom(key: jax.Array, image: jax.Array) -> jax.Array:
    """Zooms by a log-uniform factor of 0.8 to 1.25, both axes alike, then places the frame at random.

    Zoomed in, the frame is a uniform crop of the larger image; zoomed out, the smaller image is anywhere inside it.
    """
    zoom_key, place_key = jax.random.split(key)
    zoom = jnp.exp(math.log(1.25) * _symmetric(zoom_key))
    slack = jnp.abs(zoom - 1) * jnp.array(image.shape[:2]) / 2
    return affine(image, jnp.eye(2) / zoom, slack * _symmetric(place_key, (2,)) / zoom)


def frepo_translation(key: jax.Array, image: jax.Array) -> jax.Array:
    """Translates by up to an eighth of each side, uniformly; fractions of a pixel are interpolated."""
    return affine(image, jnp.eye(2), jnp.array(image.shape[:2]) / 8 * _symmetric(key, (2,)))


def dsa_colour(key: jax.Array, image: jax.Array) -> jax.Array:
    """Brightness by +-0.5 (added, in whitened units), saturation by 0 to 2 and contrast by 0.5 to 1.5, all uniform."""
    brightness, contrast, saturation = _symmetric(key, (3,))
    return colour(image, brightness / 2, 1 + contrast / 2, 1 + saturation)


def dsa_scale(key: jax.Array, image: jax.Array) -> jax.Array:
    """Scales each axis on its own about the centre; the step between samples is uniform in 1/1.2 to 1.2 pixels."""
    steps = jax.random.uniform(key, (2,), minval=1 / 1.2, maxval=1.2)
    return affine(image, jnp.diag(steps), jnp.zeros(2))


def dsa_shift(key: jax.Array, image: jax.Array) -> jax.Array:
    """Shifts by whole pixels, up to an eighth of each side rounded (4 of 32), every shift alike probable."""
    most = jnp.array([int(size / 8 + 0.5) for size in image.shape[:2]])
    return affine(image, jnp.eye(2), jax.random.randint(key, (2,), -most, most + 1))


def _symmetric(key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
    """Uniform in +-1."""
    return jax.random.uniform(key, shape, minval=-1, maxval=1)


Kind = Callable[[jax.Array, jax.Array], jax.Array]
# Policies of which a batch has one kind.
_KINDS: dict[str, tuple[Kind, ...]] = {
    "frepo": (
        random_flip,
        frepo_colour,
        frepo_zoom,
        random_rotation,
        frepo_translation,
        functools.partial(random_cutout, fraction=1 / 4),
    ),
    "dsa": (
        random_flip,
        dsa_colour,
        dsa_scale,
        random_rotation,
        dsa_shift,
        functools.partial(random_cutout, fraction=1 / 2),
    ),
}
# Policies of which a batch has one kind of each group, in turn.
_SEQUENCES: dict[str, tuple[tuple[Kind, ...], ...]] = {
    "idc_matching": ((dsa_colour,), (dsa_shift,), (functools.partial(random_cutout, fraction=1 / 2),)),
    "idc_training": ((dsa_colour,), (dsa_shift,)),
    "idc_scoring": ((random_flip,), (dsa_colour,), (dsa_shift, dsa_scale, random_rotation)),
}
