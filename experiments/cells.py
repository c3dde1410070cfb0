"""The cells of the paper's tables: what a row runs on one dataset, at one number of images per class and one scale.

Tables 2 and 3 read the same cells, `results/cells_SCALE.json`; Table 4 scores their sets in other ways.
"""

import argparse
import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments import charts, records, sweep
from experiments.sweep import Row
from fsdd import config as configs
from fsdd.config.registry import protocol_of

IPCS = {"cifar10": (1, 10, 50), "cifar100": (1, 10), "digits": (1,)}
# Datasets and images per class (IPC) of the paper's Tables 2 and 3, in their order.
COLUMNS = tuple((dataset, ipc) for dataset in ("cifar10", "cifar100") for ipc in IPCS[dataset])
NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "digits": "digits"}


@dataclasses.dataclass(frozen=True)
class Method:
    """A row.

    Attributes:
        title: what the tables call it.
        family: what figures draw in one colour.
        method: `config.method`.
        fields: what else it sets, at any scale.
        after: the row whose finished stages it starts from, if any.
    """

    title: str
    family: str
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
    "random": Method("random real images", charts.REAL, "real"),
    "herding": Method("herding", charts.REAL, "real", {"start": "herding"}),
    "baseline": Method("Baseline", charts.RIVALS, "baseline"),
    "frepo": Method("FRePo", charts.RIVALS, "frepo"),
    "dd": Method("DD", charts.RIVALS, "dd"),
    "rtp": Method("RTP", charts.RIVALS, "rtp"),
    "dc": Method("DC", charts.RIVALS, "dc"),
    "dsa": Method("DSA", charts.RIVALS, "dsa"),
    "idc": Method("IDC-I", charts.RIVALS, "idc"),
    "mtt": Method("MTT", charts.RIVALS, "mtt"),
    "dm": Method("DM", charts.RIVALS, "dm"),
    "one_net": Method("1 Net", charts.TRANSLATORS, "distill"),
    "bilevel": Method("Bi-Level", charts.RIVALS, "bilevel"),
    "bilevel_inner": Method("Bi-Level, as its inner steps end", charts.RIVALS, "bilevel_inner", {}, "bilevel"),
    "without_pretraining": Method("w/o Pre-Train", charts.TRANSLATORS, "translate", _FRESH, "one_net"),
    "with_autoencoder": Method("w AE", charts.TRANSLATORS, "translate", _AUTOENCODED, "one_net"),
    "without_adaptation": Method("w/o Ada", charts.TRANSLATORS, "translate", _UNADAPTED, "one_net"),
    "with_adaptation": Method("w Ada", charts.TRANSLATORS, "translate", _SHIPPED, "one_net"),
    "refine": Method("Refine", charts.REFINE, "refine", {}, "one_net"),
    "refine_without_adaptation": Method(
        "Refine, from w/o Ada", charts.REFINE, "translate_refine", _UNADAPTED, "without_adaptation"
    ),
    "refine_with_adaptation": Method(
        "Refine, from w Ada", charts.REFINE, "translate_refine", _SHIPPED, "with_adaptation"
    ),
    "ds_one_net": Method("1 Net, DS", charts.SMALL, "distill", _SMALL),
    "ds_with_adaptation": Method("w Ada, DS", charts.SMALL, "translate", _SMALL | _SHIPPED, "ds_one_net"),
    "ds_without_pretraining": Method("w/o Pre-Train, DS", charts.SMALL, "translate", _SMALL | _FRESH, "ds_one_net"),
    "ds_refine": Method("Refine, DS", charts.SMALL, "refine", _SMALL, "ds_one_net"),
    "ds_refine_with_adaptation": Method(
        "Refine, from w Ada, DS", charts.SMALL, "translate_refine", _SMALL | _SHIPPED, "ds_with_adaptation"
    ),
}

# `Refine`, at any number of images.
_REFINED = {"refine.networks": 125, "refine.uses": 8, "refine.rate": 3e-3}

# What a stage does at each scale, where that is not what the config says; then what single rows do.
_SCALES: dict[str, dict[str, Any]] = {
    "smoke": {
        "network.width": 4,
        "distill.steps": 4,
        "distill.batch": 64,
        "translate.networks": 2,
        "translate.uses": 2,
        "translate.real_images": 64,
        "translator.widths": (4, 4, 4),
        "autoencoder.steps": 3,
        "autoencoder.batch": 16,
        "refine.networks": 2,
        "refine.uses": 2,
        "refine.real_images": 64,
        "bilevel.steps": 2,
        "bilevel.inner": 2,
        "bilevel.batch": 32,
        "frepo.steps": 6,
        "frepo.batch": 32,
        "dm.steps": 3,
        "dm.batch": 8,
        "dc.steps": 2,
        "dc.batch": 8,
        "dsa.steps": 2,
        "dsa.batch": 8,
        "idc.steps": 3,
        "idc.batch": 8,
        "idc.updates": 2,
        "idc.network_batch": 8,
        "experts.count": 1,
        "experts.batch": 512,
        "experts.policy": "none",
        "mtt.steps": 2,
        "mtt.inner": 2,
        "mtt.epochs": 1,
        "mtt.policy": "none",
        "dd.steps": 2,
        "dd.epochs": 2,
        "dd.batch": 32,
        "rtp.steps": 2,
        "rtp.inner": 2,
        "rtp.batch": 4,
        "evaluate.networks": 2,
        "evaluate.width": 4,
        "evaluate.policy": "none",
        "evaluate.steps": 3,
    },
    # What 2 cores do in minutes. T is 60, as in the store of `tiny_imagenet32`.
    "cpu": {
        "distill.steps": 60,
        "distill.batch": 512,
        "distill.rate": 0.025,
        "autoencoder.steps": 300,
        "autoencoder.batch": 32,
        **_REFINED,
        "bilevel.steps": 100,
        "bilevel.inner": 16,
        "bilevel.batch": 128,
        "frepo.steps": 14000,
        "frepo.batch": 256,
        "frepo.rate": 3e-3,
        "frepo.final": 1.0,
    },
    # Table 1, by the PyTorch code's protocol; `Refine` is ours and is what 2 cores do.
    "paper": {
        "protocol": "frepo_torch",
        "distill.steps": 3000,
        "translate.networks": 1000,
        "translate.group": 1,
        "translate.uses": 1,
        "translate.rate": 1e-4,
        "translate.final": 1.0,
        "translate.warmup": 0.0,
        **_REFINED,
    },
}
_DS_TRANSLATED = ("ds_without_pretraining", "ds_with_adaptation", "ds_refine_with_adaptation")
_ROWS: dict[str, dict[str, dict[str, Any]]] = {
    "baseline": {
        "cpu": {"refine.networks": 2000, "refine.uses": 1, "refine.group": 1, "refine.real_images": 256},
        "paper": {"refine.networks": 4000, "refine.uses": 1, "refine.group": 1, "refine.rate": 1e-3},
    },
    "one_net": {"paper": {"distill.steps": 4000}},
    "frepo": {"cpu": {"evaluate.stages": ("frepo@250", "frepo@1000", "frepo@4000", "frepo@8000", "frepo")}},
    "refine": {"cpu": {"evaluate.stages": ("distill", "refine@250", "refine")}},
} | {name: {"paper": {"translate.networks": 6000}} for name in _DS_TRANSLATED}
SCALES = tuple(_SCALES)


def build_row(name: str, dataset: str, ipc: int, scale: str) -> Row:
    """The run of one cell."""
    method = METHODS[name]
    fields = _SCALES[scale] | _ROWS.get(name, {}).get(scale, {}) | {"method": method.method} | method.fields
    if protocol_of(configs.methods()[method.method]) != "recommended":
        # Rivals bring their own.
        fields.pop("protocol", None)
    if dataset == "digits":
        fields |= {"dataset": "digits", "evaluate.stages": ()}
    if method.fields.get("translate.init") == PRETRAINED["cpu"]:
        fields |= {"translate.init": PRETRAINED[scale]}
    if dataset == "cifar10" and ipc == 50 and scale == "paper" and name in _DS_TRANSLATED:
        fields |= {"translate.networks": 15000}
    used = {*configs.methods()[method.method], "evaluate", "protocol", "method", "factor", "start", "network"}
    used |= {"dataset", "objective"} | ({"translator"} if "translate" in used else set())
    used |= {"autoencoder"} if fields.get("translate.init") == "autoencoder" else set()
    fields = {field: value for field, value in fields.items() if field.split(".")[0] in used}
    after = method.after
    if after == "one_net" and scale == "paper":
        # There `1 Net` takes the 4,000 steps that others split between distillation and adaptation, so that those
        # start from the first of them.
        after = None if name == "without_pretraining" else "without_pretraining"
    config = "cifar10_ipc1" if dataset == "digits" else f"{dataset}_ipc{ipc}"
    return Row(cell_name(name, dataset, ipc), config, fields, after and cell_name(after, dataset, ipc))


def rescore(name: str, dataset: str, ipc: int, scale: str, fields: Mapping[str, Any]) -> Row:
    """A cell with other fields, such as those of `evaluate`, that scores its last set only."""
    cell = build_row(name, dataset, ipc, scale)
    kept = {field: value for field, value in cell.fields.items() if field != "evaluate.stages"}
    return dataclasses.replace(cell, fields=kept | fields)


def cell_name(name: str, dataset: str, ipc: int) -> str:
    """What a cell is called in result files, notes and workdirs."""
    return f"{dataset}_ipc{ipc}_{name}"


def are_there(names: Sequence[str]) -> tuple[str, ...]:
    """Those rows of which this version has the method."""
    return tuple(name for name in names if METHODS[name].method in configs.methods())


