"""What DD-Ranking's evaluators take: `image_tensor`, and `hard_labels` or `soft_labels`, in the space of its test set.

Its loaders standardise test images by channel, with the figures of each data set. Its soft labels are targets of a
cross-entropy or a Kullback-Leibler loss: probabilities, which learned regression targets are not. They are mapped back
the way they started, labels * sqrt(C / 10) + 1 / C, and what is then negative is cut off.
"""

import pathlib

import numpy as np

from fsdd.exports.formats import MTT, STANDARDISED, Format, loses_learned, torch_tensor
from fsdd.io.stored_set import StoredSet


def probabilities(labels: np.ndarray) -> np.ndarray:
    """Centred labels float32 `[n, C]` as probabilities of that shape: rows of at least 0 that sum to 1."""
    count = labels.shape[1]
    positive = np.maximum(labels * np.sqrt(count / 10) + 1 / count, 0).astype(np.float32)
    # No row is all zero: the centred labels of a row would then all be far below their mean.
    sums = positive.sum(1, keepdims=True)
    return np.where(sums > 0, positive / np.where(sums > 0, sums, 1), np.float32(1 / count)).astype(np.float32)


def write(stored: StoredSet, folder: pathlib.Path) -> None:
    """A tensor a file, named as the evaluators' arguments."""
    import torch

    tensors = {
        "image_tensor": FORMAT.standardised(stored),
        "hard_labels": stored.classes,
        "soft_labels": probabilities(stored.synthetic.labels),
    }
    for name, array in tensors.items():
        torch.save(torch_tensor(array), folder / f"{name}.pt")


def _loses(stored: StoredSet) -> list[str]:
    rest = [line for line in loses_learned(stored) if "labels" not in line]
    return [*rest, "the scale of the learned labels: soft_labels are probabilities, for soft_label_criterion='sce'"]


FORMAT = Format(
    "ddranking",
    "image_tensor, hard_labels and soft_labels of DD-Ranking, with use_zca=False",
    write,
    STANDARDISED,
    "[n, c, h, w]",
    "hard_labels: the class of each image, int64 [n]; soft_labels: probabilities, float32 [n, classes]",
    _loses,
    {"torch": "torch"},
    constants=MTT,
)
