"""The user's cache: what can be made again but takes long, such as decoded images and fitted whitenings.

It is `$FSDD_CACHE`, else `fsdd` in `$XDG_CACHE_HOME` or `~/.cache`; `FSDD_CACHE=off` switches it off. A folder that
cannot be used is no error: things are then made each time. The least recently used files go first
where all take too much.
"""

import contextlib
import os
import pathlib
from collections.abc import Callable

from fsdd.io.atomic import temporary_beside

_VARIABLE, _OFF = "FSDD_CACHE", ("off", "0", "false", "no", "")
# All files together; a single one is kept up to half of it.
_MOST_BYTES = 6 * 10**9


def folder() -> pathlib.Path | None:
    """The cache's folder, which may not be there yet; None where the cache is off or there is no home."""
    given = os.environ.get(_VARIABLE)
    if given is not None:
        return None if given.lower() in _OFF else pathlib.Path(given).expanduser()
    try:
        base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    except RuntimeError:  # no home can be found
        return None
    return pathlib.Path(base) / "fsdd"


def find(name: str) -> pathlib.Path | None:
    """The file of this name, such as `whitenings/0123.npz`, if it is there; it counts as used now."""
    place = folder()
    if place is None:
        return None
    path = place / name
    try:
        os.utime(path)
    except OSError:
        # A cache that may only be read still serves.
        return path if os.access(path, os.R_OK) else None
    return path


def add(name: str, write: Callable[[pathlib.Path], None]) -> pathlib.Path | None:
    """Add a file; returns where it is, or None where it cannot be kept.

    Args:
        name: as for `find`.
        write: writes the file to the path that it is given.
    """
    place = folder()
    if place is None:
        return None
    path = place / name
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        if temporary.stat().st_size > _MOST_BYTES // 2:
            return None
        os.replace(temporary, path)
        _make_room(place)
    except OSError:
        return None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return path


def discard(name: str) -> None:
    """Delete a file that turned out to be damaged."""
    place = folder()
    if place is not None:
        with contextlib.suppress(OSError):
            (place / name).unlink()


def _make_room(place: pathlib.Path) -> None:
    """Delete the files that were not used for longest, until all take no more than they may."""
    # Programs that JAX keeps lie there too; JAX bounds them itself.
    files = [(path, path.stat()) for path in place.glob("*/*.npz")]
    total = sum(status.st_size for _, status in files)
    for path, status in sorted(files, key=lambda pair: pair[1].st_mtime):
        if total <= _MOST_BYTES:
            return
        path.unlink(missing_ok=True)
        total -= status.st_size
