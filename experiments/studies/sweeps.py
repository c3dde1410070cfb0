"""Sweeps at CIFAR-10, one image per class, that differ by their rows: a table of rows each.

    python -m experiments.studies.sweeps one_net refine --data_dir ~/tensorflow_datasets

one_net      `1 Net`: protocols, seeds of the images, and T, its steps
adaptation   a translator's start and rate, down to the paper's own `w/o Pre-Train`, and `Refine` after it
refine       `Refine` at about 1,000 updates: networks against uses of each
frontier     the same on validation images, from several starts
budgets      the three budgets of the CIFAR configs, and of an image folder
plain        what a set gives whoever takes 8-bit pixels, hard labels and cross-entropy of it

A row whose result is in results/SWEEP.json is not run again. Rows of `refine` start from the set of `one_net`, those of
`adaptation` and `plain` from sets of Table 3, if they are in the workdirs.
"""

import argparse
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from experiments import cells, charts, records, sweep
from experiments.sweep import Row
from fsdd import config as configs

_CONFIG = "cifar10_ipc1"
_T60 = {"distill.steps": 60, "distill.batch": 512, "distill.rate": 0.025}


def _stream(networks: int, uses: int, group: int, real_images: int) -> dict[str, Any]:
    """Refinement over such a stream, at the rate that was the default when these sweeps were made."""
    fields = {"networks": networks, "uses": uses, "group": group, "real_images": real_images, "rate": 3e-3}
    return {f"refine.{name}": value for name, value in fields.items()}


def _one_net() -> list[Row]:
    """Both of FRePo's codes, the best of both, seeds; then fewer steps, each as much larger."""
    drawn = (
        ("best", "recommended", 0), ("torch", "frepo_torch", 0), ("jax", "frepo_jax", 0), ("best", "recommended", 1),
        ("best", "recommended", 2), ("torch", "frepo_torch", 1), ("torch", "frepo_torch", 2),
    )  # fmt: skip
    rows = []
    for name, protocol, seed in drawn:
        fields = {"protocol": protocol, "seed": seed, "stages": ("distill",), "distill.steps": 4000}
        rows.append(Row(f"one_net_{name}_seed{seed}", _CONFIG, fields))
    for steps, batch, rate in ((300, 256, 6e-3), (60, 512, 0.025)):
        fields = {"stages": ("distill",), "distill.steps": steps, "distill.batch": batch, "distill.rate": rate}
        rows.append(Row(f"one_net_best_{steps}_steps", _CONFIG, fields))
    return rows


def _adaptation() -> list[Row]:
    """A fresh translator, then `Refine`; from Table 3's rate and start to the paper's; the paper's own scale."""
    fresh = {"translate.init": "fresh", "translate.rate": 3e-3, "translate.warmup": 0.2}
    few, many = _stream(32, 32, 32, 1024), _stream(125, 8, 125, 1024)
    rate = {"translate.rate": 1e-4, "translate.final": 1.0, "translate.warmup": 0.0}
    table3 = {"method": "translate"} | _T60 | rate
    paper = {"protocol": "frepo_torch", "method": "translate", "distill.steps": 3000, "translate.group": 1}
    learned = {"translate.networks": 0, "translate.init": "runs/pretrain_paper_loss/translator"}
    thousand, random = {"translate.networks": 1000, "translate.uses": 1} | rate, {"translator.residual": False}
    stages, one_net = ("distill", "translate"), "cpu/cifar10_ipc1_one_net"
    unadapted = "paper/cifar10_ipc1_without_adaptation"
    return [
        Row("without_pretraining", _CONFIG, {"stages": stages} | fresh),
        Row("translate_then_refine", _CONFIG, {"stages": (*stages, "refine")} | fresh | few, "without_pretraining"),
        # `Refine` after the T of the paper.
        Row("cifar10_ipc1", _CONFIG, {"method": "refine"} | many, "without_pretraining"),
        Row("at_1e_4", _CONFIG, table3, one_net),
        Row("random_at_1e_4", _CONFIG, table3 | random, one_net),
        # `w/o Ada` by a translator that learned by the paper's own loss: README.md here has its command.
        Row("unadapted_paper_loss", _CONFIG, paper | learned, unadapted),
        Row("random_paper", _CONFIG, paper | thousand | random, unadapted),
    ]


