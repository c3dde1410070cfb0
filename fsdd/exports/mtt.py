"""MTT's files, `images_best.pt` and `labels_best.pt`: a tensor each, as its successors also read them."""

import pathlib

from fsdd.exports.formats import MTT, STANDARDISED, Format, loses_learned, torch_tensor
from fsdd.io.stored_set import StoredSet


def write(stored: StoredSet, folder: pathlib.Path) -> None:
    """The two files."""
    import torch

    torch.save(torch_tensor(FORMAT.standardised(stored)), folder / "images_best.pt")
    torch.save(torch_tensor(stored.classes), folder / "labels_best.pt")


FORMAT = Format(
    "mtt",
    "images_best.pt and labels_best.pt of MTT and its successors, run without --zca",
    write,
    STANDARDISED,
    "[n, c, h, w]",
    "the class that each image was made for, int64 [n]",
    loses_learned,
    {"torch": "torch"},
    constants=MTT,
)
