"""Rows run once, start from one another, and their commands say what was run."""

import json
import shlex
import shutil

import pytest

from experiments import cells, records, sweep
from experiments.paper import table2, table3
from experiments.studies import sweeps
from experiments.sweep import Row
from fsdd import config as configs
from fsdd import main
from fsdd.distilling import context

TINY = {
    "network.width": 4,
    "network.depth": 2,
    "distill.steps": 4,
    "refine.networks": 2,
    "refine.group": 2,
    "refine.uses": 2,
    "evaluate.networks": 1,
    "evaluate.steps": 3,
    "evaluate.policy": "none",
    "evaluate.stages": (),
}
FIRST = Row("first", "quickstart", TINY | {"stages": ("distill",)})
SECOND = Row("second", "quickstart", TINY | {"stages": ("distill", "refine")}, after="first")
ROWS = dict.fromkeys((*table3.ROWS, *table2.ROWS))
SCALES = {scale: [(name, *pair) for name in ROWS for pair in cells.columns(scale)] for scale in cells.SCALES}


def resolve(row: Row) -> configs.Resolved:
    return configs.resolve(sweep.build_config(row))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with `first` and `second`, run into results.json."""
    folder = tmp_path_factory.mktemp("sweep")
    sweep.run_missing([FIRST, SECOND], folder / "results.json", folder, None)
    return folder


def check_command(row: Row) -> None:
    words = shlex.split(sweep.command(row))
    assert words[:3] == ["python", "-m", "fsdd.main"]
    command = main.parse(words[2:])
    assert command.workdir.name == row.name
    assert configs.flat(configs.resolve(command.config)) == configs.flat(resolve(row))


@pytest.mark.parametrize("name", sweeps.SWEEPS)
def test_commands_of_a_sweep_give_the_rows_own_configs(name):
    for row in sweeps.SWEEPS[name]:
        check_command(row)


def test_row_names_are_unique():
    names = [row.name for rows in sweeps.SWEEPS.values() for row in rows]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("scale", cells.SCALES)
def test_every_cell_is_a_good_config_its_command_gives_it_and_it_starts_from_another(scale):
    rows = {cell: cells.build_row(*cell, scale) for cell in SCALES[scale]}
    by_name = {row.name: row for row in rows.values()}
    assert len(by_name) == len(ROWS) * (1 if scale == "smoke" else 5)
    resolved = {row.name: resolve(row) for row in by_name.values()}
    # Commands of rows that name the same fields are written, and read, alike.
    for row in {frozenset(row.fields): row for row in by_name.values()}.values():
        check_command(row)
    for row in by_name.values():
        if row.after:
            # All stages that both have, but for the rows of the paper's scale that share nothing but the distillation.
            mine, theirs = resolved[row.name], resolved[row.after]
            shared = 1 if row.after.endswith("without_pretraining") else min(len(mine.stages), len(theirs.stages))
            fields = [context.stage_fields(one, one.stages[:shared]) for one in (mine, theirs)]
            assert fields[0] == fields[1], row.name


def test_what_has_been_measured_would_not_be_run_again():
    """The commands that results hold are those of today's rows."""
    for scale in ("cpu", "paper"):
        rows = [cells.build_row(*cell, scale) for cell in SCALES[scale]]
        commands = {row.name: sweep.command(row) for row in rows}
        results = cells.load(scale)
        assert results
        for name, result in results.items():
            assert result["command"] == commands[name]
    for name, rows in sweeps.SWEEPS.items():
        commands = {row.name: sweep.command(row) for row in rows}
        for result in records.load(name):
            assert result["command"] == commands[result["row"]]
            assert set(result["fields"]) <= set(configs.table())


def test_the_ds_config_is_the_cell_that_it_quotes():
    cell = resolve(cells.build_row("ds_with_adaptation", "cifar10", 1, "cpu"))
    assert configs.flat(resolve(Row("ds", "cifar10_ipc1_ds", {}))) == configs.flat(cell)


def test_rows_run_once_and_start_from_one_another(root, monkeypatch):
    out = root / "results.json"
    results = json.loads(out.read_text())
    assert [result["row"] for result in results] == ["first", "second"]
    distilled = [(root / name / "distill" / "result.json").read_text() for name in ("first", "second")]
    assert distilled[0] == distilled[1]
    assert results[1]["stages"]["refine"]["steps"] == 4
    assert results[1]["fields"]["network.width"] == 4
    assert results[0]["evaluations"][0]["std"] is None
    # Without its workdir a row could only be taken from the results.
    again = sweep.run_missing([FIRST, SECOND], out, root / "elsewhere", None)
    assert again == results and not (root / "elsewhere").exists()


def test_a_row_whose_command_has_changed_is_run_again(root, tmp_path):
    out = tmp_path / "results.json"
    out.write_text((root / "results.json").read_text())
    changed = Row("first", "quickstart", FIRST.fields | {"stages": ()})
    results = sweep.run_missing([changed], out, tmp_path, None)
    assert [list(result["stages"]) for result in results] == [[], ["distill", "refine"]]
    line = sweeps.markdown(results[:1]).splitlines()[-1]
    assert line.startswith("| first | start | ") and "| 0 | 0 | 1 x convnet" in line


def test_tables_of_sweeps_count_networks_and_seconds(root):
    lines = sweeps.markdown(json.loads((root / "results.json").read_text())).splitlines()
    assert lines[-1].startswith("| second | refine | ")
    assert lines[-1].split("|")[4].strip() == "3"


def test_a_row_takes_over_stages_up_to_the_first_that_was_made_otherwise(root, tmp_path):
    folder = tmp_path / "new"
    for changed, taken in (({}, {"distill", "refine"}), ({"refine.rate": 0.5}, {"distill"}), ({"seed": 7}, set())):
        shutil.rmtree(folder, ignore_errors=True)
        sweep.borrow(resolve(Row("new", "quickstart", SECOND.fields | changed)), root / "second", folder)
        assert {path.parent.name for path in folder.glob("*/result.json")} == taken


def test_a_sweep_runs_from_its_command_and_refuses_rows_that_it_lacks(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["sweeps", "refine", "--rows", "refine_7x7"])
    with pytest.raises(SystemExit):
        sweeps.main()
    assert "allowed: refine_1x1024, refine_8x128" in capsys.readouterr().err
    shutil.copy(records.FOLDER / "refine.json", tmp_path)
    monkeypatch.setattr("sys.argv", ["sweeps", "refine", "--render", f"--out={tmp_path}"])
    sweeps.main()
    printed = capsys.readouterr().out
    assert "| refine_125x8 | refine | 43.2 ± 1.0 |" in printed
    assert f"picture: {tmp_path / 'refine.png'}" in printed
    assert (tmp_path / "refine.png").read_bytes()[:4] == b"\x89PNG"
