"""The store of experts: one file each, with their parameters before training and after each epoch.

    experts.json                        what all of them were made with
    <number>-<epochs>-<digest>.npz      epoch0, epoch1, ..: float32 `[parameters]`; losses and seconds of each epoch
    claims, damaged/                    see `fsdd.io.shared_store`

An expert that has trained for longer replaces its file by another, of which the earlier is a part.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from fsdd.errors import UserError
from fsdd.io import notes, shared_store, workdir
from fsdd.io.atomic import temporary_beside

_SUFFIX = ".npz"


@dataclasses.dataclass(frozen=True)
class Expert:
    """An expert as far as it has been trained.

    Attributes:
        snapshots: float32 `[parameters]` each, before training and after each epoch.
        losses: mean training loss of each epoch.
        seconds: wall seconds of each epoch.
    """

    snapshots: list[np.ndarray]
    losses: list[float]
    seconds: list[float]

    @property
    def epochs(self) -> int:
        """For how many epochs it has been trained."""
        return len(self.snapshots) - 1

    def after(self, snapshot: np.ndarray, loss: float, seconds: float) -> "Expert":
        """The same after an epoch more."""
        return Expert([*self.snapshots, snapshot], [*self.losses, loss], [*self.seconds, seconds])


class Trajectories:
    """A store of experts, as this process sees it."""

    def __init__(self, folder: pathlib.Path):
        """The store in a folder."""
        self.folder = folder
        self._seen: set[pathlib.Path] = set()
        self._files: dict[int, pathlib.Path] = {}

    @functools.cached_property
    def claims(self) -> shared_store.Claims:
        """What this process works at."""
        return shared_store.Claims(self.folder)

    def check(self, identity: dict[str, Any], fields: dict[str, Any]) -> None:
        """Check that the store was made of this real set and with these config fields, or note it if it is new.

        Raises:
            UserError: it was made otherwise, or cannot be written to.
        """
        workdir.check_place(self.folder)
        path = self.folder / "experts.json"
        card = workdir.read(path, {"set": dict, "config": dict})
        if card is None:
            workdir.write(path, {"set": identity, "config": fields})
            return
        # The same images may be called otherwise now.
        workdir.compare(self.folder, card["set"] | {"name": identity.get("name")}, identity, "another real set: its ")
        workdir.compare(self.folder, card["config"], fields)

    def find(self) -> dict[int, tuple[int, pathlib.Path]]:
        """Epochs and file of each expert; a file's bytes are checked once, and one that is damaged is put aside."""
        found: dict[int, tuple[int, pathlib.Path]] = {}
        for path in sorted(self.folder.glob(f"[0-9]*{_SUFFIX}")):
            if not self._is_whole(path):
                continue
            number, epochs, _ = path.name.split("-")
            found[int(number)] = max((int(epochs), path), found.get(int(number), (-1, path)))
        return found

    def _is_whole(self, path: pathlib.Path) -> bool:
        if path in self._seen:
            return True
        try:
            whole = shared_store.is_whole(path, _SUFFIX)
        except FileNotFoundError:
            # Another process has replaced it.
            return False
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}; what it holds may be whole") from error
        if whole:
            self._seen.add(path)
        else:
            notes.say(f"{path} is damaged: moved to {self.folder / 'damaged'}, the expert is trained again")
            shared_store.set_aside(self.folder, [path])
        return whole

    def lacking(self, count: int, epochs: int) -> list[int]:
        """Which of the first experts have not been trained for so many epochs."""
        found = self.find()
        return [number for number in range(count) if found.get(number, (-1,))[0] < epochs]

    def read(self, number: int) -> Expert | None:
        """An expert as far as it is in the store."""
        if (found := self.find().get(number)) is None:
            return None
        names = [*(f"epoch{epoch}" for epoch in range(found[0] + 1)), "losses", "seconds"]
        arrays = _load(found[1], names)
        return Expert(arrays[:-2], *(list(map(float, array)) for array in arrays[-2:]))

    def read_curves(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean losses and wall seconds of the epochs of an expert that is in the store, `[epochs]` each.

        Raises:
            UserError: its file cannot be read.
        """
        losses, seconds = _load(self._path(number), ["losses", "seconds"])
        return losses, seconds

    def snapshots(self, number: int, epochs: Iterable[int]) -> list[np.ndarray]:
        """Parameters `[parameters]` after some epochs of an expert that is in the store.

        Raises:
            UserError: its file cannot be read.
        """
        return _load(self._path(number), [f"epoch{epoch}" for epoch in epochs])

    def _path(self, number: int) -> pathlib.Path:
        if number not in self._files or not self._files[number].is_file():
            # Not looked up yet, or replaced by another process.
            self._files = {one: path for one, (_, path) in self.find().items()}
        return self._files[number]

    def write(self, number: int, expert: Expert) -> None:
        """Put an expert in the place of what the store has of it.

        Raises:
            UserError: the disk refuses; the store is as it was.
        """
        before = self.find().get(number)
        growing = temporary_beside(self.folder / f"{number:06d}{_SUFFIX}")
        snapshots = {f"epoch{epoch}": snapshot for epoch, snapshot in enumerate(expert.snapshots)}
        try:
            with growing.open("wb") as file:
                np.savez(file, **snapshots, losses=expert.losses, seconds=expert.seconds)
            stem = f"{number:06d}-{expert.epochs:04d}"
            self._seen.add(shared_store.put(growing, self.folder, stem, _SUFFIX))
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be written: {error.strerror or error}") from error
        finally:
            growing.unlink(missing_ok=True)
        if before is not None and before[0] < expert.epochs:
            before[1].unlink(missing_ok=True)


def _load(path: pathlib.Path, names: Iterable[str]) -> list[np.ndarray]:
    try:
        with np.load(path) as arrays:
            return [arrays[name] for name in names]
    except Exception as error:  # damaged files make NumPy raise many types
        raise UserError(f"{path} cannot be read ({error}); delete it to have the expert trained again") from error
