"""Paths as users write them."""

import pathlib

import pytest

from fsdd.errors import UserError
from fsdd.io import paths


def test_home_is_written_out(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert paths.expand("~/data", "--workdir") == pathlib.Path("/somewhere/data")
    assert paths.expand(pathlib.Path("a/~b"), "--workdir") == pathlib.Path("a/~b")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("~nosuchuser/x", "'~nosuchuser/x'; allowed: a path that begins with no ~"),
        ("a\0b", "without NUL"),
        ("a/" + "b" * 256, "at most 255 bytes"),
        ("ä" * 128, "at most 255 bytes"),
        (None, "is None; allowed: a path"),
        (3, "is 3; allowed: a path"),
        (b"data", "is b'data'; allowed: a path"),
    ],
)
def test_what_can_be_no_path_is_refused(path, words):
    with pytest.raises(UserError, match=words) as caught:
        paths.expand(path, "workdir")
    assert str(caught.value).startswith("workdir is ")