def _refine() -> list[Row]:
    """The rows differ in how many networks their updates are spread over.

    500 networks keep 256 real images each: pushing those through the networks is most of what a network costs.
    """
    start = "one_net_best_seed0"
    common = {"protocol": "recommended", "seed": 0, "stages": ("distill", "refine"), "distill.steps": 4000}
    schedules = ((1, 1024, 1, 1024), (8, 128, 8, 1024), (32, 32, 32, 1024), (125, 8, 125, 1024), (500, 2, 125, 256))
    rows = [Row(f"refine_{one[0]}x{one[1]}", _CONFIG, common | _stream(*one), start) for one in schedules]
    faster = common | _stream(32, 32, 32, 1024) | {"refine.rate": 1e-2}
    return [*rows, Row("refine_32x32_rate", _CONFIG, faster, start)]


def _frontier() -> list[Row]:
    """Rows are named START_NETWORKSxUSES_IMAGES: K networks serve m times each, with so many real images.

    They start from one `1 Net` set (`one_net`), from that of other real images (`herding`, whose mean feature is
    closest to their class's) or from real images themselves (`real`). A tenth of the training images takes the place
    of the test split.
    """
    validated, one_net = {"validation_fraction": 0.1}, {"method": "refine"} | _T60
    herding = one_net | {"start": "herding"}
    starts = {
        "one_net": (one_net, "frontier_one_net"),
        "herding": (herding, "frontier_herding"),
        "real": ({"method": "baseline"}, None),
    }

    def row(start: str, networks: int, uses: int, images: int, group: int = 0) -> Row:
        name = f"{start}_{networks}x{uses}_{images}" + (f"_groups_of_{group}" if group else "")
        fields, after = starts[start]
        return Row(name, _CONFIG, validated | fields | _stream(networks, uses, group or 50, images), after)

    return [
        Row("frontier_one_net", _CONFIG, validated | one_net | {"method": "distill"}),
        Row("frontier_herding", _CONFIG, validated | herding | {"method": "distill"}),
        row("one_net", 125, 8, 1024, group=125),
        row("one_net", 125, 8, 1024, group=25),
        row("one_net", 1000, 2, 128),
        row("herding", 125, 8, 1024, group=125),
        row("herding", 1000, 4, 128),
        row("real", 2000, 1, 128),
    ]


def _plain() -> list[Row]:
    """What networks learn from is the end of a row's name, after that of the set.

    `refined` is the set of Table 3's `Refine`; `standardized` is made like it, but without ZCA, and `plain` also with
    the labels that it started with.
    """
    pixels, hard = {"evaluate.images": "pixels"}, {"evaluate.labels": "hard"}
    entropy = {"evaluate.loss": "cross_entropy"}
    everything, standardized = pixels | hard | entropy, {"whitening.kind": "standardize"}
    held = {"protocol": "plain_pixels"}

    def row(name: str, cell: str, fields: dict[str, Any], after: str | None = None) -> Row:
        made = cells.rescore(cell, "cifar10", 1, "cpu", fields)
        return dataclasses.replace(made, name=name, after=after or f"cpu/{made.name}")

    return [
        row("random_plain", "random", everything),
        row("refined_rounded", "refine", {"evaluate.images": "rounded"}),
        row("refined_hard", "refine", hard),
        row("refined_hard_entropy", "refine", hard | entropy),
        row("refined_plain", "refine", everything),
        row("standardized", "refine", standardized),
        row("standardized_pixels", "refine", standardized | pixels, "standardized"),
        row("standardized_plain", "refine", standardized | everything, "standardized"),
        row("plain", "refine", held),
        row("plain_pixels_hard", "refine", held | {"evaluate.loss": "squared"}, "plain"),
    ]


