"""An image folder as a real set, with or without a test split: one folder for each class, or a table of labels."""

import os
import pathlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from fsdd.data import classes, images, layouts
from fsdd.data.decoded import decode_once
from fsdd.data.images import Reading
from fsdd.data.real_set import RealSet
from fsdd.data.unused import Unused
from fsdd.errors import UserError

# Names of the folders of each split, those that are preferred first; as Hugging Face's imagefolder has them.
_TRAIN = ("train", "training")
_TEST = ("test", "testing", "eval", "evaluation")
_VALIDATION = ("validation", "valid", "val", "dev")
# Without a train folder these are no names of classes; the others may be.
_NEVER_CLASSES = ("test", "validation", "val")


def load_folder(path: str, reading: Reading) -> RealSet:
    """Read a folder of images; `layouts.labelled_files` says in what layouts.

    A test split is the folder test, testing, eval or evaluation, else the one called validation, valid, val or dev;
    capitals do not matter. Hidden files and folders are passed over; whatever else is not used is counted in a note.

    Args:
        path: the folder; `~` is the home folder.
        reading: how pixels are read.

    Returns:
        The set, its classes numbered by `classes.ordered`, with zero test images if there is no test split.

    Raises:
        UserError: a missing or empty folder, an unreadable image, labels that do not fit, or images of several sizes
            without an `image_size`.
    """
    root = pathlib.Path(os.path.expanduser(path))
    if not os.path.isdir(root):  # False, too, for names that no file can have
        raise UserError(f"dataset {path!r}: no such folder")
    unused = Unused(root)
    train, tests = _find_splits(root, unused)
    found = layouts.labelled_files(root, train, unused)
    if not found:
        raise UserError(
            f"{train}: has no class folders and no table of labels; expected train/<class>/*.png, <class>/*.png, or "
            "metadata.csv with columns file_name and label"
        )
    class_names = classes.ordered(name for _, name in found)
    tested, notes = _test_files(root, tests, class_names, unused)
    numbers = {name: label for label, name in enumerate(class_names)}
    files = [*_in_order(found, numbers), *_in_order(tested, numbers)]
    paths, count = [file for file, _ in files], len(found)
    pixels = decode_once(paths, reading.recipe(), lambda: {"pixels": _read(paths, reading)})["pixels"]
    labels = np.array([numbers[name] for _, name in files], np.int32)
    splits = pixels[:count], labels[:count], pixels[count:], labels[count:]
    return RealSet(root.resolve().name, *splits, class_names, (*notes, *unused.notes()))


def _find_splits(root: pathlib.Path, unused: Unused) -> tuple[pathlib.Path, list[pathlib.Path]]:
    """The training split, which is the folder itself where there is no other, and what may be the test split."""
    folders: dict[str, pathlib.Path] = {}
    for entry in layouts.visible(root):
        if entry.is_dir():
            if entry.name.lower() in folders:
                raise UserError(
                    f"{root}: has {folders[entry.name.lower()].name}/ and {entry.name}/; allowed is one of them"
                )
            folders[entry.name.lower()] = entry
    trains = [folders[name] for name in _TRAIN if name in folders]
    tests = [folders[name] for name in (*_TEST, *_VALIDATION) if name in folders]
    if not trains:
        strange = [test for test in tests if test.name.lower() in _NEVER_CLASSES or not layouts.has_loose_images(test)]
        if strange:
            raise UserError(f"{root}: has {strange[0].name}/ but no train/; expected train/<class>/*.png")
        return root, []
    for entry in layouts.visible(root):
        if entry not in (trains[0], *tests):
            unused.add(entry)
    return trains[0], tests


def _test_files(
    root: pathlib.Path, tests: list[pathlib.Path], class_names: tuple[str, ...], unused: Unused
) -> tuple[list[tuple[pathlib.Path, str]], list[str]]:
    """The files of the first test split that has labels, and what to tell of it."""
    name, notes, chosen, found = root.resolve().name, [], None, []
    for test in tests:
        if chosen is None:
            found = layouts.labelled_files(root, test, unused, known=class_names)
            chosen = test if found else None
        else:
            unused.add(test)
    if chosen is None:
        return [], notes
    strange = next(((file, label) for file, label in found if label not in class_names), None)
    if strange:
        raise UserError(f"{strange[0].parent}: class {strange[1]!r} has no training images")
    if chosen.name.lower() in _VALIDATION:
        why = "there is no test/ folder" if len(tests) == 1 or tests[0] == chosen else f"{tests[0].name}/ has no labels"
        notes.append(f"{name}: {why}; {chosen.name}/ is the test set")
    lacking = [one for one in class_names if one not in {label for _, label in found}]
    if lacking:
        shown = f"{', '.join(lacking[:5])}{', ...' if len(lacking) > 5 else ''}"
        notes.append(f"{name}: {chosen.name}/ has no images of {len(lacking)} of {len(class_names)} classes: {shown}")
    return found, notes


def _in_order(files: list[tuple[pathlib.Path, str]], numbers: dict[str, int]) -> list[tuple[pathlib.Path, str]]:
    """In the order of labels, and then as they were found."""
    return sorted(files, key=lambda file: numbers[file[1]])


def _read(files: list[pathlib.Path], reading: Reading) -> np.ndarray:
    """Pixels of all files, uint8 `[n, h, h, c]`."""

    def read(file: pathlib.Path) -> tuple[str, np.ndarray]:
        return str(file), images.decode(file, str(file), reading)

    with ThreadPoolExecutor() as pool:
        # Threads help where files are large enough to need shrinking; with small ones they only wait for each other.
        decoded = pool.map(read, files) if reading.image_size else map(read, files)
        return images.stack(decoded, len(files), "reading images")
