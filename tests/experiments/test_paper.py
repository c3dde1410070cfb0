"""The paper's tables and figures, from their commands at the smallest scale and from results by hand."""

import json
import pathlib
import subprocess
import tempfile

import numpy as np
import pytest

from experiments import cells, records, sweep
from experiments.paper import figure1, figure3, figure4, figure4c, figure5, table2, table3, table4
from fsdd import config as configs
from fsdd.distilling import context
from fsdd.io import workdir

ROWS = ("random", "one_net", "with_adaptation", "refine")
PNG = b"\x89PNG"


def call(monkeypatch, function, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["program", *map(str, arguments)])
    function()


def table_3() -> None:
    cells.main("table3", table3.ROWS, table3.markdown, table3.draw)


def git_status() -> str:
    words = ["git", "status", "--porcelain", "--untracked-files=all"]
    return subprocess.run(words, cwd=records.ROOT, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The temporary folder in which Table 3's command leaves its smoke test, given no place."""
    place = tmp_path_factory.mktemp("smoke")
    before, runs = git_status(), (records.ROOT / "runs").exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(place))
        call(
            patch,
            lambda: cells.main("table3", table3.ROWS, table3.markdown, table3.draw),
            "--scale=smoke",
            "--rows",
            *ROWS,
        )
    assert git_status() == before
    assert (records.ROOT / "runs").exists() == runs
    (folder,) = place.iterdir()
    return folder


@pytest.mark.whole
def test_a_smoke_test_leaves_a_table_a_picture_and_results(smoke):
    results = cells.load("smoke", smoke / "cells_smoke.json")
    assert set(results) == {f"digits_ipc1_{row}" for row in ROWS}
    assert results["digits_ipc1_refine"]["stored_numbers"] == {"images": 10 * 8 * 8, "labels": 100}
    text = (smoke / "table3_smoke.md").read_text()
    missing = len(table3.ROWS) - len(ROWS)
    assert f"{len(ROWS)} of {len(table3.ROWS)} cells measured, {missing} missing." in text
    accuracy = cells.score(results["digits_ipc1_one_net"])["mean"]
    assert f"| 1 Net | {accuracy:.1f} ± " in text
    assert "FRePo" not in text
    assert (smoke / "table3_smoke_digits_ipc1.png").read_bytes()[:4] == PNG


@pytest.mark.whole
def test_a_table_and_its_place_are_printed_when_all_its_cells_are_there(smoke, monkeypatch, capsys):
    places = ["--scale=smoke", f"--root={smoke / 'nothing'}", f"--out={smoke / 'cells_smoke.json'}"]
    call(monkeypatch, table_3, *places, "--rows", *ROWS)
    printed = capsys.readouterr().out
    assert (smoke / "table3_smoke.md").read_text() in printed
    assert f"table: {smoke / 'table3_smoke.md'}\nresults: {smoke / 'cells_smoke.json'}\npicture: " in printed
    # Table 2 reads the same cells.
    wanted = ["with_adaptation", "refine"]
    call(monkeypatch, lambda: cells.main("table2", table2.ROWS, table2.markdown), *places, "--rows", *wanted)
    assert f"Accuracy: 2 of {len(table2.ROWS)} cells measured" in capsys.readouterr().out
    assert not (smoke / "nothing").exists()


@pytest.mark.whole
def test_table_2_scores_rivals_by_their_own_protocol_and_by_frepos(tmp_path, monkeypatch, capsys):
    places = ["--scale=smoke", f"--root={tmp_path}", f"--out={tmp_path / 'cells.json'}", "--rows", "dm"]
    command = ("table2", cells.are_there(table2.ROWS), table2.markdown, table2.draw, table2.complete)
    call(monkeypatch, lambda: cells.main(*command), *places)
    printed, (entry,) = capsys.readouterr().out, records.read(tmp_path / "cells.json")
    own, compared = cells.score(entry), entry["by_frepos_protocol"]
    assert (own["recipe"]["protocol"], compared["recipe"]["protocol"]) == ("dsa", "frepo_torch")
    assert own["stage"] == compared["stage"] == "dm"
    assert f"| digits | 1 | DM | {records.accuracy(own)} | {records.accuracy(compared)} |" in printed
    call(monkeypatch, lambda: cells.main(*command), *places, f"--root={tmp_path / 'nothing'}")
    assert not (tmp_path / "nothing").exists(), "what is done is not scored again"


