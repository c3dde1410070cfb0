"""The stored set: a synthetic set on disk that says itself what it is.

`<name>.npz` holds plain arrays and is enough to train on pixels with nothing but NumPy; `<name>.json` says in words
what each array is, and where the set came from. The matrices of a ZCA whitening (75 MB for 32x32 RGB, however few
images) are kept apart, in `<name>.whitening.npz`: they are needed only to map other images into the whitened space.
"""

import dataclasses
import json
import pathlib

import jax.numpy as jnp
import numpy as np

from fsdd.core.synthetic_set import SyntheticSet
from fsdd.core.whitening import Whitening, quantise
from fsdd.errors import UserError
from fsdd.io.atomic import replacing_all
from fsdd.io.digests import digest_file

FORMAT_VERSION = 1
LABEL_KIND = (
    "centred regression targets: started as (one-hot minus 1/C) / sqrt(C/10), then learned, unless config.labels of "
    "the provenance is 'hard'"
)

_MEANINGS = {
    "images": "the pixels rounded to 8 bits, for viewing; rows in the order of classes",
    "pixels": "the images as pixels in [0, 1], channels last, un-whitened and clipped: for viewing",
    "whitened": "train on these: the images exactly as they were learned, in the whitened space; un-clipped, and no "
    "pixels; where `factor` is above 1, images of 1 / factor of the side, to be enlarged bilinearly by it",
    "labels": LABEL_KIND + "; for a squared loss. For cross-entropy use `classes`",
    "classes": "the class that each row was made for, from 0; sorted: a hard label",
    "class_names": "the name of each class",
    "channel_mean": "mean of each channel of the training pixels in [0, 1]",
    "channel_std": "standard deviation of each channel of the training pixels in [0, 1]",
}
_ZCA_KEYS = ("mean", "transform", "inverse")
_FORMULAS = {
    "standardize": "whitened = (pixels - channel_mean) / channel_std",
    "zca": "whitened = ((pixels - channel_mean) / channel_std, flattened to d = h*w*c, - mean) @ transform; "
    "back: pixels = (whitened @ inverse + mean) * channel_std + channel_mean",
}


@dataclasses.dataclass(frozen=True, eq=False)
class StoredSet:
    """A synthetic set with all that is needed to use it. Checked when made: ValueError says what does not fit.

    Attributes:
        synthetic: float32 whitened images `[n, h, w, c]` and float32 labels `[n, C]`, all finite.
        whitening: the map between pixels and whitened images; None if the set was loaded without its ZCA matrices.
        class_names: C names.
        classes: int64 `[n]`, the class each row was made for; sorted, and as many rows for every class there is.
        provenance: what JSON can hold: config, seed, versions, wall time in seconds, device, recipe.
        pixels: float32 `[n, h, w, c]` in [0, 1]. Computed from the whitened images unless given.
        factor: by which whitened images, `[n, h / factor, w / factor, c]` then, are enlarged before use.
    """

    synthetic: SyntheticSet
    whitening: Whitening | None
    class_names: tuple[str, ...]
    classes: np.ndarray
    provenance: dict
    pixels: np.ndarray | None = None
    factor: int = 1

    def __post_init__(self) -> None:
        """Check that all parts fit together; compute the pixels."""
        _check_rows(self.synthetic, np.asarray(self.classes), len(self.class_names))
        if self.whitening is not None:
            _check_whitening(self.whitening, self._image_shape)
        pixels = self.pixels
        if pixels is None:
            if self.whitening is None:
                raise ValueError("needs a whitening or pixels")
            pixels = np.clip(self.whitening.invert(np.asarray(self.decoded.images)), 0, 1)
        _check_array("pixels", pixels, np.float32, (len(self.synthetic), *self._image_shape))
        if not np.all((pixels >= 0) & (pixels <= 1)):
            raise ValueError("pixels leave [0, 1] or are not finite")
        # Frozen for its users; the fields take their final types here.
        object.__setattr__(self, "pixels", pixels)
        object.__setattr__(self, "classes", np.asarray(self.classes, np.int64))
        object.__setattr__(self, "class_names", tuple(self.class_names))

    @property
    def _image_shape(self) -> tuple[int, int, int]:
        _, height, width, channels = self.synthetic.images.shape
        return self.factor * height, self.factor * width, channels

    @property
    def decoded(self) -> SyntheticSet:
        """The whitened images at full size, with their labels: what networks train on."""
        return self.synthetic.decoded(self.factor)

    @property
    def ipc(self) -> int:
        """Images per class, of whatever size they are stored in."""
        return len(self.classes) // len(np.unique(self.classes))

    @property
    def eight_bits(self) -> np.ndarray:
        """The pixels rounded to uint8, for viewing."""
        return quantise(self.pixels)

    @property
    def hard_labels(self) -> np.ndarray:
        """The class that each row's learned label is highest for, int64 `[n]`: nearly always `classes`."""
        return np.asarray(self.synthetic.labels).argmax(1).astype(np.int64)

    @property
    def strayed(self) -> int:
        """How many rows' hard label is not the class they were made for."""
        return int(np.sum(self.hard_labels != self.classes))


