"""The cells of Tables 2 and 3: what a row runs on one dataset, at one number of images a class and one scale.

A cell whose result is there, made by the same command, is not run again; one that was killed goes on. Both tables read
the same cells.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from experiments import sweep
from experiments.sweep import Row
from fsdd.config import presets
from fsdd.errors import UserError
from fsdd.io import workdir

IPCS = {"cifar10": (1, 10, 50), "cifar100": (1, 10), "digits": (1,)}


@dataclasses.dataclass(frozen=True)
class Method:
    """A row.

    Attributes:
        title: what the tables call it.
        method: `config.method`.
        fields: what else it sets, at any scale.
        after: the row whose finished stages it starts from, if any.
    """

    title: str
    method: str
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    after: str | None = None


# The pre-trained translator of each scale: a smoke test's networks are too narrow for the packaged ones, and those of
# the paper's protocol start otherwise, so that it takes another.
PRETRAINED = {"smoke": "fresh", "cpu": "tiny_imagenet32", "paper": "tiny_imagenet32_torch"}
_FRESH, _SHIPPED = {"translate.init": "fresh"}, {"translate.init": PRETRAINED["cpu"]}
_UNADAPTED = _SHIPPED | {"translate.networks": 0}
_AUTOENCODED = {"translate.init": "autoencoder", "translator.residual": False}
_SMALL = {"factor": 2}

METHODS = {
    "random": Method("random real images", "real"),
    "herding": Method("herding", "real", {"start": "herding"}),
    "baseline": Method("Baseline", "baseline"),
    "frepo": Method("FRePo", "frepo"),
    "one_net": Method("1 Net", "distill"),
    "bilevel": Method("Bi-Level", "bilevel"),
    "without_pretraining": Method("w/o Pre-Train", "translate", _FRESH, "one_net"),
    "with_autoencoder": Method("w AE", "translate", _AUTOENCODED, "one_net"),
    "without_adaptation": Method("w/o Ada", "translate", _UNADAPTED, "one_net"),
    "with_adaptation": Method("w Ada", "translate", _SHIPPED, "one_net"),
    "refine": Method("Refine", "refine", {}, "one_net"),
    "refine_without_adaptation": Method("Refine, from w/o Ada", "translate_refine", _UNADAPTED, "without_adaptation"),
    "refine_with_adaptation": Method("Refine, from w Ada", "translate_refine", _SHIPPED, "with_adaptation"),
    "ds_one_net": Method("1 Net, DS", "distill", _SMALL),
    "ds_with_adaptation": Method("w Ada, DS", "translate", _SMALL | _SHIPPED, "ds_one_net"),
    "ds_without_pretraining": Method("w/o Pre-Train, DS", "translate", _SMALL | _FRESH, "ds_one_net"),
    "ds_refine": Method("Refine, DS", "refine", _SMALL, "ds_one_net"),
    "ds_refine_with_adaptation": Method(
        "Refine, from w Ada, DS", "translate_refine", _SMALL | _SHIPPED, "ds_with_adaptation"
    ),
}

# What a stage does at each scale, where that is not what the config says; then what single rows do.
_SCALES: dict[str, dict[str, Any]] = {
    "smoke": {
        "network.width": 4,
        "distill.uses": 4,
        "distill.batch": 64,
        "translate.networks": 2,
        "translate.group": 2,
        "translate.uses": 2,
        "translate.real_images": 64,
        "translator.widths": (4, 4, 4),
        "autoencoder.steps": 3,
        "autoencoder.batch": 16,
        "refine.networks": 2,
        "refine.group": 2,
        "refine.uses": 2,
        "refine.real_images": 64,
        "bilevel.steps": 2,
        "bilevel.inner": 2,
        "bilevel.batch": 32,
        "frepo.steps": 6,
        "frepo.batch": 32,
        "evaluate.networks": 2,
        "evaluate.steps": 3,
    },
    # What 2 cores do in minutes. T is 60, as in the store of `tiny_imagenet32`.
    "cpu": {
        "distill.uses": 60,
        "distill.batch": 512,
        "distill.rate": 0.025,
        "autoencoder.steps": 300,
        "autoencoder.batch": 32,
        "bilevel.steps": 100,
        "bilevel.inner": 16,
        "bilevel.batch": 128,
        "frepo.steps": 14000,
        "frepo.batch": 256,
        "frepo.rate": 3e-3,
        "frepo.final": 1.0,
    },
    # Table 1, by the PyTorch code's protocol; `Refine` is ours and stays what the config says.
    "paper": {
        "protocol": "torch",
        "distill.uses": 3000,
        "translate.networks": 1000,
        "translate.group": 1,
        "translate.uses": 1,
        "translate.rate": 1e-4,
        "translate.final": 1.0,
        "translate.warmup": 0.0,
    },
}
_DS_TRANSLATED = ("ds_without_pretraining", "ds_with_adaptation", "ds_refine_with_adaptation")
_ROWS: dict[str, dict[str, dict[str, Any]]] = {
    "baseline": {
        "cpu": {"refine.networks": 2000, "refine.uses": 1, "refine.group": 1, "refine.real_images": 256},
        "paper": {"refine.networks": 4000, "refine.uses": 1, "refine.group": 1, "refine.rate": 1e-3},
    },
    "one_net": {"paper": {"distill.uses": 4000}},
    "frepo": {"cpu": {"evaluate.stages": ("frepo@250", "frepo@1000", "frepo@4000", "frepo@8000", "frepo")}},
    "refine": {"cpu": {"evaluate.stages": ("distill", "refine@250", "refine")}},
} | {name: {"paper": {"translate.networks": 6000}} for name in _DS_TRANSLATED}
SCALES = tuple(_SCALES)


def row(name: str, dataset: str, ipc: int, scale: str) -> Row:
    """The run of one cell."""
    method = METHODS[name]
    fields = _SCALES[scale] | _ROWS.get(name, {}).get(scale, {}) | {"method": method.method} | method.fields
    if dataset == "digits":
        fields |= {"dataset": "digits", "evaluate.stages": ()}
    if method.fields.get("translate.init") == PRETRAINED["cpu"]:
        fields |= {"translate.init": PRETRAINED[scale]}
    if dataset == "cifar10" and ipc == 50 and scale == "paper" and name in _DS_TRANSLATED:
        fields |= {"translate.networks": 15000}
    used = {*presets.METHODS[method.method], "evaluate", "protocol", "method", "factor", "start", "network"}
    used |= {"dataset", "objective"} | ({"translator"} if "translate" in used else set())
    used |= {"autoencoder"} if fields.get("translate.init") == "autoencoder" else set()
    fields = {field: value for field, value in fields.items() if field.split(".")[0] in used}
    after = method.after
    if after == "one_net" and scale == "paper":
        # There `1 Net` takes the 4,000 steps that others split between distillation and adaptation, so that those
        # start from the first of them.
        after = None if name == "without_pretraining" else "without_pretraining"
    config = "cifar10_ipc1" if dataset == "digits" else f"{dataset}_ipc{ipc}"
    return Row(_name(name, dataset, ipc), config, fields, after and _name(after, dataset, ipc))


def _name(name: str, dataset: str, ipc: int) -> str:
    return f"{dataset}_ipc{ipc}_{name}"


def path(scale: str) -> pathlib.Path:
    """Where the results of a scale are."""
    return sweep.RESULTS / f"cells_{scale}.json"


def load(scale: str, out: pathlib.Path | None = None) -> dict[str, dict[str, Any]]:
    """Results by the name of their cell."""
    file = out or path(scale)
    return {result["row"]: result for result in json.loads(file.read_text())} if file.exists() else {}


def of(found: dict[str, dict[str, Any]], name: str, dataset: str, ipc: int) -> dict[str, Any] | None:
    """The result of one cell, or None."""
    return found.get(_name(name, dataset, ipc))


def score(result: dict[str, Any]) -> dict[str, Any]:
    """The evaluation of what a cell ends with."""
    return result["evaluations"][-1]


def seconds(result: dict[str, Any], evaluation: dict[str, Any]) -> float:
    """Wall seconds of the stages up to the set that an evaluation scored."""
    if "distilling_seconds" in evaluation:
        return evaluation["distilling_seconds"]
    until = list(result["stages"]).index(evaluation["stage"]) + 1
    return sum(stage["wall_seconds"] for stage in list(result["stages"].values())[:until])


def main(
    name: str, rows: Sequence[str], render: Callable[[str, dict[str, dict[str, Any]], pathlib.Path], None]
) -> None:
    """Command line of a table: run the cells that are asked for and not done, and after each `render` what there is.

    `render` is given the scale, all results of that scale, and the folder to write to.
    """
    parser = argparse.ArgumentParser(prog=f"python -m experiments.{name}")
    parser.add_argument("--scale", choices=SCALES, default="cpu", help="smoke: digits; cpu: minutes a cell; paper")
    parser.add_argument("--rows", nargs="*", default=list(rows), choices=list(rows))
    parser.add_argument("--dataset", nargs="*", default=["cifar10", "cifar100"], choices=list(IPCS))
    parser.add_argument("--ipc", nargs="*", type=int, default=[1, 10, 50])
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs"), help="holds a folder a scale")
    parser.add_argument("--data_dir", default=None, help="where TFDS keeps prepared sets")
    parser.add_argument(
        "--out", type=pathlib.Path, help="the JSON of results, beside which tables go; default results/cells_SCALE.json"
    )
    parser.add_argument("--render", action="store_true", help="run nothing; draw what there is")
    arguments = parser.parse_args()
    scale, out = arguments.scale, arguments.out or path(arguments.scale)
    datasets = ["digits"] if scale == "smoke" else arguments.dataset
    wanted = [
        row(one, dataset, ipc, scale)
        for dataset in datasets
        for ipc in IPCS[dataset]
        if ipc in arguments.ipc
        for one in arguments.rows
    ]
    try:
        for cell in [] if arguments.render else wanted:
            found = load(scale, out)
            if cell.name in found and found[cell.name]["command"] == sweep.command(cell):
                continue
            print(cell.name, flush=True)
            found[cell.name] = sweep.run(cell, arguments.root / scale, arguments.data_dir)
            workdir.write(out, [found[one] for one in sorted(found)])
            render(scale, found, out.parent)
    except UserError as error:
        sys.exit(f"{parser.prog}: {error}")
    render(scale, load(scale, out), out.parent)
