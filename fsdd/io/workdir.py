"""A run's folder: small JSON files written whole or not at all, and configs that may not change under a result."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from fsdd.errors import UserError
from fsdd.io.atomic import replacing

_ALLOWED = "allowed: a folder that you may write"


def check_place(folder: pathlib.Path) -> None:
    """Check that a folder can be written to, or made; nothing is made.

    Raises:
        UserError: it or what it would be in is a file or read-only.
    """
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise UserError(f"--workdir is {str(folder)!r}, but {nearest} is a file; {_ALLOWED}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"--workdir is {str(folder)!r}, but {nearest} is read-only; {_ALLOWED}")


def create(folder: pathlib.Path) -> None:
    """Make a folder.

    Raises:
        UserError: the operating system refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--workdir is {str(folder)!r}, which cannot be made: {error.strerror}; {_ALLOWED}") from error


def write(path: pathlib.Path, value: Any) -> None:
    """Write JSON, making its folder; what stood there stays until the new file is complete."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


_TYPES = {dict: "an object", list: "a list", str: "a text", float: "a number", int: "a whole number"}


def read(
    path: pathlib.Path, required: Mapping[str, type] | None = None, optional: Mapping[str, type] | None = None
) -> dict[str, Any] | None:
    """The JSON object in a file, or None if there is no such file.

    Args:
        path: the file.
        required: entries that have to be there, with their types; float stands for any number.
        optional: entries that may be missing.

    Raises:
        UserError: the file holds something else.
    """
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}); delete it to make it again") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a JSON {type(value).__name__}, not an object; delete it to make it again")
    for name, kind in ((optional or {}) | (required or {})).items():
        if name not in value and name in (required or {}):
            raise UserError(f"{path} has no entry {name!r}; allowed: {_TYPES[kind]}")
        if name in value and not _is_of(value[name], kind):
            raise UserError(f"{path}: {name} is {json.dumps(value[name])[:60]}; allowed: {_TYPES[kind]}")
    return value


def _is_of(value: Any, kind: type) -> bool:
    """Whether a JSON value is of a type; truth values are no numbers."""
    return isinstance(value, int | float if kind is float else kind) and not isinstance(value, bool)


def check(folder: pathlib.Path, made_with: dict[str, Any] | None, fields: dict[str, Any]) -> None:
    """Check that a stage's folder is new or was made with these very config fields.

    Raises:
        UserError: it was made with others (the first that differs is named), or its result is damaged.
    """
    read(folder / "result.json")
    compare(folder, made_with, fields)


def compare(
    folder: pathlib.Path, made_with: dict[str, Any] | None, fields: dict[str, Any], what: str = "config."
) -> None:
    """Check that the fields of which a folder says it was made, if any, are these.

    Args:
        folder: which folder.
        made_with: the fields stored there.
        fields: those of today.
        what: stands before a field's name in the error.

    Raises:
        UserError: the first that differs is named.
    """
    if made_with is None:
        return
    # As files have them: lists for tuples.
    wanted, made_with = json.loads(json.dumps([fields, made_with]))
    for name in wanted | made_with:
        if wanted.get(name) != made_with.get(name):
            raise UserError(
                f"{folder} was made with {what}{name} = {made_with.get(name)!r}, now it is {wanted.get(name)!r}; "
                "name another --workdir, or delete that folder"
            )
