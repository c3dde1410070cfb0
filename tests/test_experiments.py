"""Sweeps: rows run, start from one another, are not repeated, and their commands say what was run."""

import html
import json
import shlex
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import (
    adaptation,
    cells,
    figure4c,
    figure5,
    figures,
    frontier,
    held_out,
    one_net,
    plain,
    protocols,
    refine,
    report,
    rescored,
    scale,
    ship,
    sweep,
    table2,
    table3,
    table4,
    tables,
    unseen,
)
from experiments.sweep import Row
from fsdd import config as configs
from fsdd import main
from fsdd.assembly import translators
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.distilling import context as runs
from fsdd.io import workdir
from fsdd.methods import nfr
from fsdd.methods.streams import Draw, Real
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet

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
    "row", [*one_net.ROWS, *adaptation.ROWS, *refine.ROWS, *frontier.ROWS, *plain.ROWS], ids=lambda row: row.name
)
def test_commands_give_the_rows_own_config(row):
    words = shlex.split(sweep.command(row))
    assert words[:3] == ["python", "-m", "fsdd.main"]
    command = main.parse(words[2:])
    config, folder = command.config, command.workdir
    assert folder.name == row.name
    assert configs.flat(configs.resolve(config)) == configs.flat(configs.resolve(sweep.resolved(row)))


def test_row_names_are_unique():
    names = [row.name for row in (*one_net.ROWS, *adaptation.ROWS, *refine.ROWS, *frontier.ROWS, *plain.ROWS)]
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


def test_a_row_takes_over_stages_up_to_the_first_that_was_made_otherwise(tmp_path):
    fields = TINY | {"stages": ("distill", "refine"), "evaluate.networks": 0}
    source, folder = tmp_path / "made", tmp_path / "new"
    sweep.run(Row("made", "quickstart", fields), tmp_path, None)
    for changed, taken in (({}, {"distill", "refine"}), ({"refine.rate": 0.5}, {"distill"}), ({"seed": 7}, set())):
        shutil.rmtree(folder, ignore_errors=True)
        sweep.borrow(sweep.resolved(Row("new", "quickstart", fields | changed)), source, folder)
        assert {path.parent.name for path in folder.glob("*/result.json")} == taken


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


def test_the_ds_config_is_the_cell_that_it_quotes():
    cell = sweep.resolved(cells.row("ds_with_adaptation", "cifar10", 1, "cpu"))
    config = sweep.resolved(Row("ds", "cifar10_ipc1_ds", {}))
    assert configs.flat(configs.resolve(config)) == configs.flat(configs.resolve(cell))


def test_a_row_of_real_images_has_its_line(tmp_path):
    result = sweep.run(Row("real", "quickstart", TINY | {"stages": ()}), tmp_path, None)
    line = sweep.table([result]).splitlines()[-1]
    assert line.startswith("| real | start | ") and "| 0 | 0 | 1 x convnet" in line


def test_a_row_starts_from_stages_that_were_made_alike():
    """All that both have, but for the rows of the paper's scale that share nothing but the distillation."""
    for cell in CELLS:
        row, others = cells.row(*cell), [cells.row(name, *cell[1:]) for name in cells.METHODS]
        before = next((other for other in others if other.name == row.after), None)
        if before is None:
            continue
        mine, theirs = (configs.resolve(sweep.resolved(one)) for one in (row, before))
        shared = 1 if row.after.endswith("without_pretraining") else min(len(mine.stages), len(theirs.stages))
        fields = [runs.relevant(one, one.stages[:shared]) for one in (mine, theirs)]
        assert fields[0] == fields[1], row.name


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
    assert "1 of 90 cells measured, 89 missing." in text
    # Columns of which nothing is known are left out, and counted.
    assert "cifar100" not in text and "10 a class" not in text
    alike = {"row": "one_net", "dataset": "cifar10", "ipc": 1, "protocol": "torch", "mean": 34.0}
    assert "(-1.3 scored as the paper's code does)" in table3.markdown("cpu", {"cifar10_ipc1_one_net": result}, [alike])
    close = table3.markdown("cpu", {"cifar10_ipc1_one_net": result | {"evaluations": [score | {"mean": 36.0}]}})
    assert "Differences" not in close