def test_the_table_of_the_repository_lies_on_its_page(monkeypatch, capsys):
    pages = {page: page.read_text() for page in records.ROOT.glob("experiments/**/README.md")}
    call(monkeypatch, lambda: cells.main("table2", table2.ROWS, table2.markdown), "--render")
    printed = capsys.readouterr().out
    where = pathlib.Path(printed.partition("\n\ntable: ")[2].split()[0])
    assert printed.partition("\n\ntable: ")[0] in where.read_text()
    assert {page: page.read_text() for page in pages} == pages


@pytest.mark.whole
def test_sets_are_scored_by_other_architectures_and_done_ones_not_again(smoke, tmp_path, monkeypatch, capsys):
    arguments = ["--scale=smoke", f"--root={smoke}", f"--out={tmp_path / 'out.json'}", "--rows", "one_net"]
    arguments += ["--networks=1", "--architectures", "alexnet"]
    call(monkeypatch, table4.main, *arguments)
    entries = json.loads((tmp_path / "out.json").read_text())
    assert [(one["row"], one["dataset"], one["architecture"]) for one in entries] == [("one_net", "digits", "alexnet")]
    assert f"| {entries[0]['mean']:.1f} (1 network) |" in capsys.readouterr().out
    call(monkeypatch, table4.main, *arguments, f"--root={tmp_path / 'nothing'}")
    assert json.loads((tmp_path / "out.json").read_text()) == entries
    assert not (tmp_path / "nothing").exists()


@pytest.mark.whole
def test_figures_are_drawn_from_what_table_3_left(smoke, tmp_path, monkeypatch):
    places = ["--scale=smoke", "--dataset=digits", f"--root={smoke}", f"--out={tmp_path}"]
    call(monkeypatch, figure3.main, *places)
    assert (tmp_path / "figure3_smoke_digits_ipc1.png").read_bytes()[:4] == PNG
    curves = figure4.collect(smoke / "smoke", "digits", 1, window=1)
    assert list(curves) == ["w Ada"] and len(curves["w Ada"]["step"]) == len(curves["w Ada"]["nfr"]) > 0
    assert [path.read_bytes()[:4] for path in figure4.draw(curves, tmp_path, "tag")] == [PNG, PNG]
    for figure in (figure1, figure3, figure4):
        with pytest.raises(SystemExit, match=r"run experiments\.paper\.table3 first"):
            call(monkeypatch, figure.main, *places, f"--root={tmp_path / 'nothing'}", f"--out={tmp_path / 'none'}")


def test_figure_1_counts_the_networks_of_all_stages():
    score = {"mean": 41.0, "std": 0.5, "stage": "refine", "distilling_seconds": 60.0}
    stages = {"distill": {"networks": 1}, "refine": {"networks": 125}}
    (point,) = figure1.collect_points({"cifar10_ipc1_refine": {"evaluations": [score], "stages": stages}}, "cifar10", 1)
    assert (point.label, list(point.x), list(point.y)) == ("Refine", [126], [41.0])


def test_figure_4_averages_the_record_of_an_adaptation(tmp_path):
    curve = [{"step": step, "nfr": step / 10, "accuracy": step / 100} for step in range(11)]
    workdir.write(tmp_path / "cifar10_ipc1_with_adaptation" / "translate" / "result.json", {"curve": curve})
    means = figure4.collect(tmp_path, "cifar10", 1, window=5)
    assert list(means) == ["w Ada"]
    np.testing.assert_allclose(means["w Ada"]["step"], [2, 7])
    np.testing.assert_allclose(means["w Ada"]["nfr"], [0.2, 0.7])


def test_differences_from_the_paper_are_counted_and_named():
    score = {"mean": 41.0, "std": 0.5, "stage": "distill", "distilling_seconds": 60.0}
    result = {"row": "cifar10_ipc1_one_net", "evaluations": [score], "stages": {}}
    text = table3.markdown("cpu", {"cifar10_ipc1_one_net": result})
    assert "| 1 Net | 41.0 ± 0.5 (60 s) | 35.3 |" in text
    assert "- 1 Net, CIFAR-10, IPC 1, +5.7: not explained" in text
    assert "1 of 95 cells measured, 94 missing." in text
    # Rows and columns of which nothing is known are left out, and counted.
    assert "CIFAR-100" not in text and "IPC 10" not in text and "FRePo" not in text
    close = table3.markdown("cpu", {"cifar10_ipc1_one_net": result | {"evaluations": [score | {"mean": 36.0}]}})
    assert "Differences" not in close


def _timed(row, **seconds):
    stages = {
        stage: {"seconds": value, "wall_seconds": 2 * value, "floor": value / 2} for stage, value in seconds.items()
    }
    facts = {"dataset": "cifar10", "ipc": 1, "load": 1.5, "device": "a machine", "convolution_flops": 2e11}
    return {"row": row, "stages": stages} | facts


