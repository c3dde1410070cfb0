"""Sweeps: rows run, start from one another, are not repeated, and their commands say what was run."""

import html
import json
import shlex

import pytest

from experiments import (
    adaptation,
    cells,
    figure5,
    one_net,
    refine,
    report,
    sweep,
    table2,
    table3,
    table4,
    tables,
)
from experiments.sweep import Row
from fsdd import config as configs
from fsdd import main
from fsdd import run as runs

TINY = {
    "network.width": 4,
    "distill.uses": 5,
    "refine.networks": 2,
    "refine.group": 2,
    "refine.uses": 2,
    "evaluate.networks": 1,
    "evaluate.steps": 5,
    "evaluate.stages": (),
}
FIRST = Row("first", "quickstart", TINY | {"stages": ("distill",)})
SECOND = Row("second", "quickstart", TINY | {"stages": ("distill", "refine")}, after="first")


@pytest.mark.parametrize("row", [*one_net.ROWS, *adaptation.ROWS, *refine.ROWS], ids=lambda row: row.name)
def test_commands_give_the_rows_own_config(row):
    words = shlex.split(sweep.command(row))
    assert words[:3] == ["python", "-m", "fsdd.main"]
    command = main.parse(words[2:])
    config, folder = command.config, command.workdir
    assert folder.name == row.name
    assert configs.flat(configs.resolve(config)) == configs.flat(configs.resolve(sweep.resolved(row)))


def test_row_names_are_unique():
    names = [row.name for row in (*one_net.ROWS, *adaptation.ROWS, *refine.ROWS)]
    assert len(names) == len(set(names))


