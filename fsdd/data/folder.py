"""An image folder as a real set: one folder for each class, with or without a test split."""

import pathlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from fsdd.data import images
from fsdd.data.decoded import decode_once
from fsdd.data.real_set import RealSet
from fsdd.errors import UserError

_EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_TEST_FOLDERS = ("test", "validation", "val")


def load_folder(path: str, image_size: int) -> RealSet:
    """Read `train/<class>/*` and, where there is one, `test/<class>/*`; or `<class>/*` without a train folder.

    Files that are not png, jpg, jpeg, webp or bmp, and hidden files and folders, are ignored. `validation` and `val`
    are taken for the test split if there is no `test`.

    Args:
        path: the folder; `~` is the home folder.
        image_size: 0 if all images are squares of one size, else the side in pixels they are cropped and resized to.

    Returns:
        The set, with class names in sorted order, and zero test images if there is no test split.

    Raises:
        UserError: a missing or empty folder, an unreadable image, or images of several sizes with `image_size` 0.
    """
    root = pathlib.Path(path).expanduser()
    if not root.is_dir():
        raise UserError(f"dataset {path!r}: no such folder")
    tests = [root / name for name in _TEST_FOLDERS if (root / name).is_dir()]
    train = root / "train"
    if not train.is_dir():
        if tests:
            raise UserError(f"{root}: has {tests[0].name}/ but no train/; expected train/<class>/*.png")
        train = root
    class_names = tuple(folder.name for folder in _visible(train) if folder.is_dir())
    if not class_names:
        raise UserError(f"{train}: has no class folders; expected train/<class>/*.png or <class>/*.png")
    files = _labelled_files(train, class_names)
    count = len(files)
    notes = ()
    if tests:
        files += _labelled_files(tests[0], class_names)
        if tests[0].name != "test":
            notes = (f"{root.name}: there is no test/ folder; {tests[0].name}/ is the test set",)
    paths = [file for file, _ in files]
    pixels = decode_once(paths, [image_size], lambda: {"pixels": _read(paths, image_size)})["pixels"]
    labels = np.array([label for _, label in files], np.int32)
    return RealSet(
        root.resolve().name, pixels[:count], labels[:count], pixels[count:], labels[count:], class_names, notes
    )


def _visible(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    return (entry for entry in sorted(folder.iterdir()) if not entry.name.startswith("."))


def _labelled_files(split: pathlib.Path, class_names: tuple[str, ...]) -> list[tuple[pathlib.Path, int]]:
    """Every image file of a split with its label, in the order of classes and then of names."""
    files = []
    for folder in _visible(split):
        if not folder.is_dir():
            continue
        if folder.name not in class_names:
            raise UserError(f"{folder}: class {folder.name!r} has no training images")
        files_of_class = [file for file in _visible(folder) if file.suffix.lower() in _EXTENSIONS and file.is_file()]
        if not files_of_class:
            raise UserError(f"{folder}: has no images; a class folder needs at least one of {', '.join(_EXTENSIONS)}")
        label = class_names.index(folder.name)
        files += [(file, label) for file in files_of_class]
    return files


def _read(files: list[pathlib.Path], image_size: int) -> np.ndarray:
    """Pixels of all files, uint8 `[n, h, h, c]`."""

    def read(file: pathlib.Path) -> tuple[str, np.ndarray]:
        return str(file), images.decode(file, str(file), image_size)

    with ThreadPoolExecutor() as pool:
        # Threads help where files are large enough to need shrinking; with small ones they only wait for each other.
        decoded = pool.map(read, files) if image_size else map(read, files)
        return images.stack(decoded, len(files), "reading images")
