"""JSON files that a run reads back: what has to be there, and in what type."""

import json

import pytest

from fsdd.errors import UserError
from fsdd.io import workdir

REQUIRED = {"config": dict, "seconds": float}


def test_a_file_with_all_entries_is_read(tmp_path):
    value = {"config": {"ipc": 1}, "seconds": 3, "more": [1]}
    workdir.write(tmp_path / "card.json", value)
    assert workdir.read(tmp_path / "card.json", REQUIRED, {"rows": list}) == value
    assert workdir.read(tmp_path / "none.json", REQUIRED) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"config": {}}, "has no entry 'seconds'; allowed: a number"),
        ({"config": {}, "seconds": "3"}, 'seconds is "3"; allowed: a number'),
        ({"config": {}, "seconds": True}, "seconds is true; allowed: a number"),
        ({"config": {}, "seconds": None}, "seconds is null; allowed: a number"),
        ({"config": [1], "seconds": 3}, r"config is \[1\]; allowed: an object"),
        ({"config": {}, "seconds": 3, "rows": 2}, "rows is 2; allowed: a list"),
        ([1], "holds a JSON list, not an object"),
    ],
)
def test_other_types_are_refused_by_file_and_entry(tmp_path, value, words):
    path = tmp_path / "card.json"
    path.write_text(json.dumps(value))
    with pytest.raises(UserError, match=words) as caught:
        workdir.read(path, REQUIRED, {"rows": list})
    assert str(path) in str(caught.value)
