"""Arrays as a real set: a `.npz` file, `.npy` files, under any of the common names."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterable

import numpy as np

from fsdd.data import images, labels
from fsdd.data.images import Reading
from fsdd.data.levels import cut_off, to_bytes
from fsdd.data.real_set import RealSet
from fsdd.errors import UserError, one_line

# The words of names such as train_images, X_test, yTrain and labels.
_SPLITS = {"train": ("train", "training", "tr"), "test": ("test", "testing", "eval", "evaluation", "te")}
_SPLITS |= {"validation": ("validation", "valid", "val", "dev")}
_KINDS = {
    "images": ("x", "images", "image", "imgs", "img", "data", "pixels", "inputs", "input"),
    "labels": ("y", "labels", "label", "targets", "target", "classes"),
}
_CLASS_NAMES = ("class_names", "label_names", "target_names")
# Where one of these is there, it is taken before another of the same meaning.
_FIRST = ("train_images", "train_labels", "test_images", "test_labels", "x_train", "y_train", "x_test", "y_test")
_NEEDED = "needed are train_images and train_labels, x_train and y_train, X and y, images and labels, or the like"


@dataclasses.dataclass(frozen=True)
class _Roles:
    """Which array is what: names by split and kind, the class names, and the names of what is not used."""

    chosen: dict[tuple[str, str], str]
    class_names: str | None
    unused: tuple[str, ...]


def holds_arrays(path: str) -> bool:
    """Whether a folder is one of `.npy` files: it has some, and no folders."""
    folder = pathlib.Path(os.path.expanduser(path))
    if not os.path.isdir(folder):  # False, too, for names that no file can have
        return False
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    return any(entry.suffix == ".npy" for entry in entries) and not any(entry.is_dir() for entry in entries)


def load_arrays(path: str, reading: Reading) -> RealSet:
    """Read a `.npz` file; a folder of `.npy` files; or a `.npy` file with those beside it.

    Images are `[n, h, w]`, `[n, h, w, c]` or, where there is no doubt, `[n, c, h, w]`.

    Raises:
        UserError: files that cannot be read, names that are not known or mean the same, or arrays that do not fit.
    """
    place = pathlib.Path(os.path.expanduser(path))
    if place.suffix == ".npz":
        name, arrays = place.stem, _open_npz(path)
    else:
        folder = place if os.path.isdir(place) else place.parent
        name, arrays = folder.resolve().name, _open_npy(path, folder)
    roles = _roles(path, arrays)
    notes = [f"{name}: not used: {_shapes(arrays, roles.unused)}"] if roles.unused else []
    pixels, found = {}, {}
    for split in ("train", "test"):
        if ("images", split) not in roles.chosen:
            continue
        image_key, label_key = roles.chosen["images", split], roles.chosen["labels", split]
        pixels[split], of_split = _pixels(f"{path}: {image_key}", arrays.pop(image_key), reading)
        notes += [f"{name}: {note}" for note in of_split]
        found[split] = arrays[label_key]
        count = len(np.atleast_1d(found[split]))
        if len(pixels[split]) != count:
            raise UserError(f"{path}: {len(pixels[split])} {image_key} but {count} {label_key}")
    stand_in = roles.chosen.get(("images", "test"), "")
    if _parse(stand_in)[1:] == ("validation",):
        notes.append(f"{name}: there are no test images; {stand_in} is the test set")
    names = np.atleast_1d(arrays[roles.class_names]) if roles.class_names else None
    numbered = labels.number(f"{path}: {roles.chosen['labels', 'train']}", found["train"], found.get("test"), names)
    notes += [f"{name}: {note}" for note in numbered.notes]
    test = pixels.get("test", pixels["train"][:0])
    return RealSet(
        name, pixels["train"], numbered.train, test, numbered.test, numbered.class_names, tuple(dict.fromkeys(notes))
    )


def _pixels(where: str, array: np.ndarray, reading: Reading) -> tuple[np.ndarray, list[str]]:
    """Images of one split, uint8 `[n, h, h, c]`, and what to tell of how they were read."""
    notes = []
    ordered, is_moved = channels_last(where, array)
    name = where.rpartition(": ")[2]
    if is_moved:
        notes.append(f"{name} of shape {list(array.shape)} are read as channels first, {array.shape[1]} of them")
    if share := cut_off(ordered, reading.pixel_range):
        black, white = reading.pixel_range
        notes.append(f"{100 * share:.2g} % of the values of {name} lie beyond pixel_range=({black:g}, {white:g})")
    pixels = to_bytes(where, ordered, reading.pixel_range)
    height, width = pixels.shape[1:3]
    if not reading.image_size and height != width:
        raise UserError(f"{where} of {width}x{height} pixels are not square; set image_size")
    return images.resize(pixels, reading.image_size), notes


def channels_last(where: str, array: np.ndarray) -> tuple[np.ndarray, bool]:
    """Images `[n, h, w, c]` of `[n, h, w]`, `[n, h, w, c]` or `[n, c, h, w]`, and whether it was the last of these.

    Channels are last where images are squares then or have at most four of them; they are first where that makes them
    fewer than rows and columns.

    Raises:
        UserError: another shape, or one that could be either.
    """
    shape = list(array.shape)
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or 0 in array.shape[1:]:
        shown = list(array.shape) if array.ndim == 4 else shape
        raise UserError(f"{where}: shape {shown}; allowed are [n, h, w], [n, h, w, c] and [n, c, h, w]")
    first, middle, last = array.shape[1:]
    if first == middle or last <= 4:
        return array, False
    if first < min(middle, last):
        return array.transpose(0, 2, 3, 1), True
    if last < min(first, middle):
        return array, False
    raise UserError(
        f"{where}: shape {shape}, of which no axis is clearly the channels; allowed are [n, h, w, c] of squares"
    )


def accepted_images(where: str, pixels: np.ndarray, pixel_range: tuple[float, ...] = ()) -> np.ndarray:
    """An array of images, `[n, h, w]`, `[n, h, w, c]` or `[n, c, h, w]`, as uint8 `[n, h, w, c]`.

    Raises:
        UserError: it is none that is accepted; the line begins with `where`.
    """
    return to_bytes(where, channels_last(where, pixels)[0], pixel_range)


def accepted_labels(where: str, labels: np.ndarray) -> np.ndarray:
    """An array of labels, whole numbers `[n]` or `[n, 1]`, as int32 `[n]`.

    Raises:
        UserError: it is none that is accepted; the line begins with `where`.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:  # the form in which Keras delivers CIFAR's
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UserError(f"{where}: {labels.dtype} of shape {list(labels.shape)}; allowed are integers of shape [n]")
    if labels.size and (labels.min() < 0 or labels.max() > np.iinfo(np.int32).max):
        bad = labels.min() if labels.min() < 0 else labels.max()
        raise UserError(f"{where}: label {bad}; allowed are 0, 1, ... up to the number of classes less one")
    return labels.astype(np.int32)


def _roles(path: str, arrays: dict[str, np.ndarray]) -> _Roles:
    by_role: dict[tuple[str, str], list[str]] = {}
    for name in arrays:
        if parsed := _parse(name):
            by_role.setdefault(parsed, []).append(name)
    chosen, has_test = {}, any(split == "test" for _, split in by_role)
    for kind in _KINDS:
        for split in ("train", "test"):
            # A split that is named comes before arrays that are of no split, or that stand in.
            other = {"train": "", "test": "validation"}[split]
            own = [(kind, split)] if split == "train" or has_test else []
            for role in [*own, (kind, other)][: 1 + (split == "train")]:
                if role in by_role and (kind, split) not in chosen:
                    chosen[kind, split] = _one(path, by_role[role])
    if ("images", "train") not in chosen or ("labels", "train") not in chosen:
        raise UserError(f"{path}: has arrays {_shapes(arrays, sorted(arrays))}; {_NEEDED}")
    pair = [chosen.get((kind, "test")) for kind in _KINDS]
    if (pair[0] is None) != (pair[1] is None):
        there = pair[0] or pair[1]
        half = _parse(there)[1]
        missing = f"{half}_{'labels' if pair[0] else 'images'}"
        raise UserError(f"{path}: has {there} and no {missing}; allowed are both or neither")
    class_names = next((name for name in _CLASS_NAMES if name in arrays), None)
    used = {*chosen.values(), class_names}
    return _Roles(chosen, class_names, tuple(sorted(name for name in arrays if name not in used)))


def _parse(name: str) -> tuple[str, str] | tuple[()]:
    """What a name says that an array is: "images" or "labels", and "train", "test", "validation" or ""."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]
    splits = [split for word in words for split, known in _SPLITS.items() if word in known]
    kinds = [kind for word in words for kind, known in _KINDS.items() if word in known]
    if len(kinds) != 1 or len(splits) > 1 or len(words) != len(splits) + 1:
        return ()
    return kinds[0], splits[0] if splits else ""


def _one(path: str, names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    names = [name for name in names if name != "classes"] if len(names) == 2 else names
    known = names if len(names) == 1 else [name for name in _FIRST if name in names]
    if not known:
        raise UserError(f"{path}: {' and '.join(sorted(names))} could each be meant; allowed is one of them")
    return known[0]


def _shapes(arrays: dict[str, np.ndarray], names: Iterable[str]) -> str:
    shapes = {name: "" if arrays[name] is None else f" {list(arrays[name].shape)}" for name in names}
    return ", ".join(f"{name}{shape}" for name, shape in shapes.items()) or "none"


def _open_npz(path: str) -> dict[str, np.ndarray | None]:
    try:
        # Opened here: NumPy leaves damaged files open.
        with open(os.path.expanduser(path), "rb") as opened, np.load(opened, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            # What has another name is not read: it may be anything.
            return {key: file[key] if _parse(key) or key in _CLASS_NAMES else None for key in file}
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except Exception as error:  # damaged files and pickled objects raise many types
        raise UserError(
            f"{path}: not a readable .npz file of plain arrays, as numpy.savez writes ({one_line(error)})"
        ) from error


def _open_npy(path: str, folder: pathlib.Path) -> dict[str, np.ndarray]:
    if not os.path.exists(os.path.expanduser(path)):
        raise UserError(f"{path}: no such file")
    files = sorted(file for file in folder.glob("*.npy") if not file.name.startswith("."))
    arrays = {}
    for file in files:
        try:
            arrays[file.stem] = np.load(file, allow_pickle=False)
        except Exception as error:  # damaged files and pickled objects raise many types
            raise UserError(f"{file}: not a readable .npy file of a plain array ({one_line(error)})") from error
    return arrays