def load(scale: str, out: pathlib.Path | None = None) -> dict[str, dict[str, Any]]:
    """Results by the name of their cell."""
    return {result["row"]: result for result in (records.read(out) if out else records.load(f"cells_{scale}"))}


def get(results: Mapping[str, dict[str, Any]], name: str, dataset: str, ipc: int) -> dict[str, Any] | None:
    """The result of one cell, or None."""
    return results.get(cell_name(name, dataset, ipc))


def score(result: dict[str, Any]) -> dict[str, Any]:
    """The evaluation of what a cell ends with."""
    return result["evaluations"][-1]


def columns(scale: str) -> tuple[tuple[str, int], ...]:
    """Datasets and IPCs of a scale."""
    return (("digits", 1),) if scale == "smoke" else COLUMNS


def count(measured: int, total: int) -> str:
    """The line under a table that says how much of it there is."""
    return f"{measured} of {total} cells measured, {total - measured} missing."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of every command that runs cells."""
    parser.add_argument("--scale", choices=SCALES, default="cpu", help="smoke: digits; cpu: minutes a cell; paper")
    parser.add_argument("--root", type=pathlib.Path, help="holds the workdirs; default runs, or a temporary folder")
    parser.add_argument("--data_dir", default=None, help="where TFDS keeps prepared sets")
    parser.add_argument("--out", type=pathlib.Path, help="the JSON of results; what is drawn lies beside it")


def choose_places(arguments: argparse.Namespace, name: str) -> tuple[pathlib.Path, pathlib.Path]:
    """The folder of the workdirs and the result file; a smoke test leaves both outside the repository."""
    root, out, scale = arguments.root, arguments.out, arguments.scale
    if scale == "smoke" and (root is None or out is None):
        place = pathlib.Path(tempfile.mkdtemp(prefix="fsdd_smoke_"))
        root, out = root or place, out or place / f"{name}_smoke.json"
    return root or pathlib.Path("runs"), out or records.FOLDER / f"{name}_{scale}.json"


def show(text: str, out: pathlib.Path, pictures: Sequence[pathlib.Path] = (), page: str = "") -> None:
    """Print a table and where it lies.

    Args:
        text: the table.
        out: the result file that it is rendered from.
        pictures: those that were drawn.
        page: its file's name without a suffix where `out` is none of the repository's.
    """
    print(text, flush=True)
    if out.resolve().parent == records.FOLDER:
        where = f"{_shorten(records.FOLDER / 'README.md')} (python -m experiments.pages renders it)"
    else:
        file = out.with_name(f"{page or out.stem}.md")
        file.write_text(text + "\n")
        where = str(_shorten(file))
    print(f"\ntable: {where}\nresults: {_shorten(out)}")
    for picture in pictures:
        print(f"picture: {_shorten(picture)}")


def _shorten(path: pathlib.Path) -> pathlib.Path:
    """A path as it is written in the current folder."""
    here = pathlib.Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def main(
    name: str,
    rows: Sequence[str],
    markdown: Callable[[str, dict[str, dict[str, Any]]], str],
    draw: Callable[[str, dict[str, dict[str, Any]], pathlib.Path], list[pathlib.Path]] = lambda *_: [],
    complete: Callable[[str, list[tuple[str, str, int]], pathlib.Path, pathlib.Path, str | None], object] | None = None,
) -> None:
    """Command line of a table: run the cells that are asked for and not done, then print the table.

    Args:
        name: of the module in `experiments.paper`.
        rows: keys of `METHODS`.
        markdown: the table of a scale, of its results.
        draw: of a scale, its results and a folder: draws pictures and says where they are.
        complete: of a scale, its cells that are asked for, the result file, the folder of the workdirs and where TFDS
            keeps prepared sets: adds to the results what the table shows besides.
    """
    parser = argparse.ArgumentParser(prog=f"python -m experiments.paper.{name}")
    add_arguments(parser)
    parser.add_argument("--rows", nargs="*", default=list(rows), choices=list(rows), help="which; default: all")
    parser.add_argument("--dataset", nargs="*", default=["cifar10", "cifar100"], choices=list(IPCS))
    parser.add_argument("--ipc", nargs="*", type=int, default=[1, 10, 50])
    parser.add_argument("--render", action="store_true", help="run nothing; show what there is")
    arguments = parser.parse_args()
    scale, (root, out) = arguments.scale, choose_places(arguments, "cells")
    wanted = [
        (one, dataset, ipc)
        for dataset in (["digits"] if scale == "smoke" else arguments.dataset)
        for ipc in IPCS[dataset]
        if ipc in arguments.ipc and not arguments.render
        for one in arguments.rows
    ]
    places = out, root / scale, arguments.data_dir
    with sweep.one_line_errors(parser.prog):
        sweep.run_missing([build_row(*cell, scale) for cell in wanted], *places)
        if complete and wanted:
            complete(scale, wanted, *places)
    results = load(scale, out)
    show(markdown(scale, results), out, draw(scale, results, out.parent), f"{name}_{scale}")
