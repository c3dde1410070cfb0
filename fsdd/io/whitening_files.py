"""A fitted whitening on disk."""

import os
import pathlib
import shutil
from typing import Any

import numpy as np

from fsdd.core import whitening
from fsdd.core.whitening import Whitening
from fsdd.errors import UserError
from fsdd.io import user_cache
from fsdd.io.atomic import replacing
from fsdd.io.digests import digest_arrays, digest_json


def fit_once(
    path: pathlib.Path, pixels: np.ndarray, identity: dict[str, Any], kind: str, regularisation: float
) -> Whitening:
    """The whitening in a file, if it is there; else it is fitted, or found in the user's cache, and put there.

    Args:
        path: the file, of a workdir or of a store.
        pixels: training images `[n, h, w, c]`, as for `whitening.fit`.
        identity: what tells the set of these images from another, as JSON can hold it.
        kind: as for `whitening.fit`.
        regularisation: as for `whitening.fit`.

    Raises:
        UserError: the file was fitted to other images or otherwise, or cannot be read or written.
    """
    fitted_to = digest_json([identity, kind, regularisation])
    if path.is_file():
        return read(path, fitted_to)
    # In the cache, where sets of all kinds meet, every image counts.
    name = f"whitenings/{digest_json([fitted_to, list(pixels.shape), digest_arrays([pixels])])}.npz"
    cached = user_cache.find(name)
    if cached is not None:
        try:
            fitted = read(cached, fitted_to)
            _link(cached, path)
            return fitted
        except UserError:
            user_cache.discard(name)
    fitted = whitening.fit(pixels, kind, regularisation)
    cached = user_cache.add(name, lambda temporary: write(temporary, fitted, fitted_to))
    if cached is not None:
        _link(cached, path)
    else:
        with replacing(path) as temporary:
            write(temporary, fitted, fitted_to)
    return fitted


def write(path: pathlib.Path, fitted: Whitening, fitted_to: str | None = None) -> None:
    """Write a whitening's arrays, and a digest of what it was fitted to; without one, `read` takes it for anything."""
    arrays = {name: array for name, array in vars(fitted).items() if array is not None}
    arrays |= {} if fitted_to is None else {"fitted_to": np.array(fitted_to)}
    with path.open("wb") as file:
        np.savez(file, **arrays)


def read(path: pathlib.Path, fitted_to: str | None = None) -> Whitening:
    """What `write` wrote.

    Raises:
        UserError: the file is missing or damaged, or it was fitted to something else.
    """
    try:
        with np.load(path) as arrays:
            own = str(arrays["fitted_to"]) if "fitted_to" in arrays else fitted_to
            fitted = Whitening(**{name: arrays[name] for name in arrays if name != "fitted_to"})
    except Exception as error:  # damaged files make NumPy raise many types
        raise UserError(f"{path} cannot be read ({error}); delete it to have it fitted again") from error
    if fitted_to not in (None, own):
        raise UserError(
            f"{path} was fitted to other images, or with another config.whitening; name another --workdir, or delete it"
        )
    return fitted


def _link(source: pathlib.Path, path: pathlib.Path) -> None:
    """The same file under another name, or a copy where file systems differ."""
    with replacing(path) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