def test_differences_in_table_4_take_their_reason_from_the_convnets():
    facts = {"dataset": "cifar10", "ipc": 10, "std": 0.0, "accuracies": [0.0], "width": 1, "parameters": 1}
    means = {
        ("with_adaptation", "convnet"): 55.0,
        ("with_adaptation", "vgg11"): 36.0,
        ("with_adaptation", "alexnet"): 60.0,
        ("one_net", "resnet18"): 30.0,
        ("one_net", "vgg11"): 34.0,
    }
    found = [facts | {"row": row, "architecture": one, "mean": mean} for (row, one), mean in means.items()]
    lines = table4.markdown(found, "cifar10", 10).splitlines()
    assert [line for line in lines if line.startswith("- ")] == [
        "- 1 Net, resnet18, -5.3: not explained",
        "- w Ada, alexnet, +3.2: not explained",
        "- w Ada, vgg11, -7.0: as its ConvNet, and for its reason (Table 3)",
    ]


def test_a_translator_s_card_has_the_rows_of_its_own_scale():
    for one in ("cpu", "paper"):
        card = json.loads((translators.PACKAGE / cells.PRETRAINED[one] / "card.json").read_text())
        assert card["cifar10_ipc1"] == ship.evaluated(one, 1)
        mean = cells.score(cells.of(cells.load(one), "with_adaptation", "cifar10", 1))["mean"]
        assert card["cifar10_ipc1"]["with_adaptation"].startswith(f"{mean:.1f} +- ")


@pytest.mark.parametrize("architecture", table4.WAYS)
def test_every_cell_of_table_4_scores_the_set_of_table_3(architecture):
    for name in table4.ROWS:
        cell = cells.row(name, "cifar10", 10, "paper")
        scored = rescored.row(name, "cifar10", 10, "paper", table4.WAYS[architecture])
        mine, theirs = (configs.resolve(sweep.resolved(one)) for one in (scored, cell))
        assert (scored.name, scored.after) == (cell.name, cell.after)
        assert (mine.evaluate.architecture, mine.evaluate.norm) == (architecture, table4.NORMS[architecture])
        assert runs.relevant(mine, mine.stages) == runs.relevant(theirs, theirs.stages)


@pytest.mark.parametrize("protocol", protocols.WAYS)
def test_a_cell_scored_as_a_code_does_keeps_its_own_set(protocol):
    for name in protocols.ROWS:
        cell = cells.row(name, "cifar10", 1, "cpu")
        scored = rescored.row(name, "cifar10", 1, "cpu", protocols.WAYS[protocol])
        mine, theirs = (configs.resolve(sweep.resolved(one)) for one in (scored, cell))
        assert runs.relevant(mine, mine.stages) == runs.relevant(theirs, theirs.stages)
        whole = configs.default()
        whole.protocol = protocol
        for field in protocols.WAYS[protocol]:
            assert configs.flat(mine)[field] == configs.flat(configs.resolve(whole))[field]


@pytest.mark.parametrize(
    ("module", "kind", "ways"), [(table4, "architecture", ["alexnet", "vgg11"]), (protocols, "protocol", ["torch"])]
)
def test_sets_are_scored_in_other_ways_and_done_ones_not_again(module, kind, ways, tmp_path, monkeypatch, capsys):
    """The set is distilled once; each way has networks of its own, as many as were asked for."""
    name = module.__name__.partition(".")[2]
    arguments = ["--scale=smoke", f"--root={tmp_path}", f"--out={tmp_path / 'out.json'}", "--rows", "one_net"]
    monkeypatch.setattr("sys.argv", [name, *arguments, "--networks=1", f"--{kind}s", *ways])
    rescored.main(name, module.ROWS, kind, module.WAYS, module.markdown)
    found = json.loads((tmp_path / "out.json").read_text())
    assert [(one["row"], one["dataset"], one[kind]) for one in found] == [("one_net", "digits", way) for way in ways]
    assert all(len(one["accuracies"]) == 1 for one in found)
    assert f"| {found[-1]['mean']:.1f} (1 network) |" in capsys.readouterr().out
    (distilled,) = tmp_path.glob("smoke/*/distill/result.json")
    distilled.unlink()
    rescored.main(name, module.ROWS, kind, module.WAYS, module.markdown)
    assert json.loads((tmp_path / "out.json").read_text()) == found
    assert not distilled.exists()


def test_table_4_shows_what_there_is_beside_the_paper():
    found = {"row": "one_net", "dataset": "cifar10", "ipc": 10, "architecture": "vgg11", "mean": 33.0, "std": 0.4}
    found |= {"parameters": 9_000_000, "width": 64, "accuracies": [32.6, 33.4]}
    text = table4.markdown([found], "cifar10", 10)
    assert "| 1 Net |  | 50.5 |  | 50.9 | 33.0 ± 0.4 | 34.2 |  | 35.3 |" in text
    assert "1 of 28 cells measured, 27 missing." in text
    assert "| 34.2 |" not in table4.markdown([], "cifar10", 1)
    assert "| 33.0 (1 network) | 34.2 |" in table4.markdown([found | {"accuracies": [33.0]}], "cifar10", 10)