def _budgets() -> list[Row]:
    """What the recipe of the CIFAR configs gives in minutes; `superclasses` makes the folder.

    Ridge heads score it, in a minute each. At IPC 1 sets of five starts are made side by side, and one network is
    fitted to each, or trained on it.
    """
    ridge, several = {"evaluate.protocol": "ridge"}, {"seeds": (0, 1, 2, 3, 4), "evaluate.networks": 1}
    head_first, folder = {"evaluate.protocol": "ridge_then_train"}, {"dataset": "runs/superclasses/"}

    def row(name: str, config: str, budget: str, fields: dict[str, Any], after: str | None = None) -> Row:
        return Row(f"budget_{name}_{budget}", config, {"budget": budget} | fields, after)

    short = ("fast", "default")
    return [
        *(row("ipc1", _CONFIG, budget, several | ridge) for budget in short),
        row("ipc1_trained", _CONFIG, "default", several, "budget_ipc1_default"),
        row("ipc1_head_first", _CONFIG, "default", several | head_first, "budget_ipc1_default"),
        row("ipc1", _CONFIG, "long", ridge),
        row("ipc1_ds", _CONFIG, "default", several | ridge | {"factor": 2}),
        *(row(f"ipc{ipc}", f"cifar10_ipc{ipc}", budget, ridge) for ipc in (10, 50) for budget in (*short, "long")),
        *(row("superclasses", _CONFIG, budget, folder | ridge) for budget in short),
    ]


SWEEPS: dict[str, list[Row]] = {
    "one_net": _one_net(), "adaptation": _adaptation(), "refine": _refine(), "frontier": _frontier(), "plain": _plain(),
    "budgets": _budgets(),
}  # fmt: skip


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """Accuracies, seconds and networks of the rows of any sweep."""
    rows = []
    for result in results:
        for score in result["evaluations"]:
            stages, last = list(result["stages"]), score["stage"].partition("@")[0]
            until = stages[: stages.index(last) + 1] if last in stages else []
            used = sum(result["stages"][stage]["networks"] for stage in until)
            how = f"{score['networks']} x {score['architecture']} {score['width']}, {score['steps']} steps"
            seconds = f"{sweep.seconds(result, score):.0f}"
            rows.append([result["row"], score["stage"], records.accuracy(score), used, seconds, how])
    return records.table(["row", "set", "accuracy (%)", "networks used", "distilling (s)", "evaluation"], rows)


def frontier_table() -> str:
    """Refinement by its start, networks, uses and real images, on validation images."""
    rows, defaults = [], configs.defaults()
    for row in records.load("frontier"):
        fields, refined = row["fields"], row["stages"].get("refine")
        start = fields.get("start", "random") + (", `1 Net`" if "distill" in row["stages"] else "")
        names = [f"refine.{name}" for name in ("networks", "uses", "real_images", "group")]
        counts = [f"{fields.get(name, defaults[name]):,}" if refined else None for name in names]
        seconds = f"{refined['wall_seconds']:.0f}" if refined else None
        rows.append([start, *counts, records.accuracy(cells.score(row)), seconds])
    head = ["start", "networks", "uses", "real images", "held at once", "accuracy (%)", "seconds of refinement"]
    return records.table(head, rows)


# Ways in which networks learn a set, by protocol, as `budgets_table` heads them: accuracies in percent.
_LEARNED = {"ridge": "dense layer alone (%)", "ridge_then_train": "that, then all (%)", "recommended": "all layers (%)"}


