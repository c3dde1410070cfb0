"""The store of cached subsets: ArrayRecord shards that are whole, checked, and shared by many processes.

    card.json        what made the store
    shards/          subsets-<first index>-<digest>.array_record: record 0 is a JSON header, the others a subset each
    running/         batches that are being distilled
    damaged/         shards that were found altered

Shards vouch for themselves: see `fsdd.io.shared_store`.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
import safetensors.numpy
from array_record.python import array_record_module

from fsdd.errors import UserError
from fsdd.io import shared_store

_SUFFIX = ".array_record"
# Floats hardly shrink; a group of one makes each record readable by itself.
_OPTIONS = "group_size:1,uncompressed"


@dataclasses.dataclass(frozen=True)
class Cached:
    """A subset and what was distilled on it.

    Attributes:
        index: the subset's number.
        classes: int32 `[c]`, labels of the big set.
        rows: int64 `[n]`, its real images in the big set, class after class.
        labels: int32 `[n]`, positions in `classes`.
        start: int32 `[s]`, positions in `rows` of the images that the synthetic ones started from.
        images: float32 `[s, h, w, c]`, the images of S', whitened.
        targets: float32 `[s, c]`, the labels of S'.
        loss: float32 `[2]`, the NFR loss in the fixed network at the start and at the end.
    """

    index: int
    classes: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    start: np.ndarray
    images: np.ndarray
    targets: np.ndarray
    loss: np.ndarray

    def encode(self) -> bytes:
        """As safetensors."""
        arrays = {field.name: np.ascontiguousarray(getattr(self, field.name)) for field in dataclasses.fields(self)}
        return safetensors.numpy.save(arrays)

    @staticmethod
    def decode(record: bytes) -> "Cached":
        """The inverse of `encode`."""
        arrays = safetensors.numpy.load(record)
        return Cached(**(arrays | {"index": int(arrays["index"][0])}))


@dataclasses.dataclass(frozen=True)
class Shard:
    """A whole shard: where it is, and its header (`subsets`: a dict each; `made`: device and seconds)."""

    path: pathlib.Path
    header: dict

    @property
    def indices(self) -> list[int]:
        """The subsets in it, in the order of its records."""
        return [subset["index"] for subset in self.header["subsets"]]


def write(store: pathlib.Path, scratch: pathlib.Path, subsets: Sequence[Cached], made: dict) -> Shard:
    """Add a shard to a store.

    Args:
        store: the store's folder.
        scratch: a folder on the same file system that this process has for itself.
        subsets: what goes in, at least one.
        made: facts for the header.

    Raises:
        UserError: the disk refuses; the store is as it was.
    """
    header = {"subsets": [_summary(subset) for subset in subsets], "made": made}
    growing = scratch / "shard.tmp"
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        (store / "shards").mkdir(exist_ok=True)
        writer = array_record_module.ArrayRecordWriter(str(growing), _OPTIONS)
        writer.write(json.dumps(header).encode())
        for subset in subsets:
            writer.write(subset.encode())
        writer.close()
        path = shared_store.put(growing, store / "shards", f"subsets-{subsets[0].index:06d}", _SUFFIX)
    except (OSError, RuntimeError) as error:  # ArrayRecord raises RuntimeError with the system's words inside
        raise UserError(f"{store / 'shards'}: cannot be written: {_reason(error)}") from error
    finally:
        growing.unlink(missing_ok=True)
    return Shard(path, header)


def _summary(subset: Cached) -> dict:
    before, after = (round(float(value), 6) for value in subset.loss)
    sizes = {"classes": len(subset.classes), "images": len(subset.rows), "synthetic": len(subset.images)}
    return {"index": subset.index} | sizes | {"before": before, "after": after}


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).partition("failed: ")[2].partition(";")[0] or str(error)


def shards(store: pathlib.Path, known: Iterable[Shard] = ()) -> tuple[list[Shard], dict[pathlib.Path, str]]:
    """The whole shards of a store, sorted by name, and the damaged ones with what is wrong.

    Args:
        store: its folder.
        known: shards that were found whole before; they are not read again.

    Raises:
        UserError: one cannot be read; that says nothing about what is in it.
    """
    seen = {shard.path: shard for shard in known}
    whole, damaged = [], {}
    for path in sorted((store / "shards").glob(f"*{_SUFFIX}")):
        if path in seen:
            whole.append(seen[path])
            continue
        try:
            if not shared_store.is_whole(path, _SUFFIX):
                raise ValueError("its bytes are not those that were written")
            whole.append(Shard(path, json.loads(_read(path, [0])[0])))
        except FileNotFoundError:
            # Another process has set it aside.
            continue
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}; what it holds may be whole") from error
        except ValueError as error:
            damaged[path] = str(error)
    return whole, damaged


def _read(path: pathlib.Path, records: Sequence[int]) -> list[bytes]:
    reader = array_record_module.ArrayRecordReader(str(path))
    try:
        return reader.read(list(records))
    finally:
        reader.close()


class Source:
    """Random access to the cached subsets of some shards: a source for `grain.MapDataset.source`.

    It sees the shards that it was given; open another to see what a growing store has gained. Should a subset be in two
    shards, the first counts.
    """

    def __init__(self, shards: Sequence[Shard]):
        """Subsets of these shards, in the order of their indices."""
        # Imported here: it takes seconds, and only reading a store needs it.
        import grain

        places, offset = {}, 0
        for shard in shards:
            for record, index in enumerate(shard.indices, start=1):
                places.setdefault(index, offset + record)
            offset += len(shard.indices) + 1
        self.indices = sorted(places)
        self._places = [places[index] for index in self.indices]
        self._records = grain.sources.ArrayRecordDataSource([str(shard.path) for shard in shards])

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, position: int) -> Cached:
        return Cached.decode(self._records[self._places[position]])
