"""Decoded images, kept in the user's cache: decoding tens of thousands of files takes as long as a short run."""

import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fsdd.io import user_cache
from fsdd.io.digests import digest_json

# Part of every key: another number where decoding changes.
_VERSION = 1
# What takes less is not worth its room.
_WORTH_SECONDS = 3.0


def decode_once(
    files: Sequence[pathlib.Path], recipe: Sequence[Any], decode: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """What `decode` makes of files, from the user's cache where the same files were decoded before.

    Args:
        files: what is decoded; a file counts as the same while its path, size and time of change are.
        recipe: what else the result depends on, as JSON can hold it.
        decode: makes the arrays.
    """
    seen = [(str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    name = f"decoded/{digest_json([_VERSION, list(recipe), seen])}.npz"
    cached = user_cache.find(name)
    if cached is not None:
        try:
            with np.load(cached) as arrays:
                return {key: arrays[key] for key in arrays}
        except Exception:  # damaged files make NumPy raise many types
            user_cache.discard(name)
    began = time.monotonic()
    arrays = decode()
    if time.monotonic() - began > _WORTH_SECONDS:
        user_cache.add(name, lambda path: _write(path, arrays))
    return arrays


def _write(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)
