"""DC's, DSA's and DM's result file: `{'data': [[images, labels]], 'accs_all_exps': {}}`, read by their evaluation."""

import pathlib
import re

from fsdd.exports.formats import DC, STANDARDISED, Format, loses_learned, torch_tensor
from fsdd.io.stored_set import StoredSet


def write(stored: StoredSet, folder: pathlib.Path) -> None:
    """`res_fsdd_<dataset>_ConvNet_<ipc>ipc.pt`, a name of their pattern."""
    import torch

    dataset = re.sub(r"\W+", "-", str(stored.provenance.get("dataset") or "set")).strip("-")
    data = [[torch_tensor(FORMAT.standardised(stored)), torch_tensor(stored.classes)]]
    torch.save({"data": data, "accs_all_exps": {}}, folder / f"res_fsdd_{dataset}_ConvNet_{stored.ipc}ipc.pt")


FORMAT = Format(
    "dc",
    "the .pt file of DC, DSA and DM",
    write,
    STANDARDISED,
    "[n, c, h, w]",
    "the class that each image was made for, int64 [n]",
    loses_learned,
    {"torch": "torch"},
    constants=DC,
)