def test_table_4_takes_the_convnets_column_from_table_3(tmp_path):
    score = {"stage": "distill", "architecture": "convnet", "norm": "none", "width": 128, "parameters": 1_560_842}
    score |= {"mean": 50.1, "std": 0.6, "accuracies": [49.5, 50.7]}
    out = tmp_path / "cells.json"
    workdir.write(out, [{"row": "cifar10_ipc10_one_net", "evaluations": [score]}])
    text = table4.markdown(table4.of_table3("cpu", out), "cifar10", 10)
    assert "| parameters | 1,560,842, width 128 | " in text
    assert "| 1 Net | 50.1 ± 0.6 | 50.5 |  | 50.9 |" in text
    cell = configs.resolve(sweep.resolved(cells.row("one_net", "cifar10", 10, "cpu")))
    assert (cell.evaluate.architecture, cell.evaluate.norm) == ("convnet", table4.NORMS["convnet"])


def test_figures_are_drawn_from_what_there_is(tmp_path):
    """Figure 1d counts the networks of all stages; figure 4 averages the record of an adaptation."""
    score = {"mean": 41.0, "std": 0.5, "stage": "refine", "distilling_seconds": 60.0}
    stages = {"distill": {"networks": 1}, "refine": {"networks": 125}}
    found = {"cifar10_ipc1_refine": {"evaluations": [score], "stages": stages}}
    assert figures.figure1d(found, "cifar10", 1) == {"Refine": [126, 41.0]}
    curve = [{"step": step, "nfr": step / 10, "accuracy": step / 100} for step in range(11)]
    folder = tmp_path / "cpu" / "cifar10_ipc1_with_adaptation"
    workdir.write(folder / "translate" / "result.json", {"curve": curve})
    means = figures.figure4({"with_adaptation": folder, "with_autoencoder": tmp_path / "nowhere"}, window=5)
    assert list(means) == ["w Ada"]
    np.testing.assert_allclose(means["w Ada"]["step"], [2, 7])
    np.testing.assert_allclose(means["w Ada"]["nfr"], [0.2, 0.7])
    figures.draw(found, tmp_path / "cpu", tmp_path, "cifar10", 1, "tag")
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "figure1d_tag.png", "figure4_nfr_tag.png", "figure4_accuracy_tag.png",
    }  # fmt: skip


def test_a_set_whose_values_are_left_as_they_are_scores_as_in_its_own_run(tmp_path, monkeypatch):
    result, out = sweep.run(FIRST, tmp_path, None), tmp_path / "scale.json"
    for _ in range(2):
        arguments = [str(tmp_path / "first"), "--networks=2", f"--out={out}", "--factors", "1", "3"]
        monkeypatch.setattr("sys.argv", ["scale", *arguments])
        scale.main()
    same, larger = json.loads(out.read_text())["rows"]
    (own,) = result["evaluations"][-1]["accuracies"]
    assert same["accuracies"][0] == own
    assert (same["steps"], larger["factor"]) == (5, 3.0)


def test_what_translation_gains_is_a_mean_over_sets_with_its_standard_error():
    before = [{"accuracy": 30.0, "nfr_scaled": 0.9}, {"accuracy": 34.0, "nfr_scaled": 0.8}]
    after = [{"accuracy": 33.0, "nfr_scaled": 0.8}, {"accuracy": 35.0, "nfr_scaled": 0.8}]
    found = unseen.gains(before, after)
    assert (found["accuracy"], found["accuracy_gain"], found["accuracy_gain_error"]) == (32, 2, 1)
    assert (found["nfr_scaled_gain"], found["nfr_scaled_gain_error"]) == (-0.05, 0.05)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--judged=1"], "--judged is 1; allowed: at least 2"),
        (["--judged=8", "--few=4"], "--judged is 8; allowed: at most 4"),
        (["--store=nothing"], "has no translator; run --stage=pretrain there first"),
    ],
)
def test_whoever_asks_what_carries_over_is_told_what_is_allowed(tmp_path, monkeypatch, capsys, arguments, line):
    monkeypatch.setattr("sys.argv", ["unseen", f"--root={tmp_path}", *arguments])
    with pytest.raises(SystemExit) as stopped:
        unseen.main()
    assert line in f"{stopped.value}{capsys.readouterr().err}"
    assert not list(tmp_path.iterdir())


