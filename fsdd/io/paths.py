"""Paths that users name."""

import os
import pathlib

from fsdd.errors import UserError

# Of one part of a path, in bytes: what Linux and macOS take.
_LONGEST = 255


def expand(path: str | os.PathLike, name: str) -> pathlib.Path:
    """A path with a leading `~` or `~user` written out.

    Args:
        path: what the user gave.
        name: what an error calls it: a flag, a field or an argument.

    Raises:
        UserError: it is no text, holds a NUL or too long a name, or there is no such user.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise UserError(f"{name} is {path!r}; allowed: a path, as text or a pathlib.Path")
    text = os.fspath(path)
    if "\0" in text:
        raise UserError(f"{name} is {text!r}; allowed: a path without NUL characters")
    if any(len(os.fsencode(part)) > _LONGEST for part in pathlib.PurePath(text).parts):
        raise UserError(f"{name} is {text[:40]!r}...; allowed: names of at most {_LONGEST} bytes")
    try:
        return pathlib.Path(text).expanduser()
    except RuntimeError as error:
        raise UserError(f"{name} is {text!r}; allowed: a path that begins with no ~, or with that of a user") from error
