"""The user's cache: where it is, what it keeps, and that nothing depends on it."""

import os
import pathlib

import pytest

from fsdd.io import user_cache

NAME = "things/one.npz"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache that is not there yet."""
    monkeypatch.setenv("FSDD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def add(name: str, size: int = 3, at: int | None = None) -> pathlib.Path | None:
    """Keep a file of so many bytes, last used so many seconds after 1970."""
    path = user_cache.add(name, lambda temporary: temporary.write_bytes(b"x" * size))
    if at is not None:
        os.utime(path, (at, at))
    return path


def test_its_place_is_what_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("FSDD_CACHE", "~/mine")
    assert user_cache.folder() == tmp_path / "mine"
    monkeypatch.delenv("FSDD_CACHE")
    assert user_cache.folder() == tmp_path / "xdg" / "fsdd"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert user_cache.folder() == tmp_path / ".cache" / "fsdd"
    assert list(tmp_path.iterdir()) == []


def test_what_was_added_is_found(cache):
    assert user_cache.find(NAME) is None
    assert add(NAME) == user_cache.find(NAME) == cache / NAME
    assert (cache / NAME).read_bytes() == b"xxx"
    assert add(NAME, 5) == cache / NAME
    assert (cache / NAME).read_bytes() == b"xxxxx"
    assert os.listdir(cache / "things") == ["one.npz"]
    user_cache.discard(NAME)
    user_cache.discard(NAME)
    assert user_cache.find(NAME) is None


@pytest.mark.parametrize("word", ["off", "OFF", "0", "no", "false", ""])
def test_it_may_be_switched_off(monkeypatch, tmp_path, word):
    monkeypatch.setenv("FSDD_CACHE", word)
    monkeypatch.chdir(tmp_path)
    assert user_cache.folder() is None
    assert add(NAME) is None and user_cache.find(NAME) is None
    user_cache.discard(NAME)
    assert list(tmp_path.iterdir()) == []


def test_without_a_home_there_is_none(monkeypatch):
    monkeypatch.delenv("FSDD_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME")
    # A user whom the system does not know, as in many containers.
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 3)
    assert user_cache.folder() is None
    assert add(NAME) is None and user_cache.find(NAME) is None


def test_a_place_that_is_a_file_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("FSDD_CACHE", str(tmp_path / "file"))
    assert add(NAME) is None and user_cache.find(NAME) is None
    user_cache.discard(NAME)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_folder_that_may_only_be_read_still_serves(cache):
    path = add(NAME)
    places = [path.parent, cache]
    path.chmod(0o400)
    for place in places:
        place.chmod(0o500)
    try:
        assert user_cache.find(NAME) == path
        assert add("things/two.npz") is None and add("others/one.npz") is None
        user_cache.discard(NAME)
        assert path.read_bytes() == b"xxx"
    finally:
        for place in reversed(places):
            place.chmod(0o700)


def test_a_file_of_someone_else_still_serves(cache, monkeypatch):
    """Its time of use cannot be set; it may be read all the same."""
    path = add(NAME)

    def refuse(*_, **__):
        raise PermissionError("not the owner")

    monkeypatch.setattr(os, "utime", refuse)
    assert user_cache.find(NAME) == path
    assert user_cache.find("things/none.npz") is None


def test_a_write_that_fails_leaves_nothing(cache):
    def full(temporary):
        temporary.write_bytes(b"half of")
        raise OSError(28, "No space left on device")

    assert user_cache.add(NAME, full) is None
    assert user_cache.find(NAME) is None and os.listdir(cache / "things") == []
    with pytest.raises(KeyError):
        user_cache.add(NAME, lambda temporary: {}["a fault of the writer's is not the cache's"])


def test_the_file_not_used_for_longest_goes_first(cache, monkeypatch):
    monkeypatch.setattr(user_cache, "_MOST_BYTES", 100)
    add("a/1.npz", 40, at=1000)
    add("b/2.npz", 40, at=2000)
    # It has been used since.
    assert user_cache.find("a/1.npz") is not None
    add("c/3.npz", 40)
    left = {str(path.relative_to(cache)) for path in cache.glob("*/*")}
    assert left == {"a/1.npz", "c/3.npz"}


def test_what_others_keep_there_stays(cache, monkeypatch):
    monkeypatch.setattr(user_cache, "_MOST_BYTES", 100)
    (cache / "compiled").mkdir(parents=True)
    (cache / "compiled" / "program").write_bytes(b"x" * 1000)
    add("a/1.npz", 40)
    assert sorted(path.name for path in cache.glob("*/*")) == ["1.npz", "program"]


def test_a_file_too_large_to_be_worth_it_is_not_kept(cache, monkeypatch):
    monkeypatch.setattr(user_cache, "_MOST_BYTES", 100)
    add("a/1.npz", 40)
    assert add("a/2.npz", 51) is None
    assert [path.name for path in cache.glob("*/*")] == ["1.npz"]