def test_hours_of_rivals_are_those_of_official_iterations():
    stage = {"wall_seconds": 110.0, "compile_seconds": 10.0, "steps": 1000}
    run = {"stages": {"frepo": stage}}
    assert table2.hours("frepo", run, None) == pytest.approx(100 / 1000 * 500_000 / 3600)
    assert table2.hours("frepo", run, _timed("frepo", frepo=0.036)) == pytest.approx(5.0)
    assert table2.hours("idc", None, _timed("idc", idc=3.6)) == pytest.approx(200.0)
    assert table2.hours("dm", None, None) is None
    # Ours are those of the run, where there is one.
    result, timed = (
        {"stages": {}, "evaluations": [{"distilling_seconds": 1800.0}]},
        _timed("", distill=0.6, translate=1.8),
    )
    assert table2.hours("refine", result, None) == table2.hours("with_adaptation", result, timed) == 0.5
    assert table2.hours("with_adaptation", None, timed) == pytest.approx(1.0)
    assert table2.hours("refine", None, None) is None


def test_table_2_shows_what_was_measured_beside_what_is_published(tmp_path):
    score = {"mean": 27.0, "std": 0.4, "stage": "dm"}
    result = {"evaluations": [score], "by_frepos_protocol": score | {"mean": 30.0}, "stages": {}}
    results = {"cifar10_ipc1_dm": result}
    timings = [_timed("dm", dm=5.4), _timed("dc", dc=18.0), _timed("with_adaptation", distill=0.1, translate=3.0)]
    text = table2.markdown("cpu", results, timings)
    assert "| CIFAR-10 | 1 | DM | 27.0 ± 0.4 | 30.0 ± 0.4 | 26.0 | 5.4 | 2.7 | 20,000 | 30 | 0.3 |" in text
    assert "| CIFAR-10 | 1 | DC |  |  | 28.3 | 18 | 9 | 1,000 | 5 | 0.1 |" in text
    assert "| w Ada |  |  | 44.0 | 0.1 + 3 | 0.05 + 1.5 | 3,000 + 1,000 | 0.917 | 0.02 |" in text
    assert "RTP" not in text and "FRePo |" not in text and "IPC 10" not in text
    assert "Accuracy: 1 of 60 cells measured, 59 missing. By FRePo's protocol: 1 of 60" in text
    assert "Seconds: 3 of 45 cells measured" in text
    assert "Seconds of the process over the cores on a machine, at a load of 1.5; the floor" in text
    (picture,) = table2.draw("cpu", results, tmp_path, timings)
    assert picture.name == "table2_cpu_cifar10_ipc1.png" and picture.read_bytes()[:4] == PNG


def test_rows_of_methods_that_are_not_there_are_not_run(monkeypatch):
    known = {**configs.methods()}
    del known["dm"]
    monkeypatch.setattr(configs, "methods", lambda: known)
    assert cells.are_there(("dc", "dm")) == ("dc",)
    # A rival's own protocol stays at the paper's scale.
    assert "protocol" not in cells.build_row("dc", "cifar10", 1, "paper").fields
    assert cells.build_row("frepo", "cifar10", 1, "paper").fields["protocol"] == "frepo_torch"


def test_differences_in_table_4_take_their_reason_from_the_convnets():
    facts = {"dataset": "cifar10", "ipc": 10, "std": None, "accuracies": [0.0], "width": 1, "parameters": 1}
    means = {
        ("with_adaptation", "convnet"): 55.0,
        ("with_adaptation", "vgg11"): 36.0,
        ("with_adaptation", "alexnet"): 60.0,
        ("one_net", "resnet18"): 30.0,
        ("one_net", "vgg11"): 34.0,
    }
    entries = [facts | {"row": row, "architecture": one, "mean": mean} for (row, one), mean in means.items()]
    lines = table4.markdown(entries, "cifar10", 10).splitlines()
    assert [line for line in lines if line.startswith("- ")] == [
        "- 1 Net, resnet18, -5.3: not explained",
        "- w Ada, alexnet, +3.2: not explained",
        "- w Ada, vgg11, -7.0: as its ConvNet, and for its reason (Table 3)",
    ]


def test_table_4_shows_what_there_is_beside_the_paper():
    entry = {"row": "one_net", "dataset": "cifar10", "ipc": 10, "architecture": "vgg11", "mean": 33.0, "std": 0.4}
    entry |= {"parameters": 9_000_000, "width": 64, "accuracies": [32.6, 33.4]}
    text = table4.markdown([entry], "cifar10", 10)
    assert "| 1 Net |  | 50.5 |  | 50.9 | 33.0 ± 0.4 | 34.2 |  | 35.3 |" in text
    assert "1 of 28 cells measured, 27 missing." in text
    assert "w Ada" not in text
    assert "| 1 Net |" not in table4.markdown([entry], "cifar10", 1)
    single = entry | {"accuracies": [33.0], "std": None}
    assert "| 33.0 (1 network) | 34.2 |" in table4.markdown([single], "cifar10", 10)


