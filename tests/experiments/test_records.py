"""Figures come from result files, and nobody types one where a result has it."""

import json
import re

import pytest

from experiments import cells, records
from experiments.paper import table3

RUN = {
    "row": "b",
    "stages": {"refine": {"steps": 1000}},
    "evaluations": [
        {"stage": "refine@5", "mean": 30.0, "std": 0.25, "accuracies": [29.8, 30.2]},
        {"stage": "refine", "mean": 41.26, "std": None, "accuracies": [41.26]},
    ],
}


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    gains = [{"group": "learned on", "steps": 600, "gain": 3.512}, {"group": "held out", "steps": 600, "gain": -0.21}]
    (tmp_path / "sweep.json").write_text(json.dumps([{"row": "a"}, RUN]))
    (tmp_path / "gains.json").write_text(json.dumps({"rows": gains}))
    return tmp_path


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("sweep/b", "41.3 (1 network)"),
        ("sweep/b/refine@5", "30.0 ± 0.2"),
        ("sweep/1/stages/refine/steps", "1,000"),
        ("sweep/b/evaluations/-1/mean:.2f", "41.26"),
        ("gains/rows/group=held out,steps=600/gain:+.2f", "-0.21"),
        ("gains/rows/group=learned on/gain", "3.5"),
    ],
)
def test_a_reference_names_a_figure(results, reference, shown):
    assert records.figure(reference) == shown
    assert records.fill(f"from {{{reference}}} on") == f"from {shown} on"


@pytest.mark.parametrize("reference", ["sweep/c", "nothing/b", "gains/rows/group=other/gain", "sweep/b/row", "gains"])
def test_a_reference_to_nothing_is_an_error(results, reference):
    with pytest.raises(LookupError):
        records.figure(reference)


def test_a_table_leaves_empty_what_is_none():
    assert records.table(["a", "b"], [[1, None]]) == "| a | b |\n|---|---|\n| 1 |  |"


def test_notes_are_of_cells_of_table_3_and_type_no_measured_figure():
    notes = records.load("notes")
    assert set(notes) <= set(cells.SCALES)
    known = {cells.cell_name(name, *column) for name in table3.ROWS for column in cells.COLUMNS}
    for scale, by_cell in notes.items():
        assert set(by_cell) <= known
        measured = set(cells.load(scale))
        for cell, text in by_cell.items():
            typed = re.sub(r"\{[^{}]+\}", "", text)
            assert not re.search(r"±|\d\.\d", typed), text
            assert cell in measured
            assert "{" not in records.note(scale, cell)


def test_the_spread_of_one_network_is_null_in_all_results():
    seen = 0

    def check(value):
        nonlocal seen
        if isinstance(value, dict):
            if "std" in value and "accuracies" in value:
                seen += 1
                assert (value["std"] is None) == (len(value["accuracies"]) == 1)
            for part in value.values():
                check(part)
        elif isinstance(value, list):
            for part in value:
                check(part)

    for path in records.FOLDER.glob("*.json"):
        check(json.loads(path.read_text()))
    assert seen > 50
