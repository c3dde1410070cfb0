"""The .npz of FRePo's JAX code, `image` and `label`, which its `load_proto_np` reads."""

import pathlib

import numpy as np

from fsdd.exports.formats import WHITENED, Format
from fsdd.io.stored_set import StoredSet


def write(stored: StoredSet, folder: pathlib.Path) -> None:
    """`step000000.npz`, named as theirs are."""
    images = np.asarray(stored.synthetic.decoded(stored.factor).images)
    np.savez(folder / "step000000.npz", image=images, label=stored.synthetic.labels)


FORMAT = Format(
    "frepo",
    "the .npz of FRePo's JAX code",
    write,
    WHITENED,
    "[n, h, w, c]",
    "the learned labels, float32 [n, classes], centred: for a squared loss",
    lambda stored: [
        "the whitening: FRePo fits its own to the same training images, by the same formula where config.whitening is "
        "at its defaults"
    ],
    is_whitened=True,
)
