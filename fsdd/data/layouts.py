"""Where the labelled images of a split are: in class folders, or in a table of file names and labels."""

import os
import pathlib
from collections.abc import Iterator

from fsdd.data import tables
from fsdd.data.images import SUFFIXES
from fsdd.data.unused import Unused
from fsdd.errors import UserError

_MAC = "__MACOSX"  # what macOS adds to archives: no images, though their names end like images'
_TINY_IMAGENET = "val_annotations.txt"
# A folder of such a name, alone in a split, is no class: it holds images whose labels are elsewhere, or nowhere.
_NO_CLASSES = ("images", "image", "imgs", "img", "data", "all", "unknown", "unlabelled", "unlabeled", "test")

Labelled = list[tuple[pathlib.Path, str]]


def labelled_files(
    root: pathlib.Path, split: pathlib.Path, unused: Unused, known: tuple[str, ...] | None = None
) -> Labelled:
    """All image files of a split, each with the name of its class.

    They lie in a folder for each class, in sub-folders of it or not; or anywhere, and a table has their labels
    (`tables.find` says which one). Links are followed, no folder twice.

    Args:
        root: the folder of all splits.
        split: the folder of this split; may be `root`.
        unused: is told of files that are not used.
        known: the classes of the training split, if this is the test split, which may have classes without images.

    Returns:
        Files and class names, sorted by class and within it by path; none if the split has no labels.

    Raises:
        UserError: a training class without images, or a table that does not fit.
    """
    folders = [entry for entry in visible(split) if entry.is_dir() and entry.name != _MAC]
    hold_no_classes = len(folders) == 1 and folders[0].name.lower() in _NO_CLASSES
    if (split / _TINY_IMAGENET).is_file():
        table = tables.tiny_imagenet(split / _TINY_IMAGENET)
    else:
        table = tables.find(root, split) if not folders or hold_no_classes else None
    if table is None and folders and not (hold_no_classes and known is not None and folders[0].name not in known):
        for entry in visible(split):
            if entry not in folders:
                unused.add(entry)
        return _of_class_folders(root, split, folders, unused, needs_images=known is None)
    files = list(_images(split, unused, {root.resolve()} if root != split else set()))
    labelled = tables.match(table, split, files, unused) if table else []
    if not labelled and table and known is None:
        raise UserError(f"{table.path}: none of its {len(table.rows)} rows names an image in {split}")
    found = {file for file, _ in labelled}
    for file in files:
        if file not in found:
            unused.add(file, "no label")
    return labelled


def visible(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """What is in a folder and not hidden, by name."""
    return (entry for entry in sorted(folder.iterdir()) if not entry.name.startswith("."))


def has_loose_images(folder: pathlib.Path) -> bool:
    """Whether a folder has images that are in no sub-folder."""
    return any(is_image(entry) for entry in visible(folder))


def is_image(path: pathlib.Path) -> bool:
    """Whether a path is that of an image file, by its suffix."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _of_class_folders(
    root: pathlib.Path, split: pathlib.Path, folders: list[pathlib.Path], unused: Unused, needs_images: bool
) -> Labelled:
    labelled: Labelled = []
    for folder in folders:
        # A link in a class folder to one that holds it would bring in images of other classes.
        files = list(_images(folder, unused, {root.resolve(), split.resolve()}))
        if not files and needs_images:
            raise UserError(f"{folder}: has no images; a class folder needs at least one of {', '.join(SUFFIXES)}")
        # Bytes that are no UTF-8 are escaped: nothing could draw or store them.
        name = os.fsencode(folder.name).decode("utf-8", "backslashreplace")
        labelled += [(file, name) for file in files]
    return labelled


def _images(folder: pathlib.Path, unused: Unused, seen: set[pathlib.Path]) -> Iterator[pathlib.Path]:
    """The images in a folder and its sub-folders; a folder that was seen, by whatever link, is passed over."""
    if folder.resolve() in seen:
        return
    seen.add(folder.resolve())
    for entry in visible(folder):
        if entry.name == _MAC:
            unused.add(entry)
        elif entry.is_dir():
            yield from _images(entry, unused, seen)
        elif is_image(entry):
            yield entry
        else:
            unused.add(entry)