def _check_array(name: str, array: np.ndarray, dtype: type, shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        expected = f"{np.dtype(dtype).name} of shape {shape}"
        raise ValueError(f"{name} is {array.dtype} of shape {array.shape}; expected {expected}")


def _check_rows(synthetic: SyntheticSet, classes: np.ndarray, num_classes: int) -> None:
    images, labels = np.asarray(synthetic.images), np.asarray(synthetic.labels)
    if images.ndim != 4 or images.size == 0:
        raise ValueError(f"whitened images have shape {images.shape}; expected [n, h, w, c]")
    _check_array("whitened images", images, np.float32, images.shape)
    _check_array("labels", labels, np.float32, (len(images), num_classes))
    if not (np.isfinite(images).all() and np.isfinite(labels).all()):
        raise ValueError("images or labels are not finite: the distillation diverged")
    if classes.dtype.kind not in "iu" or classes.shape != (len(images),):
        raise ValueError(f"classes is {classes.dtype} of shape {classes.shape}; expected int of shape ({len(images)},)")
    if np.any(np.diff(classes) < 0) or classes[0] < 0 or classes[-1] >= num_classes:
        raise ValueError(f"classes are not sorted within 0 to {num_classes - 1}")
    if len(np.unique(np.unique(classes, return_counts=True)[1])) > 1:
        raise ValueError("classes have different numbers of rows")


def _check_whitening(whitening: Whitening, image_shape: tuple[int, ...]) -> None:
    d, shapes = int(np.prod(image_shape)), {}
    shapes["channel_mean"] = shapes["channel_std"] = image_shape[-1:]
    if whitening.kind == "zca":
        shapes |= {"mean": (d,), "transform": (d, d), "inverse": (d, d)}
    for name, shape in shapes.items():
        _check_array(name, getattr(whitening, name), np.float32, shape)


def save(stored: StoredSet, path: str | pathlib.Path) -> None:
    """Write `<name>.npz`, `<name>.json` and, for a ZCA whitening, `<name>.whitening.npz`.

    Args:
        stored: the set.
        path: `<name>.npz`; its folder is made, and files of that name are replaced together.

    Raises:
        UserError: a path without .npz, a set loaded without its whitening, or a disk that refuses. What was there
            before is then untouched.
        TypeError: a provenance that JSON cannot hold.
    """
    path, description_path, matrices_path = _paths(path)
    whitening = stored.whitening
    if whitening is None:
        raise UserError(f"{path}: cannot be written: the set was loaded without its whitening")
    arrays = _arrays(stored, whitening)
    description = _describe(stored, arrays, path.name)
    json.dumps(description)  # Fails before anything is written.
    has_matrices = whitening.kind == "zca"
    # Should the machine stop between two renames, the digests in the description tell that the files do not match.
    with replacing_all([path, description_path] + [matrices_path] * has_matrices) as temporaries:
        _write_arrays(temporaries[0], arrays)
        description["sha256"] = digest_file(temporaries[0])
        if has_matrices:
            _write_arrays(temporaries[2], {key: getattr(whitening, key) for key in _ZCA_KEYS})
            description["whitening"] |= {"file": matrices_path.name, "sha256": digest_file(temporaries[2])}
        temporaries[1].write_text(json.dumps(description, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if not has_matrices:
        matrices_path.unlink(missing_ok=True)


def load(path: str | pathlib.Path, need_whitening: bool = False) -> StoredSet:
    """Read a stored set.

    Args:
        path: `<name>.npz`; `<name>.json` lies beside it.
        need_whitening: whether a missing `<name>.whitening.npz` is an error. Else a ZCA-whitened set comes back without
            it, `whitening` None, and is still whole in pixels and labels.

    Raises:
        UserError: a missing, damaged or foreign file, arrays that do not fit together, an unknown format version.
    """
    path, description_path, matrices_path = _paths(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    description = _read_description(description_path)
    arrays = _read_arrays(path, _MEANINGS)
    kind = description["whitening"]["kind"]
    matrices = {}
    if kind == "zca" and matrices_path.is_file():
        matrices = _read_arrays(matrices_path, _ZCA_KEYS)
    elif kind == "zca" and need_whitening:
        raise UserError(f"{matrices_path}: no such file; without it images cannot be whitened as those of {path.name}")
    whitening = None
    if kind == "standardize" or matrices:
        whitening = Whitening(arrays["channel_mean"], arrays["channel_std"], **matrices)
    # On the host until the dtypes are known to be right: moving to the device would turn float64 into float32.
    synthetic = SyntheticSet(arrays["whitened"], arrays["labels"])
    names = tuple(str(name) for name in arrays["class_names"].ravel())
    try:
        facts = (names, arrays["classes"], description["provenance"], arrays["pixels"], description["factor"])
        stored = StoredSet(synthetic, whitening, *facts)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    _check_digest(path, description.get("sha256"), description_path)
    if matrices:
        _check_digest(matrices_path, description["whitening"].get("sha256"), description_path)
    on_device = SyntheticSet(jnp.asarray(synthetic.images), jnp.asarray(synthetic.labels))
    return dataclasses.replace(stored, synthetic=on_device)


def _paths(path: str | pathlib.Path) -> tuple[pathlib.Path, pathlib.Path, pathlib.Path]:
    path = pathlib.Path(path).expanduser()
    if path.suffix != ".npz":
        raise UserError(f"{path}: expected a file name that ends in .npz")
    return path, path.with_suffix(".json"), path.with_suffix(".whitening.npz")


def _arrays(stored: StoredSet, whitening: Whitening) -> dict[str, np.ndarray]:
    return {
        "images": stored.eight_bits,
        "pixels": stored.pixels,
        "whitened": np.asarray(stored.synthetic.images),
        "labels": np.asarray(stored.synthetic.labels),
        "classes": stored.classes,
        "class_names": np.array(stored.class_names, np.str_),
        "channel_mean": whitening.channel_mean,
        "channel_std": whitening.channel_std,
    }


def _describe(stored: StoredSet, arrays: dict[str, np.ndarray], name: str) -> dict:
    n, height, width, channels = stored.pixels.shape
    kind = stored.whitening.kind
    return {
        "format": "fsdd stored set",
        "format_version": FORMAT_VERSION,
        "summary": f"{n} distilled images of {height}x{width}x{channels}, {stored.ipc} for each class of "
        f"{len(stored.class_names)}. `pixels` are un-whitened; `whitened` and `labels` are what was learned.",
        "load_for_pytorch": [
            "import numpy, torch",
            f"stored = numpy.load({name!r})",
            "images, labels = torch.from_numpy(stored['pixels']).permute(0, 3, 1, 2), torch.tensor(stored['classes'])",
        ],
        "arrays": {
            key: {"shape": list(array.shape), "dtype": str(array.dtype), "meaning": _MEANINGS[key]}
            for key, array in arrays.items()
        },
        "labels": {
            "kind": LABEL_KIND,
            "rows_whose_highest_label_is_not_their_class": stored.strayed,
        },
        "factor": stored.factor,
        "stored_numbers": {"images": int(arrays["whitened"].size), "labels": int(arrays["labels"].size)},
        "whitening": {"kind": kind, "formula": _FORMULAS[kind]},
        "provenance": stored.provenance,
    }


def _write_arrays(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    with open(path, "wb") as file:  # Given a name, NumPy would append .npz to it.
        np.savez(file, **arrays)


def _read_arrays(path: pathlib.Path, keys: tuple[str, ...] | dict[str, str]) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in keys if key not in file.files]
            arrays = {} if missing else {key: file[key] for key in keys}
    except Exception as error:  # Damaged bytes surface as a dozen types from zipfile, zlib and NumPy's own parser.
        raise UserError(f"{path}: not a readable .npz file of plain arrays") from error
    if missing:
        raise UserError(f"{path}: has no array {', '.join(missing)}")
    return arrays


def _read_description(path: pathlib.Path) -> dict:
    if not path.is_file():
        raise UserError(f"{path}: no such file; it describes the .npz file of that name and belongs beside it")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path}: not a readable JSON file") from error
    version = description.get("format_version") if isinstance(description, dict) else None
    if version != FORMAT_VERSION:
        raise UserError(f"{path}: format_version is {version!r}; this fsdd reads {FORMAT_VERSION}")
    if not isinstance(description.get("provenance"), dict):
        raise UserError(f"{path}: has no provenance")
    if description.setdefault("factor", 1) not in (1, 2, 4):
        raise UserError(f"{path}: factor is {description['factor']!r}; allowed: 1, 2 or 4")
    whitening = description.get("whitening")
    if not isinstance(whitening, dict) or whitening.get("kind") not in tuple(_FORMULAS):
        raise UserError(f"{path}: has no whitening of a known kind ({', '.join(_FORMULAS)})")
    return description


def _check_digest(path: pathlib.Path, expected: object, description_path: pathlib.Path) -> None:
    if digest_file(path) != expected:
        raise UserError(f"{path}: is not the file that {description_path.name} describes (its sha256 differs)")
