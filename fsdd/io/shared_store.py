"""Stores that many processes fill: claims on their parts, and files that vouch for themselves.

The digest in a file's name is of all its bytes, so that it tells whether it is whole, and it appears by one rename.
"""

import contextlib
import errno
import fcntl
import functools
import os
import pathlib
from collections.abc import Iterable
from typing import BinaryIO

from fsdd.errors import UserError
from fsdd.io.digests import digest_file


def put(growing: pathlib.Path, folder: pathlib.Path, stem: str, suffix: str) -> pathlib.Path:
    """Move a file that is written into a folder of the same file system, under a stem, its digest and a suffix."""
    path = folder / f"{stem}-{digest_file(growing, short=True)}{suffix}"
    with growing.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(growing, path)
    return path


def is_whole(path: pathlib.Path, suffix: str) -> bool:
    """Whether the bytes of a file are those that `put` moved."""
    return digest_file(path, short=True) == path.name.removesuffix(suffix).rpartition("-")[2]


def set_aside(folder: pathlib.Path, damaged: Iterable[pathlib.Path]) -> None:
    """Move damaged files of a store out of the way; another process may have done so already."""
    (folder / "damaged").mkdir(exist_ok=True)
    for path in damaged:
        with contextlib.suppress(FileNotFoundError):
            os.replace(path, folder / "damaged" / path.name)


class Claims:
    """What of a store this process works on, so that no other does: byte ranges of one locked file.

    The system gives back the claims of a process that dies. They hold between hosts where the file system's locks do.
    """

    def __init__(self, folder: pathlib.Path):
        """Claims on the parts of a store, which are numbered."""
        self._path = folder / "claims"
        self._file = _open_once(self._path.absolute())
        self._taken: set[int] = set()

    def take(self, index: int, wait: bool = False) -> bool:
        """Claim a part; whether it was free."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, index)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise UserError(f"{self._path}: this file system has no locks ({error.strerror}); use another") from error
        self._taken.add(index)
        return True

    def release(self, index: int) -> None:
        """Give a claim back, if there is one."""
        if index in self._taken:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, index)
            self._taken.discard(index)

    def close(self) -> None:
        """Give all claims back."""
        for index in list(self._taken):
            self.release(index)


@functools.cache
def _open_once(path: pathlib.Path) -> BinaryIO:
    """The one descriptor of a file of claims that this process ever has, which it never closes.

    POSIX drops all of a process's locks on a file as soon as any of its descriptors of that file is closed.
    """
    return path.open("ab")
