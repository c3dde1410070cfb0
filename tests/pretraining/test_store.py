"""The store: what goes in comes out, damage is found, a full disk leaves nothing half-written, claims exclude."""

import errno
import multiprocessing
import os
import pathlib
import random
import resource

import grain
import numpy as np
import pytest

from fsdd.errors import UserError
from fsdd.io import shared_store
from fsdd.pretraining import store


def _cached(index: int, size: int = 6) -> store.Cached:
    rng = np.random.default_rng(index)
    return store.Cached(
        index,
        np.array([1, 4, 7], np.int32),
        rng.integers(0, 1000, 12),
        np.repeat(np.arange(3, dtype=np.int32), 4),
        np.array([0, 4, 8], np.int32),
        rng.normal(size=(size, 8, 8, 3)).astype(np.float32),
        rng.normal(size=(size, 3)).astype(np.float32),
        np.array([0.9, 0.25], np.float32),
    )


def _assert_same(one: store.Cached, two: store.Cached) -> None:
    for field, value in vars(one).items():
        np.testing.assert_array_equal(getattr(two, field), value)
        assert np.asarray(getattr(two, field)).dtype == np.asarray(value).dtype


def _write(folder: pathlib.Path, *indices: int) -> store.Shard:
    return store.write(folder, folder / "running" / "test", [_cached(index) for index in indices], {"seconds": 1.5})


def test_what_goes_in_comes_out(tmp_path):
    shards = [_write(tmp_path, 5, 3), _write(tmp_path, 4)]
    found, damaged = store.shards(tmp_path)
    assert not damaged
    assert sorted(found, key=str) == sorted(shards, key=str)
    assert found[0].header["made"] == {"seconds": 1.5}
    assert found[0].header["subsets"][0] == {
        "index": 4, "classes": 3, "images": 12, "synthetic": 6, "before": 0.9, "after": 0.25,
    }  # fmt: skip
    source = store.Source(found)
    assert source.indices == [3, 4, 5]
    assert len(source) == 3
    for position, index in enumerate(source.indices):
        _assert_same(_cached(index), source[position])


def test_grain_reads_a_growing_store_at_random(tmp_path):
    _write(tmp_path, *range(8))
    first = store.Source(store.shards(tmp_path)[0])
    _write(tmp_path, *range(8, 12))
    assert len(first) == 8
    source = store.Source(store.shards(tmp_path)[0])
    drawn = [cached.index for cached in grain.MapDataset.source(source).shuffle(seed=1)]
    assert sorted(drawn) == list(range(12))
    assert drawn != list(range(12))


def test_a_subset_in_two_shards_counts_once(tmp_path):
    _write(tmp_path, 1, 2)
    _write(tmp_path, 2, 3)
    assert store.Source(store.shards(tmp_path)[0]).indices == [1, 2, 3]


def test_every_altered_byte_and_every_truncation_is_found(tmp_path):
    shard = _write(tmp_path, 1, 2, 3)
    whole = shard.path.read_bytes()
    moments = random.Random(0)
    for case in range(200):
        place = moments.randrange(len(whole))
        flipped = whole[:place] + bytes([whole[place] ^ (1 << moments.randrange(8))]) + whole[place + 1 :]
        shard.path.write_bytes(flipped if case % 2 else whole[:place])
        found, damaged = store.shards(tmp_path)
        assert (found, list(damaged)) == ([], [shard.path]), f"case {case}, byte {place}"
    shard.path.write_bytes(whole)
    assert store.shards(tmp_path) == ([shard], {})


def test_a_shard_that_cannot_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    _write(tmp_path, 1)
    reasons = {errno.EIO: "cannot be read: .*; what it holds may be whole", errno.ENOENT: None}
    for number, words in reasons.items():

        def refuse(path, short, number=number):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(shared_store, "digest_file", refuse)
        if words:
            with pytest.raises(UserError, match=words):
                store.shards(tmp_path)
        else:
            assert store.shards(tmp_path) == ([], {})


def test_damaged_shards_are_put_aside(tmp_path):
    whole, bad = _write(tmp_path, 1), _write(tmp_path, 2)
    bad.path.write_bytes(b"x")
    _, damaged = store.shards(tmp_path)
    shared_store.set_aside(tmp_path, damaged)
    assert store.shards(tmp_path) == ([whole], {})
    assert (tmp_path / "damaged" / bad.path.name).read_bytes() == b"x"


def _write_with_little_room(folder: pathlib.Path, lines) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
    try:
        store.write(folder, folder / "running" / "test", [_cached(index, 20) for index in range(5)], {})
    except UserError as error:
        lines.put(str(error))


def test_a_full_disk_leaves_the_store_as_it_was(tmp_path):
    kept = _write(tmp_path, 9)
    context = multiprocessing.get_context("spawn")
    lines = context.Queue()
    process = context.Process(target=_write_with_little_room, args=(tmp_path, lines))
    process.start()
    line = lines.get(timeout=60)
    process.join()
    assert process.exitcode == 0
    assert line == f"{tmp_path / 'shards'}: cannot be written: File too large"
    assert store.shards(tmp_path) == ([kept], {})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept.path]
    assert _write(tmp_path, 0).indices == [0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_store_is_one_line(tmp_path):
    (tmp_path / "shards").mkdir(mode=0o500)
    with pytest.raises(UserError, match="cannot be written: Permission denied"):
        _write(tmp_path, 0)


def _try_claims(folder: pathlib.Path, found) -> None:
    claims = shared_store.Claims(folder)
    found.put([claims.take(index) for index in range(4)])


def _claims_elsewhere(folder: pathlib.Path) -> list[bool]:
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    process = context.Process(target=_try_claims, args=(folder, found))
    process.start()
    answer = found.get(timeout=60)
    process.join()
    return answer


@pytest.mark.whole
def test_claims_exclude_other_processes_until_they_are_given_back(tmp_path):
    claims = shared_store.Claims(tmp_path)
    assert claims.take(0) and claims.take(2)
    assert _claims_elsewhere(tmp_path) == [False, True, False, True]
    claims.release(0)
    # Those of the process that has ended are free again, too.
    assert _claims_elsewhere(tmp_path) == [True, True, False, True]
    claims.close()
    assert all(_claims_elsewhere(tmp_path))
