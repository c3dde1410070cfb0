"""Synthetic sets on their way through a run: plain files that appear whole or not at all."""

import pathlib

import jax.numpy as jnp
import numpy as np

from fsdd.core.synthetic_set import SyntheticSet
from fsdd.errors import UserError
from fsdd.io.atomic import replacing
from fsdd.io.digests import digest_arrays


def digest_set(synthetic: SyntheticSet) -> str:
    """What tells a set from another."""
    return digest_arrays((synthetic.images, synthetic.labels), short=True)


def write_set(path: pathlib.Path, synthetic: SyntheticSet, **facts: float) -> None:
    """Write a set, with facts about it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, images=np.asarray(synthetic.images), labels=np.asarray(synthetic.labels), **facts)


def read_set(path: pathlib.Path) -> SyntheticSet:
    """What `write_set` wrote.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        with np.load(path) as arrays:
            return SyntheticSet(jnp.asarray(arrays["images"]), jnp.asarray(arrays["labels"]))
    except Exception as error:  # damaged files make NumPy raise many types
        raise UserError(f"{path} cannot be read ({error}); delete {path.parent} to run it again") from error
