"""Decoded images are kept where decoding takes long, and for as long as the files are the same."""

import os

import numpy as np
import pytest

from fsdd.data import decoded


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two files; the cache is empty, and keeps all that is decoded."""
    monkeypatch.setenv("FSDD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decoded, "_WORTH_SECONDS", -1.0)
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        path.write_bytes(b"12")
    return paths


class Decoder:
    """Makes arrays of the bytes of files, and counts how often."""

    def __init__(self, paths):
        self.paths, self.count = paths, 0

    def __call__(self):
        self.count += 1
        content = np.frombuffer(b"".join(path.read_bytes() for path in self.paths), np.uint8)
        return {"pixels": content, "labels": np.arange(len(self.paths), dtype=np.int32)}


def decode(files, decoder, recipe=(0,)):
    arrays = decoded.decode_once(files, list(recipe), decoder)
    assert set(arrays) == {"pixels", "labels"} and arrays["labels"].dtype == np.int32
    return bytes(arrays["pixels"])


def test_the_same_files_are_decoded_once(files):
    decoder = Decoder(files)
    assert decode(files, decoder) == decode(files, decoder) == b"1212"
    assert decoder.count == 1


@pytest.mark.parametrize("content", [b"34", b"345"])
def test_a_changed_file_is_decoded_again(files, content):
    decoder = Decoder(files)
    decode(files, decoder)
    files[1].write_bytes(content)
    # One of the same size counts as changed by its time alone.
    os.utime(files[1], ns=(0, files[1].stat().st_mtime_ns + 1_000_000))
    assert decode(files, decoder) == decode(files, decoder) == b"12" + content
    assert decoder.count == 2


def test_other_files_and_another_recipe_are_decoded_anew(files, tmp_path):
    decoder = Decoder(files)
    decode(files, decoder)
    decode(files[:1], Decoder(files[:1]))
    moved = files[1].rename(tmp_path / "c.png")
    other = [files[0], moved]
    wanted = Decoder(other)
    assert decode(other, wanted) == b"1212" and wanted.count == 1
    decode(other, wanted, recipe=(64,))
    assert wanted.count == 2


def test_what_is_decoded_fast_is_not_kept(files, tmp_path, monkeypatch):
    monkeypatch.setattr(decoded, "_WORTH_SECONDS", 3600.0)
    decoder = Decoder(files)
    assert decode(files, decoder) == decode(files, decoder)
    assert decoder.count == 2 and not list((tmp_path / "cache").glob("**/*.npz"))


def test_a_damaged_file_of_the_cache_is_decoded_again(files, tmp_path):
    decoder = Decoder(files)
    decode(files, decoder)
    (kept,) = (tmp_path / "cache").glob("decoded/*.npz")
    kept.write_bytes(kept.read_bytes()[:-20])
    assert decode(files, decoder) == decode(files, decoder) == b"1212"
    assert decoder.count == 2


def test_a_missing_file_is_no_longer_there(files):
    files[0].unlink()
    with pytest.raises(FileNotFoundError):
        decode(files, Decoder(files))
