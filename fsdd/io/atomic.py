"""Files that appear whole or not at all."""

import contextlib
import os
import pathlib
import uuid
from collections.abc import Iterator, Sequence

from fsdd.errors import UserError


def temporary_beside(path: pathlib.Path) -> pathlib.Path:
    """A hidden name in the folder of `path` that nobody else uses: a rename from there never crosses file systems."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


@contextlib.contextmanager
def replacing_all(paths: Sequence[pathlib.Path]) -> Iterator[list[pathlib.Path]]:
    """Write several files that belong together; none is replaced before all of them are safely on the disk.

    Args:
        paths: where the files go, in the order in which they are put in place; missing folders are made.

    Yields:
        A temporary path for each. The body writes every one of them; they are moved to `paths` when it ends and
        removed if it fails, which leaves what was at `paths` untouched.

    Raises:
        UserError: the operating system refuses (disk full, no permission); names the first file.
    """
    temporaries = [temporary_beside(path) for path in paths]
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporaries
        for temporary in temporaries:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        for temporary, path in zip(temporaries, paths, strict=True):
            os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{paths[0]}: cannot be written: {error.strerror or error}") from error
    finally:
        for temporary in temporaries:
            # Moved already, never written, or out of reach for the reason that is on its way up.
            with contextlib.suppress(OSError):
                temporary.unlink()


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Write one file: `replacing_all` of a single path."""
    with replacing_all([path]) as (temporary,):
        yield temporary
