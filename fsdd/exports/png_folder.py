"""An image folder, `<class>/<k>.png`, with `metadata.csv` as Hugging Face's imagefolder reads it, and `labels.csv`."""

import csv
import pathlib

from fsdd.exports.formats import EIGHT_BITS, Format
from fsdd.integrations.image_folder import write_images
from fsdd.io.stored_set import StoredSet

LOSES = (
    "what 8 bits and clipping cut off, and that the set was learned in a whitened space",
    "the learned labels, for whatever reads classes alone; labels.csv has them",
)


def write(stored: StoredSet, folder: pathlib.Path) -> None:
    """The folder of `fsdd.write_images`, and `metadata.csv`: file_name, label and class_name of each image."""
    write_images(stored, folder)
    with open(folder / "labels.csv", newline="", encoding="utf-8") as table:
        files = [row[0] for row in csv.reader(table)][1:]
    with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as table:
        rows = [
            (file, label, stored.class_names[label]) for file, label in zip(files, stored.classes.tolist(), strict=True)
        ]
        csv.writer(table).writerows([("file_name", "label", "class_name"), *rows])


FORMAT = Format(
    "imagefolder",
    "PNGs in a folder for each class, with metadata.csv",
    write,
    EIGHT_BITS,
    "image files",
    "folders and metadata.csv: the class of each image; labels.csv: the learned labels",
    lambda stored: list(LOSES),
)
