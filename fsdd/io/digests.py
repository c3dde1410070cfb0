"""SHA-256 digests: of arrays, of files and of what JSON can hold."""

import hashlib
import json
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

_SHORT = 16


def digest_arrays(arrays: Iterable[Any], short: bool = False) -> str:
    """The digest of the bytes of arrays, one after the other; its first 16 characters if it is to be short."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()[:_SHORT] if short else digest.hexdigest()


def digest_file(path: pathlib.Path, short: bool = False) -> str:
    """The digest of a file's bytes."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest[:_SHORT] if short else digest


def digest_json(value: Any) -> str:
    """The short digest of what JSON can hold, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_SHORT]