def test_table_4_takes_the_convnets_column_from_table_3(tmp_path):
    score = {"stage": "distill", "architecture": "convnet", "norm": "none", "width": 128, "parameters": 1_560_842}
    score |= {"mean": 50.1, "std": 0.6, "accuracies": [49.5, 50.7]}
    out = tmp_path / "cells.json"
    workdir.write(out, [{"row": "cifar10_ipc10_one_net", "evaluations": [score]}])
    text = table4.markdown(table4.from_table3("cpu", out), "cifar10", 10)
    assert "| parameters | 1,560,842, width 128 | " in text
    assert "| 1 Net | 50.1 ± 0.6 | 50.5 |  | 50.9 |" in text
    cell = configs.resolve(sweep.build_config(cells.build_row("one_net", "cifar10", 10, "cpu")))
    assert (cell.evaluate.architecture, cell.evaluate.norm) == ("convnet", table4.NORMS["convnet"])


@pytest.mark.parametrize("architecture", table4.ARCHITECTURES)
def test_every_cell_of_table_4_scores_the_set_of_table_3(architecture):
    for name in table4.ROWS:
        cell = cells.build_row(name, "cifar10", 10, "paper")
        scored = table4.build_row(name, "cifar10", 10, "paper", architecture)
        mine, theirs = (configs.resolve(sweep.build_config(one)) for one in (scored, cell))
        assert (scored.name, scored.after) == (cell.name, cell.after)
        assert (mine.evaluate.architecture, mine.evaluate.norm) == (architecture, table4.NORMS[architecture])
        assert context.stage_fields(mine, mine.stages) == context.stage_fields(theirs, theirs.stages)


@pytest.mark.slow
def test_a_translator_is_adapted_once_and_scored_at_unseen_ipcs(tmp_path, monkeypatch, capsys):
    out = tmp_path / "figure4c.json"
    places = ["--scale=smoke", f"--root={tmp_path}", f"--out={out}"]
    call(monkeypatch, figure4c.main, *places, "--networks=1", "--adapted", "1", "3", "--ipc", "1", "2")
    found = json.loads(out.read_text())
    assert [(one["ipc"], one["seen"]) for one in found["sets"]] == [(1, True), (2, False)]
    # The one that is also seen is translated by the very translator that was adapted on it.
    sets = [np.load(tmp_path / "smoke_unseen_ipcs" / run / "translate" / "set.npz") for run in ("adapted", "ipc1")]
    np.testing.assert_allclose(sets[1]["images"], sets[0]["images"], atol=1e-5)
    assert out.with_suffix(".png").read_bytes()[:4] == PNG
    assert "| 2 | no |" in capsys.readouterr().out


@pytest.mark.slow
def test_continual_learning_from_its_command_at_the_smallest_scale(tmp_path, monkeypatch, capsys):
    out = tmp_path / "figure5.json"
    arguments = ["--scale=smoke", "--orders=1", "--steps=2", "--width=4", f"--root={tmp_path}", f"--out={out}"]
    call(monkeypatch, figure5.main, *arguments, "--rows", "one_net", "without_adaptation")
    runs = json.loads(out.read_text())["runs"]
    assert [one["row"] for one in runs] == ["one_net", "without_adaptation"]
    # All steps are whitened alike, by the images of all classes.
    place = tmp_path / "smoke_continual_all"
    means = [np.load(place / f"one_net_ipc1_order0_step{step}" / "whitening.npz")["channel_mean"] for step in range(2)]
    np.testing.assert_array_equal(*means)
    # What one row starts from is another's, as it was.
    kept = [place / f"{row}_ipc1_order0_step1" / "distill" / "result.json" for row in ("one_net", "without_adaptation")]
    assert kept[0].read_bytes() == kept[1].read_bytes()
    assert all(len(one["accuracies"]) == len(one["seconds"]) == 2 for one in runs)
    assert out.with_suffix(".png").read_bytes()[:4] == PNG
    printed = capsys.readouterr().out
    assert "| row | knows | orders | after step 1 | after step 2 | seconds a step |" in printed
    # What is done is not run again.
    call(monkeypatch, figure5.main, *arguments, f"--root={tmp_path / 'nothing'}", "--rows", "one_net")
    assert json.loads(out.read_text())["runs"] == runs and not (tmp_path / "nothing").exists()
