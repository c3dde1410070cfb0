"""Sweeps: rows run, start from one another, are not repeated, and their commands say what was run."""

import json
import shlex

import pytest

from experiments import adaptation, one_net, pretrained, refine, sweep, tables
from experiments.sweep import Row
from fsdd import config as configs
from fsdd import main

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


@pytest.mark.parametrize(
    "row", [*one_net.ROWS, *adaptation.ROWS, *pretrained.ROWS, *refine.ROWS], ids=lambda row: row.name
)
def test_commands_give_the_rows_own_config(row):
    words = shlex.split(sweep.command(row))
    assert words[:3] == ["python", "-m", "fsdd.main"]
    command = main.parse(words[2:])
    config, folder = command.config, command.workdir
    assert folder.name == row.name
    assert configs.flat(configs.resolve(config)) == configs.flat(configs.resolve(sweep.resolved(row)))


def test_row_names_are_unique():
    names = [row.name for row in (*one_net.ROWS, *adaptation.ROWS, *pretrained.ROWS, *refine.ROWS)]
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


def test_pages_show_what_was_measured():
    """The tables in both pages are those that the results render to: nobody typed or forgot a figure."""
    for page in (tables.ROOT / "README.md", tables.ROOT / "experiments" / "README.md"):
        assert tables.runs() in page.read_text()
