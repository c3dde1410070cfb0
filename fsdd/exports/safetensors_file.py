"""One safetensors file with all arrays of a set under their names, and its whitening."""

import json
import pathlib

import numpy as np

from fsdd.exports.formats import WHITENED, Format
from fsdd.io.stored_set import StoredSet


def write(stored: StoredSet, folder: pathlib.Path) -> None:
    """`synthetic.safetensors`; its metadata are the class names, as JSON."""
    import safetensors.numpy

    whitening = stored.whitening.forward_arrays()
    arrays = {
        "train_images": np.asarray(stored.synthetic.decoded(stored.factor).images),
        "train_labels": stored.synthetic.labels,
        "pixels": stored.pixels,
        "classes": stored.classes,
    } | {f"whitening.{name}": array for name, array in whitening.items()}
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    metadata = {"class_names": json.dumps(stored.class_names, ensure_ascii=False)}
    safetensors.numpy.save_file(contiguous, folder / "synthetic.safetensors", metadata)


FORMAT = Format(
    "safetensors",
    "one safetensors file with images, labels and whitening",
    write,
    WHITENED,
    "[n, h, w, c]",
    "train_labels: the learned labels, float32 [n, classes], for a squared loss; classes: int64 [n]",
    lambda stored: [],
    {"safetensors": "safetensors"},
)