def test_rows_run_once_and_start_from_one_another(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.json"
    monkeypatch.setattr("sys.argv", ["sweep", f"--root={tmp_path}", f"--out={out}"])
    results = sweep.main("sweep", [FIRST, SECOND])
    assert json.loads(out.read_text()) == json.loads(json.dumps(results))
    distilled = [(tmp_path / name / "distill" / "result.json").read_text() for name in ("first", "second")]
    assert distilled[0] == distilled[1]
    assert results[1]["stages"]["refine"]["steps"] == 4
    assert results[1]["fields"]["network.width"] == 4
    assert sweep.main("sweep", [FIRST, SECOND]) == results
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("| second | refine | ")
    assert lines[-1].split("|")[4].strip() == "3"


CELLS = [
    (name, dataset, ipc, scale)
    for name in table3.ROWS
    for scale in cells.SCALES
    for dataset, ipc in ([("digits", 1)] if scale == "smoke" else table3.COLUMNS)
]


@pytest.mark.parametrize("scale", cells.SCALES)
def test_every_cell_of_the_tables_is_a_good_config_and_its_command_gives_it(scale):
    names = set()
    for cell in CELLS:
        if cell[-1] != scale:
            continue
        row = cells.row(*cell)
        names.add(row.name)
        command = main.parse(shlex.split(sweep.command(row))[2:])
        assert configs.flat(configs.resolve(command.config)) == configs.flat(configs.resolve(sweep.resolved(row)))
        if row.after:
            assert row.after in {cells.row(other, *cell[1:]).name for other in cells.METHODS}
    assert len(names) == len(table3.ROWS) * (1 if scale == "smoke" else 5)


def test_a_row_starts_from_stages_that_were_made_alike():
    """What a row would copy from another was made with the very fields that it asks for."""
    for cell in CELLS:
        row, others = cells.row(*cell), [cells.row(name, *cell[1:]) for name in cells.METHODS]
        before = next((other for other in others if other.name == row.after), None)
        if before is None:
            continue
        mine, theirs = (configs.resolve(sweep.resolved(one)) for one in (row, before))
        for index, stage in enumerate(theirs.stages):
            if stage in mine.stages:
                assert mine.stages[: index + 1] == theirs.stages[: index + 1]
                fields = [runs.relevant(one, one.stages[: index + 1]) for one in (mine, theirs)]
                assert fields[0] == fields[1], (row.name, stage)


@pytest.mark.slow
def test_both_tables_from_their_commands_at_the_smallest_scale(tmp_path, monkeypatch):
    rows = ["random", "one_net", "with_adaptation", "frepo", "ds_refine"]
    arguments = ["--scale=smoke", f"--root={tmp_path}", f"--out={tmp_path / 'cells.json'}"]
    monkeypatch.setattr("sys.argv", ["table3", *arguments, "--rows", *rows])
    cells.main("table3", table3.ROWS, table3.render)
    found = cells.load("smoke", tmp_path / "cells.json")
    assert {result["row"] for result in found.values()} == {f"digits_ipc1_{row}" for row in rows}
    assert found["digits_ipc1_ds_refine"]["stored_numbers"] == {"images": 10 * 4 * 4 * 4, "labels": 400}
    text = (tmp_path / "table3_smoke.md").read_text()
    assert f"{len(rows)} of {len(table3.ROWS)} cells measured, {len(table3.ROWS) - len(rows)} missing." in text
    accuracy = found["digits_ipc1_frepo"]["evaluations"][-1]["mean"]
    assert f"| FRePo | {accuracy:.1f} ± " in text
    assert (tmp_path / "table3_smoke_digits_ipc1.png").read_bytes()[:4] == b"\x89PNG"

    # What is done is not run again, and Table 2 reads the same cells.
    monkeypatch.setattr(sweep, "run", None)
    monkeypatch.setattr("sys.argv", ["table2", *arguments, "--rows", "frepo", "with_adaptation", "ds_refine"])
    cells.main("table2", table2.ROWS, table2.render)
    assert "3 of 5 cells measured, 2 missing." in (tmp_path / "table2_smoke.md").read_text()


def test_differences_from_the_paper_are_counted_and_named():
    score = {"mean": 41.0, "std": 0.5, "stage": "distill", "distilling_seconds": 60.0}
    result = {"row": "cifar10_ipc1_one_net", "evaluations": [score], "stages": {}}
    text = table3.markdown("cpu", {"cifar10_ipc1_one_net": result})
    assert "| 1 Net | 41.0 ± 0.5 (60 s) | 35.3 |" in text
    assert "- 1 Net, cifar10, 1 a class, +5.7: " in text
    assert "1 of 80 cells measured, 79 missing." in text
    close = table3.markdown("cpu", {"cifar10_ipc1_one_net": result | {"evaluations": [score | {"mean": 36.0}]}})
    assert "Differences" not in close


@pytest.mark.parametrize("architecture", table4.NORMS)
def test_every_cell_of_table_4_scores_the_set_of_table_3(architecture):
    for name in table4.ROWS:
        cell, scored = cells.row(name, "cifar10", 10, "paper"), table4.row(name, "cifar10", 10, "paper", architecture)
        mine, theirs = (configs.resolve(sweep.resolved(one)) for one in (scored, cell))
        assert (scored.name, scored.after) == (cell.name, cell.after)
        assert (mine.evaluate.architecture, mine.evaluate.norm) == (architecture, table4.NORMS[architecture])
        assert runs.relevant(mine, mine.stages) == runs.relevant(theirs, theirs.stages)


def test_table_4_shows_what_there_is_beside_the_paper():
    found = {"row": "one_net", "dataset": "cifar10", "ipc": 10, "architecture": "vgg11", "mean": 33.0, "std": 0.4}
    text = table4.markdown([found | {"parameters": 9_000_000, "width": 64}], "cifar10", 10)
    assert "| 1 Net |  | 50.5 |  | 50.9 | 33.0 ± 0.4 | 34.2 |  | 35.3 |" in text
    assert "1 of 28 cells measured, 27 missing." in text
    assert "| 34.2 |" not in table4.markdown([], "cifar10", 1)


@pytest.mark.slow
def test_continual_learning_from_its_command_at_the_smallest_scale(tmp_path, monkeypatch):
    out = tmp_path / "figure5.json"
    arguments = ["--scale=smoke", "--orders=1", "--steps=2", f"--root={tmp_path}", f"--out={out}", "--rows", "random"]
    monkeypatch.setattr("sys.argv", ["figure5", *arguments, "one_net"])
    figure5.main()
    found = json.loads(out.read_text())["runs"]
    assert [one["row"] for one in found] == ["random", "one_net"]
    assert all(len(one["accuracies"]) == len(one["seconds"]) == 2 for one in found)
    assert sum(found[0]["seconds"]) == 0 < sum(found[1]["seconds"])
    assert out.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    # What is done is not run again.
    monkeypatch.setattr(figure5, "learn", None)
    figure5.main()


def test_the_report_is_one_page_with_every_section_and_nothing_from_a_network():
    parts = report.sections()
    page = report.page(parts)
    assert all(f"<h2>{part.title}</h2>" in page for part in parts)
    assert 'src="http' not in page and "<script" not in page and "<link" not in page
    for part in parts:
        for run in part.runs():
            assert html.escape(run["command"]) in page
    drawn = [name for part in parts for name in part.pictures if (sweep.RESULTS / name).is_file()]
    assert page.count("data:image/png;base64,") == len(drawn) > 0
    assert page.count("has not been drawn") == sum(len(part.pictures) for part in parts) - len(drawn)


def test_pages_show_what_was_measured():
    """The tables in both pages are those that the results render to: nobody typed or forgot a figure."""
    page = (tables.ROOT / "experiments" / "README.md").read_text()
    assert tables.runs() in (tables.ROOT / "README.md").read_text()
    for rendered in (tables.runs(), tables.table2(), tables.table3()):
        assert rendered in page
