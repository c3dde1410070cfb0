import os

import pytest

from fsdd.errors import UserError
from fsdd.io.atomic import replacing, replacing_all


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "new" / "folder" / "name.txt"
    for text in ("first", "second"):
        with replacing(path) as temporary:
            temporary.write_text(text)
            assert temporary.parent == path.parent
    assert path.read_text() == "second"
    assert os.listdir(path.parent) == ["name.txt"]


def test_failure_in_the_body_leaves_the_old_files(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_text("old")
    with pytest.raises(KeyError), replacing_all(paths) as (first, second):
        first.write_text("new")
        second.write_text("half of")
        raise KeyError("interrupted")
    assert [path.read_text() for path in paths] == ["old", "old"]
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_file_that_the_body_forgot_replaces_none(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(UserError, match="cannot be written"), replacing_all([tmp_path / "a", tmp_path / "b"]) as new:
        new[0].write_text("new")
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as raised, replacing(tmp_path / "file" / "x.txt") as temporary:
        temporary.write_text("")
    assert str(raised.value) == f"{tmp_path}/file/x.txt: cannot be written: {raised.value.__cause__.strerror}"


def test_the_new_file_has_ordinary_permissions(tmp_path):
    with replacing(tmp_path / "atomic") as temporary:
        temporary.write_text("")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode
