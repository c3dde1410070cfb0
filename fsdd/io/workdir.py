"""A run's folder: small JSON files written whole or not at all, and configs that may not change under a result."""

import json
import os
import pathlib
from typing import Any

from fsdd.errors import UserError
from fsdd.io.atomic import replacing


def create(folder: pathlib.Path) -> None:
    """Make a folder that can be written to.

    Raises:
        UserError: it cannot be made, is a file, or is read-only.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--workdir {folder} cannot be made: {error.strerror}; name a folder that you may write") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"--workdir {folder} is read-only; name a folder that you may write")


def write(path: pathlib.Path, value: Any) -> None:
    """Write JSON, making its folder; what stood there stays until the new file is complete."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def read(path: pathlib.Path) -> Any:
    """The JSON in a file, or None if there is no such file.

    Raises:
        UserError: the file is no JSON.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not JSON ({error}); delete it to make it again") from error


def check(folder: pathlib.Path, fields: dict[str, Any]) -> None:
    """See that a folder is new or was made with these very config fields.

    Raises:
        UserError: it was made with others; names the first that differs.
    """
    found = read(folder / "config.json")
    if found is None:
        return
    wanted = json.loads(json.dumps(fields))
    for name in wanted | found:
        if wanted.get(name) != found.get(name):
            raise UserError(
                f"{folder} was made with config.{name} = {found.get(name)!r}, now it is {wanted.get(name)!r}; "
                "name another --workdir, or delete that folder"
            )
