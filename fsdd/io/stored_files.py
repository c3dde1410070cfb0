"""Stored sets on disk, which say themselves what they are.

`<name>.npz` holds plain arrays under the names of `StoredSet` and is enough to train with nothing but NumPy;
`<name>.json` says in words what each array is, and where the set came from. The matrices of a ZCA whitening (75 MB for
32x32 RGB, however few images) are kept apart, in `<name>.whitening.npz`: they are needed only to map other images into
the whitened space.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from fsdd.core.synthetic_set import SyntheticSet
from fsdd.core.whitening import ARRAYS, Whitening
from fsdd.errors import UserError
from fsdd.io import loading_hint, paths
from fsdd.io.atomic import replacing, replacing_all
from fsdd.io.digests import digest_file
from fsdd.io.stored_set import StoredSet

FORMAT_VERSION = 2
# The name of the set in a run's folder.
NAME = "synthetic.npz"
LABEL_KIND = (
    "centred regression targets: started as (one-hot minus 1/C) / sqrt(C/10), then learned, unless config.labels of "
    "the provenance is 'hard'"
)

_MEANINGS = {
    "train_images": "train on these: the images exactly as they were learned, at full size, in the whitened space; "
    "float32 [n, h, w, c], un-clipped, and no pixels",
    "train_labels": LABEL_KIND + "; for a squared loss. For cross-entropy use `classes`",
    "pixels": "the images as pixels in [0, 1], channels last, un-whitened and clipped: for viewing",
    "eight_bits": "the pixels rounded to 8 bits, for viewing; rows in the order of classes",
    "classes": "the class that each row was made for, from 0; sorted: a hard label",
    "class_names": "the name of each class",
    "channel_mean": "mean of each channel of the training pixels in [0, 1]; 0 where whitening takes none",
    "channel_std": "standard deviation of each channel of the training pixels in [0, 1]; 1 where whitening takes none",
}
# Only where the images are stored smaller than they are used.
_STORED = {"stored_images": "what is counted as stored: train_images before they were enlarged bilinearly by `factor`"}
# What the arrays of format version 1 are called now; its whitened images were those before they are enlarged.
_EARLIER = {"whitened": "stored_images", "labels": "train_labels", "images": "eight_bits"}
_SHARED = ("pixels", "classes", "class_names", "channel_mean", "channel_std")
_FORMULAS = {
    "standardize": "train_images = (pixels - channel_mean) / channel_std",
    "zca": "train_images = ((pixels - channel_mean) / channel_std, flattened to d in the order h, w, c, - mean) @ "
    "transform; back: pixels = (train_images @ inverse + mean) * channel_std + channel_mean",
    "zca_factors": "as for a transform of I / scale - factors.T @ diag(weights[0]) @ factors, and an inverse of "
    "I * scale + factors.T @ diag(weights[1]) @ factors",
}
_FORMULAS["zca_factors"] = f"{_FORMULAS['zca']}, {_FORMULAS['zca_factors']}"


def formula(form: str) -> str:
    """How pixels become `train_images`, by the form of a whitening."""
    return _FORMULAS[form]


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
    if not isinstance(stored, StoredSet):
        raise UserError(f"stored is {stored!r:.80}; allowed: a fsdd.StoredSet")
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
            _write_arrays(temporaries[2], whitening.arrays())
            description["whitening"] |= {"file": matrices_path.name, "sha256": digest_file(temporaries[2])}
        _write_description(temporaries[1], description)
    if not has_matrices:
        matrices_path.unlink(missing_ok=True)


def add_provenance(path: pathlib.Path, facts: dict[str, Any]) -> None:
    """Add facts that came later, such as accuracies, to the provenance of a saved set; its arrays stay as they are."""
    path, description_path, _ = _paths(path)
    description = _read_description(description_path)
    description["provenance"] |= facts
    with replacing(description_path) as temporary:
        _write_description(temporary, description)


def load(path: str | pathlib.Path, need_whitening: bool = False) -> StoredSet:
    """Read a stored set.

    Args:
        path: the folder of a run, or `<name>.npz`; `<name>.json` lies beside it.
        need_whitening: whether a missing `<name>.whitening.npz` is an error. Else a ZCA-whitened set comes back without
            it, `whitening` None, and is still whole in images and labels.

    Raises:
        UserError: a missing, damaged or foreign file, arrays that do not fit together, an unknown format version.
    """
    path, description_path, matrices_path = _paths(_find(path))
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    description = _read_description(description_path)
    arrays = _read_set(path, description)
    kind = description["whitening"]["kind"]
    matrices = {}
    if kind == "zca" and matrices_path.is_file():
        matrices = _read_arrays(matrices_path, ARRAYS[description["whitening"].get("form", kind)])
    elif kind == "zca" and need_whitening:
        raise UserError(f"{matrices_path}: no such file; without it images cannot be whitened as those of {path.name}")
    whitening = None
    if kind == "standardize" or matrices:
        whitening = Whitening(arrays["channel_mean"], arrays["channel_std"], **matrices)
    synthetic = SyntheticSet(arrays["stored_images"], arrays["train_labels"])
    names = tuple(str(name) for name in arrays["class_names"].ravel())
    try:
        facts = (names, arrays["classes"], description["provenance"], arrays["pixels"], description["factor"])
        stored = StoredSet(synthetic, whitening, *facts)
    except UserError as error:
        line = str(error).replace("synthetic.images", "train_images").replace("synthetic.labels", "train_labels")
        raise UserError(f"{path}: {line}") from error
    _check_digest(path, description.get("sha256"), description_path)
    if matrices:
        _check_digest(matrices_path, description["whitening"].get("sha256"), description_path)
    return stored


def _find(path: str | pathlib.Path) -> str | pathlib.Path:
    """The file that is meant: that of a run where a folder is given."""
    if not isinstance(path, str | pathlib.PurePath):
        raise UserError(f"path is {path!r:.80}; allowed: the folder of a run, or a .npz file of a stored set")
    folder = paths.expand(path, "path")
    if folder.suffix == ".npz" or not folder.is_dir():
        return path
    if not (folder / NAME).is_file():
        raise UserError(f"{folder}: has no {NAME}; allowed: the folder of a finished run, or a .npz file")
    return folder / NAME


def _paths(path: str | pathlib.Path) -> tuple[pathlib.Path, pathlib.Path, pathlib.Path]:
    if not isinstance(path, str | pathlib.PurePath):
        raise UserError(f"path is {path!r:.80}; allowed: a file name that ends in .npz")
    path = paths.expand(path, "path")
    if path.suffix != ".npz":
        raise UserError(f"{path}: expected a file name that ends in .npz")
    return path, path.with_suffix(".json"), path.with_suffix(".whitening.npz")


def _arrays(stored: StoredSet, whitening: Whitening) -> dict[str, np.ndarray]:
    # Not `train_images`, which its users may have written to.
    full = np.asarray(stored.synthetic.decoded(stored.factor).images)
    arrays = {
        "train_images": full,
        "train_labels": stored.synthetic.labels,
        "pixels": stored.pixels,
        "eight_bits": stored.eight_bits,
        "classes": stored.classes,
        "class_names": np.array(stored.class_names, np.str_),
        "channel_mean": whitening.channel_mean,
        "channel_std": whitening.channel_std,
    }
    return arrays | ({"stored_images": stored.synthetic.images} if stored.factor > 1 else {})


def _describe(stored: StoredSet, arrays: dict[str, np.ndarray], name: str) -> dict[str, Any]:
    n, height, width, channels = stored.pixels.shape
    form = stored.whitening.form
    return {
        "format": "fsdd stored set",
        "format_version": FORMAT_VERSION,
        "summary": f"{n} distilled images of {height}x{width}x{channels}, {stored.ipc} for each class of "
        f"{len(stored.class_names)}. `train_images` and `train_labels` are what was learned; `pixels` are for viewing.",
        "load_for_pytorch": loading_hint.lines(name, form, loading_hint.loss_of(stored.provenance)),
        "arrays": {
            key: {"shape": list(array.shape), "dtype": str(array.dtype), "meaning": (_MEANINGS | _STORED)[key]}
            for key, array in arrays.items()
        },
        "train_labels": {
            "kind": LABEL_KIND,
            "rows_whose_highest_label_is_not_their_class": stored.strayed,
        },
        "factor": stored.factor,
        "stored_numbers": {"images": int(stored.synthetic.images.size), "labels": int(stored.synthetic.labels.size)},
        "whitening": {"kind": stored.whitening.kind, "form": form, "formula": formula(form)},
        "provenance": stored.provenance,
    }


def _write_description(path: pathlib.Path, description: dict[str, Any]) -> None:
    path.write_text(json.dumps(description, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_arrays(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    with open(path, "wb") as file:  # Given a name, NumPy would append .npz to it.
        np.savez(file, **arrays)


def _read_set(path: pathlib.Path, description: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays that make a set, under today's names; `stored_images` before they are enlarged."""
    if description["format_version"] == 1:
        arrays = _read_arrays(path, (*_EARLIER, *_SHARED))
        return {_EARLIER.get(key, key): array for key, array in arrays.items()}
    if description["factor"] > 1:
        return _read_arrays(path, _MEANINGS | _STORED)
    arrays = _read_arrays(path, _MEANINGS)
    return arrays | {"stored_images": arrays["train_images"]}


def _read_arrays(path: pathlib.Path, keys: tuple[str, ...] | Mapping[str, str]) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in keys if key not in file.files]
            arrays = {} if missing else {key: file[key] for key in keys}
    except Exception as error:  # Damaged bytes surface as a dozen types from zipfile, zlib and NumPy's own parser.
        raise UserError(f"{path}: not a readable .npz file of plain arrays") from error
    if missing:
        raise UserError(f"{path}: has no array {', '.join(missing)}")
    return arrays


def _read_description(path: pathlib.Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path}: no such file; it describes the .npz file of that name and belongs beside it")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path}: not a readable JSON file") from error
    version = description.get("format_version") if isinstance(description, dict) else None
    if isinstance(version, bool) or version not in range(1, FORMAT_VERSION + 1):
        raise UserError(f"{path}: format_version is {version!r}; this fsdd reads 1 to {FORMAT_VERSION}")
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
