"""The stored set: a synthetic set with all that is needed to train on it, to look at it and to test on it."""

import dataclasses
import functools
import io
from typing import Any

import numpy as np
from PIL import Image

from fsdd.core.synthetic_set import SyntheticSet
from fsdd.core.whitening import Whitening, quantise
from fsdd.errors import UserError

_FACTORS = (1, 2, 4)
# Of the picture in a notebook: pixels of an image's side at least, of a gap, and the most classes and images of each.
_SIDE, _GAP, _MOST_CLASSES, _MOST_IMAGES = 48, 4, 20, 10


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class StoredSet:
    """A synthetic set with all that is needed to use it. All arrays that it gives are NumPy's and may be written to.

    Attributes:
        synthetic: float32 whitened images `[n, h / factor, w / factor, c]`, as they were learned, and float32 labels
            `[n, C]`, all finite; what to train on is `train_images` and `train_labels`.
        whitening: the map between pixels and whitened images; None if the set was loaded without its ZCA matrices.
        class_names: C names.
        classes: int64 `[n]`, the class each row was made for; sorted, and as many rows for every class there is.
        provenance: what JSON can hold: config, seed, versions, wall time in seconds, device, accuracies of the run.
        pixels: float32 `[n, h, w, c]` in [0, 1]. Computed from the whitened images unless given.
        factor: by which the images of `synthetic` are enlarged before use: 1, 2 or 4.

    Raises:
        UserError: when made of parts that do not fit together; the line names the argument.
    """

    synthetic: SyntheticSet
    whitening: Whitening | None
    class_names: tuple[str, ...]
    classes: np.ndarray
    provenance: dict[str, Any]
    pixels: np.ndarray = None  # type: ignore[assignment]  # an array once the set is made
    factor: int = 1

    def __post_init__(self) -> None:
        """Check that all parts fit together; compute the pixels."""
        _check_types(self)
        # Frozen for its users; the fields take their final types here.
        synthetic = SyntheticSet(_writable(self.synthetic.images), _writable(self.synthetic.labels))
        object.__setattr__(self, "synthetic", synthetic)
        object.__setattr__(self, "class_names", tuple(self.class_names))
        _check_rows(synthetic, np.asarray(self.classes), len(self.class_names))
        object.__setattr__(self, "classes", np.array(self.classes, np.int64))
        if self.whitening is not None:
            _check_whitening(self.whitening, self.image_shape)
        pixels = self.pixels
        if pixels is None:
            if self.whitening is None:
                raise UserError("whitening is None and so is pixels; allowed: a whitening, pixels or both")
            pixels = np.clip(self.whitening.invert(self.train_images), 0, 1)
        _check_array("pixels", np.asarray(pixels), np.float32, (len(synthetic), *self.image_shape))
        if not np.all((pixels >= 0) & (pixels <= 1)):
            raise UserError("pixels leave [0, 1] or are not finite")
        object.__setattr__(self, "pixels", _writable(pixels))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape `(h, w, c)` of one image at full size."""
        _, height, width, channels = self.synthetic.images.shape
        return self.factor * height, self.factor * width, channels

    @functools.cached_property
    def train_images(self) -> np.ndarray:
        """What to train on: whitened images at full size, float32 `[n, h, w, c]`; a copy that is yours."""
        return np.array(self.synthetic.decoded(self.factor).images)

    @functools.cached_property
    def train_labels(self) -> np.ndarray:
        """What to train towards, by a squared loss: the learned labels, float32 `[n, C]`; a copy that is yours."""
        return self.synthetic.labels.copy()

    @property
    def decoded(self) -> SyntheticSet:
        """`train_images` and `train_labels` as a set."""
        return SyntheticSet(self.train_images, self.train_labels)

    @property
    def ipc(self) -> int:
        """Images per class, of whatever size they are stored in."""
        return len(self.classes) // len(np.unique(self.classes))

    @property
    def step_size(self) -> float | None:
        """The learning rate that was learned with the images (MTT), or None."""
        stages = self.provenance.get("stages")
        last = list(stages.values())[-1] if isinstance(stages, dict) and stages else None
        found = last.get("step_size") if isinstance(last, dict) else None
        return found if isinstance(found, float) and found > 0 else None

    @property
    def eight_bits(self) -> np.ndarray:
        """The pixels rounded to uint8 `[n, h, w, c]`, for viewing."""
        return quantise(self.pixels)

    @property
    def hard_labels(self) -> np.ndarray:
        """The class that each row's learned label is highest for, int64 `[n]`: nearly always `classes`."""
        return self.synthetic.labels.argmax(1).astype(np.int64)

    @property
    def strayed(self) -> int:
        """How many rows' hard label is not the class they were made for."""
        return int(np.sum(self.hard_labels != self.classes))

    def whiten(self, images: np.ndarray) -> np.ndarray:
        """Map images, such as those of a test split, to the space of `train_images`.

        Args:
            images: pixels `[n, h, w, c]`, or `[n, h, w]` where c is 1: uint8, or floats in [0, 1].

        Returns:
            float32 `[n, h, w, c]`.

        Raises:
            UserError: the set was loaded without its whitening, or `images` are none that it can map.
        """
        if self.whitening is None:
            raise UserError("the set has no whitening; load it from where its .whitening.npz is")
        return np.array(self.whitening.apply(accept_pixels("images", images, self.image_shape)))

    def __repr__(self) -> str:
        """One line: what there is, not its numbers."""
        height, width, channels = self.image_shape
        whitening = f"whitened by {self.whitening.kind}" if self.whitening is not None else "without its whitening"
        made_of = f" of {self.provenance['dataset']}" if self.provenance.get("dataset") else ""
        return (
            f"<StoredSet{made_of}: {len(self.classes)} images of {height}x{width}x{channels}, {self.ipc} for each of "
            f"{len(np.unique(self.classes))} classes, {whitening}>"
        )

    def _repr_png_(self) -> bytes | None:
        """The picture that notebooks show: a row for each class, at most 20 of them, of at most 10 images."""
        if self.image_shape[2] not in (1, 3):
            return None
        rows = np.array_split(self.eight_bits, np.flatnonzero(np.diff(self.classes)) + 1)[:_MOST_CLASSES]
        scale = max(1, round(_SIDE / max(self.image_shape[:2])))
        height, width = (scale * side + _GAP for side in self.image_shape[:2])
        canvas = np.full((len(rows) * height, min(self.ipc, _MOST_IMAGES) * width, 3), 255, np.uint8)
        for top, row in enumerate(rows):
            for left, image in enumerate(row[:_MOST_IMAGES]):
                large = image.repeat(scale, 0).repeat(scale, 1)
                canvas[top * height : (top + 1) * height - _GAP, left * width : (left + 1) * width - _GAP] = large
        file = io.BytesIO()
        Image.fromarray(canvas[:-_GAP, :-_GAP]).save(file, "png")
        return file.getvalue()