def test_the_judge_scores_as_the_objective_does_on_networks_of_its_own():
    network = ConvNet(3, width=4, depth=2, norm="batch")
    objective = nfr.Objective(network)
    rng = np.random.default_rng(0)
    images, labels = jnp.asarray(rng.normal(size=(40, 8, 8, 3)), jnp.float32), jnp.eye(3)[jnp.arange(40) % 3] - 1 / 3
    found = SyntheticSet(images[:3], labels[:3])
    scores = held_out.Judge(objective, Real(images, labels), 3)(found)
    values = []
    for key in jax.random.split(jax.random.key(2**31), 3):
        variables = sampling.sample(network, key, (8, 8, 3))
        draw = Draw(variables, sampling.features(network, variables, images), labels)
        values.append(objective(found, draw)[1])
    assert scores["nfr"] == pytest.approx(np.mean([parts["nfr"] for parts in values]), abs=1e-3)
    assert scores["accuracy"] == pytest.approx(100 * np.mean([parts["accuracy"] for parts in values]), abs=0.01)
    assert scores["nfr_scaled"] == pytest.approx(np.mean([parts["nfr_scaled"] for parts in values]), abs=1e-3)
    assert scores["nfr_scaled"] < scores["nfr"]


@pytest.mark.slow
def test_a_translator_is_adapted_once_and_scored_at_unseen_ipcs(tmp_path, monkeypatch):
    out = tmp_path / "figure4c.json"
    arguments = ["--scale=smoke", f"--root={tmp_path}", f"--out={out}", "--adapted", "1", "3", "--ipc", "1", "2"]
    monkeypatch.setattr("sys.argv", ["figure4c", *arguments])
    figure4c.main()
    found = json.loads(out.read_text())
    assert [(one["ipc"], one["seen"]) for one in found["sets"]] == [(1, True), (2, False)]
    # The one that is also seen is translated by the very translator that was adapted on it.
    sets = [np.load(tmp_path / "smoke_unseen_ipcs" / run / "translate" / "set.npz") for run in ("adapted", "ipc1")]
    np.testing.assert_allclose(sets[1]["images"], sets[0]["images"], atol=1e-5)
    assert out.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_continual_learning_from_its_command_at_the_smallest_scale(tmp_path, monkeypatch):
    out = tmp_path / "figure5.json"
    arguments = [
        "--scale=smoke",
        "--orders=1",
        "--steps=2",
        "--width=4",
        f"--root={tmp_path}",
        f"--out={out}",
        "--rows",
        "random",
    ]
    monkeypatch.setattr("sys.argv", ["figure5", *arguments, "one_net", "without_adaptation"])
    figure5.main()
    found = json.loads(out.read_text())["runs"]
    assert [one["row"] for one in found] == ["random", "one_net", "without_adaptation"]
    # What one row starts from is another's, as it was.
    kept = [
        tmp_path / "smoke_continual" / f"{row}_ipc1_order0_step1" / "distill"
        for row in ("one_net", "without_adaptation")
    ]
    assert kept[0].joinpath("result.json").read_bytes() == kept[1].joinpath("result.json").read_bytes()
    assert all(len(one["accuracies"]) == len(one["seconds"]) == 2 for one in found)
    assert sum(found[0]["seconds"]) == 0 < sum(found[1]["seconds"])
    assert out.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    # What is done is not run again.
    monkeypatch.setattr(figure5, "learn", None)
    figure5.main()


def test_the_report_is_one_page_with_every_section_and_nothing_from_a_network():
    parts = report.sections()
    page = report.page(parts)
    assert all(f"<h2>{html.escape(part.title)}</h2>" in page for part in parts)
    assert 'src="http' not in page and "<script" not in page and "<link" not in page
    for part in parts:
        for run in part.runs():
            assert html.escape(run["command"]) in page
    drawn = [name for part in parts for name in part.pictures if (sweep.RESULTS / name).is_file()]
    assert page.count("data:image/png;base64,") == len(drawn) > 0
    assert page.count("has not been drawn") == sum(len(part.pictures) for part in parts) - len(drawn)


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: page.parent.name)
def test_pages_show_what_was_measured(page):
    """Their tables are those that the results render to: nobody typed or forgot a figure."""
    assert tables.rendered(page.read_text()) == page.read_text()


def test_every_block_has_its_place_on_a_page():
    text = "".join(page.read_text() for page in tables.PAGES)
    assert [block.__name__ for block in tables.BLOCKS if f"<!-- {block.__name__} -->" not in text] == []
