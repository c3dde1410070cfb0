"""A stored set as an image folder, for what reads nothing else."""

import csv
import os
import pathlib
import re
import shutil

import numpy as np
from PIL import Image

from fsdd.errors import UserError
from fsdd.io import paths
from fsdd.io.atomic import temporary_beside
from fsdd.io.stored_set import StoredSet

_LABELS = "labels.csv"
# Names that Windows keeps for devices, those that readers of image folders take for splits, and our own.
_RESERVED = {"aux", "con", "nul", "prn", "test", "train", "val", "validation", _LABELS}


def write_images(stored: StoredSet, folder: str | pathlib.Path) -> None:
    """Write an image folder: `<class>/<k>.png`, 8 bits a channel, and `labels.csv`, the learned labels of each.

    A class folder has the class's name, with what file systems dislike replaced by "_". Where those names do not sort
    in the order of the classes, or clash, each has the class's index in front, so that readers that number the sorted
    folders find the same classes.

    Args:
        stored: the set, grey or RGB.
        folder: made whole or not at all.

    Raises:
        UserError: the folder is there and not empty, the images have neither 1 nor 3 channels, or a disk that refuses.
    """
    folder = paths.expand(folder, "folder")
    channels = stored.pixels.shape[-1]
    if channels not in (1, 3):
        raise UserError(f"{folder}: cannot be written: images have {channels} channels; PNG takes 1 or 3")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is there already and not an empty folder")
    images, labels = stored.eight_bits, np.asarray(stored.synthetic.labels)
    names = _folder_names(stored.class_names)
    digits = len(str(stored.ipc - 1))
    temporary = temporary_beside(folder.absolute())
    try:
        files = [f"{names[label]}/{row % stored.ipc:0{digits}}.png" for row, label in enumerate(stored.classes)]
        for file, image in zip(files, images, strict=True):
            (temporary / file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[:, :, 0] if channels == 1 else image).save(temporary / file)
        with open(temporary / _LABELS, "w", newline="", encoding="utf-8") as table:
            csv.writer(table).writerows(
                [("file", *names), *((file, *row) for file, row in zip(files, labels, strict=True))]
            )
        os.replace(temporary, folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _folder_names(class_names: tuple[str, ...]) -> list[str]:
    """A name for each class that every file system accepts; sorted, they are in the order of the classes."""
    names = []
    for index, class_name in enumerate(class_names):
        # 60 characters are at most 240 bytes of UTF-8: file systems stop at 255.
        name = re.sub(r"[^\w .()+-]", "_", class_name)[:60].strip(" .") or str(index)
        names.append(name + "_" if name.lower() in _RESERVED else name)
    # Some file systems ignore case: names that differ in nothing else clash.
    if names == sorted(names) and len({name.casefold() for name in names}) == len(names):
        return names
    digits = len(str(len(names) - 1))
    return [f"{index:0{digits}}_{name}"[:60] for index, name in enumerate(names)]