def budgets_table() -> str:
    """What each budget takes, and what networks learn of its sets, in each of the ways by which it was scored."""
    rows: dict[tuple[str, str], list] = {}
    for result in records.load("budgets"):
        fields, refined, score = result["fields"], result["stages"]["refine"], cells.score(result)
        what = "the folder `superclasses`" if "superclasses" in fields.get("dataset", "") else "CIFAR-10"
        what += f", IPC {fields.get('ipc', 1)}" + (", DS" if fields.get("factor") == 2 else "")
        sets = len(fields.get("seeds", ())) or 1
        minutes = f"{refined['wall_seconds'] / 60:.1f}" + (f" ({sets} sets)" if sets > 1 else "")
        facts = [what, f"`{fields['budget']}`", refined["networks"], refined["steps"], minutes]
        row = rows.setdefault((what, fields["budget"]), facts + [None] * len(_LEARNED))
        row[len(facts) + list(_LEARNED).index(score["recipe"]["protocol"])] = records.accuracy(score)
    head = ["set", "`config.budget`", "networks", "steps", "minutes of distilling", *_LEARNED.values()]
    return records.table(head, list(rows.values()))


def plain_table() -> str:
    """Networks trained on what of a set is plain images and classes."""
    images = {"whitened": "whitened", "rounded": "8-bit pixels, whitened", "pixels": "8-bit pixels"}
    losses = {"squared": "squared", "cross_entropy": "cross-entropy"}
    of_table3, rows = cells.load("cpu").get("cifar10_ipc1_refine"), []
    results = [of_table3 | {"row": "refined"}] if of_table3 else []
    for result in [*results, *records.load("plain")]:
        score = cells.score(result)
        # Those of Table 3 are older than these fields.
        recipe = {"images": "whitened", "labels": "learned", "loss": "squared"} | score["recipe"]
        name, seen = result["row"].partition("_")[0], images[recipe["images"]]
        rows.append([name, seen, recipe["labels"], losses[recipe["loss"]], records.accuracy(score)])
    return records.table(["set", "images", "labels", "loss", "accuracy (%)"], rows)


def draw_refine(results: Sequence[dict[str, Any]], path: pathlib.Path) -> None:
    """Accuracy against the seconds that refinement took, a point a schedule."""
    points = []
    for result in results:
        name = result["row"].removeprefix("refine_").replace("x", " x ").replace("_rate", ", rate 1e-2")
        taken = result["stages"]["refine"]["wall_seconds"]
        points.append(charts.Series([taken], [cells.score(result)["mean"]], "", name))
    charts.scatter(path, points, "seconds of refinement (networks x uses)", "test accuracy (%)", log_x=False)


def main() -> None:
    """Run what is not done of some sweeps, and print their tables."""
    parser = argparse.ArgumentParser(prog="python -m experiments.studies.sweeps")
    parser.add_argument("sweeps", nargs="+", choices=list(SWEEPS))
    parser.add_argument("--rows", nargs="*", help="some of the sweeps' rows; default: all")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs"), help="holds a workdir a row")
    parser.add_argument("--data_dir", default=None, help="where TFDS keeps prepared sets")
    parser.add_argument("--out", type=pathlib.Path, default=records.FOLDER, help="the folder for the results")
    parser.add_argument("--render", action="store_true", help="run nothing; show what there is")
    arguments = parser.parse_args()
    known = [row.name for name in arguments.sweeps for row in SWEEPS[name]]
    for name in arguments.rows or ():
        if name not in known:
            parser.error(f"--rows has {name!r}; allowed: {', '.join(known)}")
    for name in arguments.sweeps:
        order = [row.name for row in SWEEPS[name]].index
        wanted = [] if arguments.render else [row for row in SWEEPS[name] if row.name in (arguments.rows or known)]
        out, drawn = arguments.out / f"{name}.json", []
        with sweep.one_line_errors(parser.prog):
            results = sweep.run_missing(wanted, out, arguments.root, arguments.data_dir, order)
        if name == "refine" and results:
            drawn = [arguments.out / "refine.png"]
            draw_refine(results, drawn[0])
        cells.show(markdown(results), out, drawn)


if __name__ == "__main__":
    main()