def accept_pixels(name: str, images: np.ndarray, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Images as an array `[n, h, w, c]`, uint8 or float, found to be pixels of a shape.

    Raises:
        UserError: they are not; the line begins with `name`.
    """
    try:
        images = np.asarray(images)
    except ValueError:
        raise UserError(f"{name}: of several shapes; allowed: all of shape {list(image_shape)}") from None
    if images.ndim == 3 and image_shape[2] == 1:
        images = images[..., None]
    if images.ndim != 4 or images.shape[1:] != image_shape:
        raise UserError(f"{name}: of shape {list(images.shape)}; allowed: {['n', *image_shape]}".replace("'", ""))
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise UserError(f"{name}: of type {images.dtype}; allowed are uint8 and floats in [0, 1]")
    if images.size and not (images.min() >= 0 and images.max() <= 1):
        raise UserError(f"{name}: floats from {images.min():g} to {images.max():g}; allowed are floats in [0, 1]")
    return images


def _writable(array: Any) -> np.ndarray:
    """The same array where it is NumPy's and may be written to, else a copy that may."""
    array = np.asarray(array)
    return array if array.flags.writeable else array.copy()


def _check_types(stored: StoredSet) -> None:
    """Check what would otherwise fail in the checks of shapes."""
    if not isinstance(stored.synthetic, SyntheticSet):
        raise UserError(f"synthetic is a {type(stored.synthetic).__name__}; allowed: a fsdd.SyntheticSet")
    if not isinstance(stored.whitening, Whitening | None):
        raise UserError(f"whitening is a {type(stored.whitening).__name__}; allowed: a fsdd.Whitening, or None")
    names = stored.class_names
    if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"class_names is {names!r:.80}; allowed: a tuple of texts")
    if not isinstance(stored.provenance, dict):
        raise UserError(f"provenance is {stored.provenance!r:.80}; allowed: a dict of what JSON can hold")
    if isinstance(stored.factor, bool) or stored.factor not in _FACTORS:
        raise UserError(f"factor is {stored.factor!r:.80}; allowed: 1, 2 or 4")


def _check_array(name: str, array: np.ndarray, dtype: type, shape: tuple[int, ...]) -> None:
    array = np.asarray(array)
    if array.dtype != dtype or array.shape != shape:
        expected = f"{np.dtype(dtype).name} of shape {shape}"
        raise UserError(f"{name} is {array.dtype} of shape {array.shape}; allowed: {expected}")


def _check_rows(synthetic: SyntheticSet, classes: np.ndarray, num_classes: int) -> None:
    images, labels = synthetic.images, synthetic.labels
    if images.ndim != 4 or images.size == 0:
        raise UserError(f"synthetic.images is of shape {images.shape}; allowed: [n, h, w, c]")
    _check_array("synthetic.images", images, np.float32, images.shape)
    _check_array("synthetic.labels", labels, np.float32, (len(images), num_classes))
    for name, array in (("synthetic.images", images), ("synthetic.labels", labels)):
        if not np.isfinite(array).all():
            raise UserError(f"{name} is not finite: the distillation diverged")
    if classes.dtype.kind not in "iu" or classes.shape != (len(images),):
        raise UserError(f"classes is {classes.dtype} of shape {classes.shape}; allowed: int of shape ({len(images)},)")
    if np.any(np.diff(classes.astype(np.int64)) < 0) or classes[0] < 0 or classes[-1] >= num_classes:
        raise UserError(f"classes are not sorted within 0 to {num_classes - 1}")
    if len(np.unique(np.unique(classes, return_counts=True)[1])) > 1:
        raise UserError("classes have different numbers of rows; allowed: as many of each")


def _check_whitening(whitening: Whitening, image_shape: tuple[int, ...]) -> None:
    d, shapes = int(np.prod(image_shape)), {}
    shapes["channel_mean"] = shapes["channel_std"] = image_shape[-1:]
    if whitening.form == "zca":
        shapes |= {"mean": (d,), "transform": (d, d), "inverse": (d, d)}
    if whitening.form == "zca_factors":
        n = len(whitening.factors)
        shapes |= {"mean": (d,), "factors": (n, d), "weights": (2, n), "scale": ()}
    for name, shape in shapes.items():
        _check_array(f"whitening.{name}", getattr(whitening, name), np.float32, shape)
