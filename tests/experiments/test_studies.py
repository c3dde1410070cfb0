"""Studies judge sets and translators as they say, and refuse what they cannot."""

import json
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import cells, sweep
from experiments.studies import calibration, held_out, recipes, scale, ship, superclasses, sweeps, unseen
from experiments.sweep import Row
from fsdd import api
from fsdd import config as configs
from fsdd.assembly import translators
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.methods import nfr
from fsdd.methods.streams import Draw, Real
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet

TINY = {"network.width": 4, "network.depth": 2, "distill.steps": 4, "stages": ("distill",), "evaluate.stages": ()}
TINY |= {"evaluate.networks": 1, "evaluate.steps": 3, "evaluate.policy": "none"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The results of a small run, and its workdir."""
    root = tmp_path_factory.mktemp("studies")
    return sweep.run(Row("first", "quickstart", TINY), root, None), root / "first"


def test_a_set_whose_values_are_left_as_they_are_scores_as_in_its_own_run(run, tmp_path, monkeypatch):
    (result, folder), out = run, tmp_path / "scale.json"
    for _ in range(2):
        monkeypatch.setattr("sys.argv", ["scale", str(folder), "--networks=2", f"--out={out}", "--factors", "1", "3"])
        scale.main()
    same, larger = json.loads(out.read_text())["rows"]
    (own,) = result["evaluations"][-1]["accuracies"]
    assert same["accuracies"][0] == own
    assert (same["steps"], same["T"], larger["factor"]) == (3, 4, 3.0)


def test_every_stage_of_a_workdir_is_judged(run, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["held_out", str(run[1]), "--networks=2", "--images=50"])
    held_out.main()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(str(run[1] / "distill"))]
    assert "nfr " in line and "accuracy " in line


def test_a_config_of_an_earlier_version_is_understood(run, tmp_path):
    results = json.loads((run[1] / "results.json").read_text())
    config = results["config"]
    config["distill.uses"], config["protocol"] = config.pop("distill.steps"), "best"
    (tmp_path / "results.json").write_text(json.dumps(results))
    read = held_out.read_config(tmp_path, None)
    assert (read.distill.steps, read.protocol, read.network.width) == (4, "recommended", 4)


def test_the_judge_scores_as_the_objective_does_on_networks_of_its_own():
    network = ConvNet(3, width=4, depth=1, norm="batch")
    objective = nfr.Objective(network)
    rng = np.random.default_rng(0)
    # More than a chunk.
    images, labels = jnp.asarray(rng.normal(size=(140, 8, 8, 3)), jnp.float32), jnp.eye(3)[jnp.arange(140) % 3] - 1 / 3
    synthetic = SyntheticSet(images[:3], labels[:3])
    scores = held_out.Judge(objective, Real(images, labels), 3)(synthetic)

    @jax.jit
    def judge(key):
        variables = sampling.sample(network, key, (8, 8, 3))
        return objective(synthetic, Draw(variables, sampling.features(network, variables, images), labels))[1]

    values = [judge(key) for key in jax.random.split(jax.random.key(2**31), 3)]
    assert scores["nfr"] == pytest.approx(np.mean([parts["nfr"] for parts in values]), abs=1e-3)
    assert scores["accuracy"] == pytest.approx(100 * np.mean([parts["accuracy"] for parts in values]), abs=0.01)
    assert scores["nfr_scaled"] == pytest.approx(np.mean([parts["nfr_scaled"] for parts in values]), abs=1e-3)
    assert scores["nfr_scaled"] < scores["nfr"]


def test_what_translation_gains_is_a_mean_over_sets_with_its_standard_error():
    before = [{"accuracy": 30.0, "nfr_scaled": 0.9}, {"accuracy": 34.0, "nfr_scaled": 0.8}]
    after = [{"accuracy": 33.0, "nfr_scaled": 0.8}, {"accuracy": 35.0, "nfr_scaled": 0.8}]
    gains = unseen.gains(before, after)
    assert (gains["accuracy"], gains["accuracy_gain"], gains["accuracy_gain_error"]) == (32, 2, 1)
    assert (gains["nfr_scaled_gain"], gains["nfr_scaled_gain_error"]) == (-0.05, 0.05)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--judged=1"], "--judged is 1; allowed: at least 2"),
        (["--judged=8", "--few=4"], "--judged is 8; allowed: at most 4"),
        (["--store=nothing"], "nothing has no store; run --stage=cache there first"),
    ],
)
def test_whoever_asks_what_carries_over_is_told_what_is_allowed(tmp_path, monkeypatch, capsys, arguments, line):
    monkeypatch.setattr("sys.argv", ["unseen", f"--root={tmp_path}", *arguments])
    with pytest.raises(SystemExit) as stopped:
        unseen.main()
    assert line in f"{stopped.value}{capsys.readouterr().err}"
    assert not list(tmp_path.iterdir())


def tiny_pretraining():
    config = configs.default()
    fields = {"stages": configs.PRETRAINING, "dataset": "digits", "network.width": 4, "network.depth": 2}
    fields |= {
        "distill.steps": 2,
        "distill.batch": 32,
        "translator.widths": (4, 4, 4),
        "subsets.count": 20,
        "subsets.classes_min": 3,
    }
    fields |= {"subsets.classes_max": 3, "subsets.images": 60, "subsets.synthetic": 3, "subsets.buckets": 1}
    fields |= {"subsets.views": 1, "subsets.policy": "none", "pretrain.steps": 2, "pretrain.every": 2}
    fields |= {"pretrain.subsets": 2, "pretrain.real_images": 32, "pretrain.held_out": 1}
    config.update_from_flattened_dict(fields)
    return config


@pytest.mark.slow
def test_a_translator_is_judged_on_sets_that_it_learned_on_and_on_others(tmp_path, monkeypatch):
    module = types.ModuleType("configs.tiny_pretraining")
    module.get_config = tiny_pretraining
    monkeypatch.setitem(sys.modules, module.__name__, module)
    api.run(configs.resolve(tiny_pretraining()), tmp_path / "store")
    out = tmp_path / "unseen.json"
    arguments = ["--config=tiny_pretraining", "--store=store", "--judged=2", "--few", "10", "15", f"--root={tmp_path}"]
    monkeypatch.setattr("sys.argv", ["unseen", *arguments, f"--out={out}", "--groups", "learned on", "held out"])
    monkeypatch.setattr(unseen, "STEPS", 3)
    unseen.main()
    rows = json.loads(out.read_text())["rows"]
    assert [(row["group"], row["sets"], row["T"], row["subsets"], row["steps"]) for row in rows] == [
        (group, 2, 2, subsets, steps)
        for subsets, steps in ((10, 3), (15, 3), (20, 2))
        for group in ("learned on", "held out")
    ]
    assert out.with_suffix(".png").exists() and rows[0]["caching_tflop"] == 0
    assert all(np.isfinite(row["accuracy_gain"]) for row in rows)


def test_a_translator_s_card_has_the_rows_of_its_own_scale():
    for one in ("cpu", "paper"):
        card = json.loads((translators.PACKAGE / cells.PRETRAINED[one] / "card.json").read_text())
        assert card["cifar10_ipc1"] == ship.evaluated(one, 1)
        mean = cells.score(cells.get(cells.load(one), "with_adaptation", "cifar10", 1))["mean"]
        assert card["cifar10_ipc1"]["with_adaptation"].startswith(f"{mean:.1f} +- ")


def test_a_judge_is_compared_with_training_among_recipes_and_among_starts():
    # Two recipes, three starts: the judge ranks recipes right, and starts of the second; of the first, the wrong way.
    judged, trained = np.array([[1.0, 2, 3], [4, 5, 6]]), np.array([[12.0, 11, 10], [20, 21, 22]])
    got = calibration.correlate(judged, trained)
    assert [got[name] for name in ("recipes", "start", "recipe", "recipe_error")] == pytest.approx([1, 1, 0, 1])
    # 1 - 6 * (2^2 + 0 + 2^2) / (6 * 35), by Spearman's formula.
    assert got["sets"] == pytest.approx(1 - 6 * 8 / 210)
    rows = [{"ridge": [{"nfr": 0.5}, {"nfr": 0.4}], "accuracies": [[40, 42], [43]]}, {"ridge": [{"nfr": 0.3}]}]
    judged, trained = calibration.tabulate(rows, "nfr")
    # Lower losses are better; what no network was trained on is left out.
    np.testing.assert_array_equal(judged, [[-0.5, -0.4]])
    np.testing.assert_array_equal(trained, [[41, 43]])


def test_ways_of_refining_are_compared_start_by_start(monkeypatch):
    def row(name, seed, start, refined):
        judged = {"start": start, "one_net": 2 * start, "refined": refined}
        return {"row": name, "seed": seed} | {stage: {"accuracy": value} for stage, value in judged.items()}

    base = [row("base", seed, 10.0 + seed, 40.0 + 2 * seed) for seed in range(5)]
    others = [row("rate10", 1, 11.0, 43.0), row("rate10", 3, 13.0, 49.0), row("rate30", 0, 10.0, 39.5)]
    score = {"row": "base", "protocol": "ridge"}
    scores = [score | {"seed": seed, "accuracies": [40.0, 44.0 + seed]} for seed in (0, 1)]
    found = {"rows": base + others, "scores": scores, "device": "cpu"}
    monkeypatch.setattr(recipes.records, "load", lambda name: found)
    lines = recipes.markdown().splitlines()
    assert "| `1 Net`, then 125 networks, 8 uses each, by LAMB at 3e-3 | 5 | 44.0 (40.0 to 48.0) |  |" in lines
    # Gains of 1 and 3 over the same starts: 2, and a standard error of sqrt(2) / sqrt(2).
    assert "| at 1e-2 | 2 | 46.0 (43.0 to 49.0) | +2.0 ± 1.0 |" in lines
    assert "| at 3e-2 | 1 | 39.5 | -0.5 |" in lines
    assert any(line.endswith("as it starts +1.00 (p = 0.00), after `1 Net` +1.00 (p = 0.00).") for line in lines)
    # Means over networks are 42 and 42.5.
    scored = "| the dense layer of a random network, in closed form | `ridge` | 42.2 ± 0.4 | 2 starts, 3 each |"
    assert scored in recipes.score_table().splitlines()


@pytest.mark.whole
def test_a_way_of_refining_is_measured_once_and_its_sets_are_scored(tmp_path, monkeypatch, capsys):
    folder, out = tmp_path / "root", tmp_path / "recipes.json"
    common = ["recipes", "--smoke", "--starts=1", f"--root={folder}", f"--out={out}"]
    for more in (["--rows", "base", "real"], ["--rows", "base", "real"], ["--score=real"]):
        monkeypatch.setattr("sys.argv", [*common, *more])
        recipes.main()
    assert capsys.readouterr().out.count("base, start 0") == 1
    found = json.loads(out.read_text())
    assert [(row["row"], row["seed"]) for row in found["rows"]] == [("base", 0), ("real", 0)]
    assert set(found["rows"][0]) == {"row", "seed", "start", "one_net", "refined"} and "one_net" not in found["rows"][1]
    assert {one["protocol"]: len(one["accuracies"]) for one in found["scores"]} == recipes.FITS


def test_superclasses_have_as_many_images_of_each_of_their_classes():
    # Labels by the alphabet: maple, oak, palm, pine and willow trees; baby, boy, girl, man, woman.
    labels = np.tile(np.arange(100), 7)
    for name, classes in (("trees", [47, 52, 56, 59, 96]), ("people", [2, 11, 35, 46, 98])):
        rows = superclasses.choose(labels, superclasses.NAMES.index(name), 10)
        assert labels[rows].tolist() == np.repeat(classes, 2).tolist()
        assert rows.max() < 200
    assert np.bincount(superclasses.SUPERCLASSES).tolist() == [5] * 20


def test_budgets_are_shown_with_what_they_took_and_what_networks_learned_in_each_way(monkeypatch):
    def row(protocol, mean, **fields):
        refine = {"networks": 25, "steps": 200, "wall_seconds": 90.0}
        evaluations = [{"mean": mean, "std": 0.5, "recipe": {"protocol": protocol}}]
        return {"row": "any", "fields": fields, "stages": {"refine": refine}, "evaluations": evaluations}

    several = {"seeds": [0, 1], "budget": "fast"}
    found = [
        row("ridge", 48.0, **several),
        row("recommended", 43.0, **several),
        row("ridge_then_train", 46.0, **several),
        row("ridge", 51.0, **several, factor=2),
        row("ridge", 58.0, budget="default", ipc=10),
        row("ridge", 22.0, budget="fast", dataset="runs/superclasses/"),
    ]
    monkeypatch.setattr(sweeps.records, "load", lambda name: found)
    assert sweeps.budgets_table().splitlines()[2:] == [
        "| CIFAR-10, IPC 1 | `fast` | 25 | 200 | 1.5 (2 sets) | 48.0 ± 0.5 | 46.0 ± 0.5 | 43.0 ± 0.5 |",
        "| CIFAR-10, IPC 1, DS | `fast` | 25 | 200 | 1.5 (2 sets) | 51.0 ± 0.5 |  |  |",
        "| CIFAR-10, IPC 10 | `default` | 25 | 200 | 1.5 | 58.0 ± 0.5 |  |  |",
        "| the folder `superclasses`, IPC 1 | `fast` | 25 | 200 | 1.5 | 22.0 ± 0.5 |  |  |",
    ]
