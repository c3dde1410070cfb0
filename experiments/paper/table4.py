"""Table 4: sets distilled in ConvNets, trained on by other architectures.

    python -m experiments.paper.table3 --dataset cifar10 --ipc 10 --data_dir ~/tensorflow_datasets
    python -m experiments.paper.table4 --ipc 10 --data_dir ~/tensorflow_datasets

VGG11 and ResNet18 have one group a channel for a norm, as in FRePo's PyTorch code, the others none. The column of the
ConvNet is Table 3's own; the others are in results/table4_SCALE.json. A set that is not there is distilled first.
"""

import argparse
import pathlib
from typing import Any

from experiments import cells, records, sweep
from experiments.paper.table3 import NOTABLE
from fsdd.io import workdir

ROWS = ("baseline", "one_net", "bilevel", "without_pretraining", "without_adaptation", "with_adaptation", "refine")
NORMS = {"convnet": "none", "alexnet": "none", "vgg11": "instance", "resnet18": "instance"}
ARCHITECTURES = tuple(name for name in NORMS if name != "convnet")
# The paper's, at CIFAR-10 and IPC 10, in the order of NORMS.
PAPER = {
    "baseline": (58.8, 57.1, 41.1, 38.1),
    "one_net": (50.5, 50.9, 34.2, 35.3),
    "bilevel": (52.1, 50.0, 37.4, 34.7),
    "without_pretraining": (53.8, 56.2, 39.3, 38.2),
    "without_adaptation": (54.7, 52.8, 35.7, 34.8),
    "with_adaptation": (59.2, 56.8, 43.0, 40.8),
}
_KEPT = ("mean", "std", "accuracies", "width", "norm", "parameters", "steps", "wall_seconds")


def build_row(name: str, dataset: str, ipc: int, scale: str, architecture: str, networks: int | None = None):
    """The cell of Table 3 whose set is scored by so many networks of another architecture."""
    fields = {"evaluate.architecture": architecture, "evaluate.norm": NORMS[architecture]}
    fields |= {"evaluate.networks": networks} if networks else {}
    return cells.rescore(name, dataset, ipc, scale, fields)


def from_table3(scale: str, out: pathlib.Path | None = None) -> list[dict[str, Any]]:
    """The column that Table 3 has: its cells as entries of this table."""
    results, entries = cells.load(scale, out), []
    for dataset, ipcs in cells.IPCS.items():
        for ipc in ipcs:
            for name in ROWS:
                if result := cells.get(results, name, dataset, ipc):
                    entries.append({"row": name, "dataset": dataset, "ipc": ipc} | cells.score(result))
    return entries


def markdown(entries: list[dict[str, Any]], dataset: str, ipc: int) -> str:
    """The measured rows, from entries of both kinds; the paper's numbers stand beside ours where it has them."""
    entries = [one for one in entries if (one["dataset"], one["ipc"]) == (dataset, ipc)]
    compared = (dataset, ipc) == ("cifar10", 10)
    head = ["row"]
    for name, norm in NORMS.items():
        head += [f"{name}, norm {norm}"] + ["paper"] * compared
    sizes = {one["architecture"]: f"{one['parameters']:,}, width {one['width']}" for one in entries}
    rows = [["parameters", *(cell for name in NORMS for cell in [sizes.get(name)] + [None] * compared)]]
    for name in ROWS:
        line = [cells.METHODS[name].title]
        for column, architecture in enumerate(NORMS):
            line.append(records.accuracy(records.find(entries, row=name, architecture=architecture)) or None)
            line += [PAPER[name][column] if name in PAPER else None] * compared
        rows += [line] if records.find(entries, row=name) else []
    measured = len({(one["row"], one["architecture"]) for one in entries})
    where = f"{cells.NAMES[dataset]}, IPC {ipc}: "
    lines = [records.table(head, rows), "", where + cells.count(measured, len(ROWS) * len(NORMS))]
    if compared and (notes := _describe_differences(entries)):
        lines += ["", f"Differences of more than {NOTABLE} points from the paper:", "", *notes]
    return "\n".join(lines)


def _describe_differences(entries: list[dict[str, Any]]) -> list[str]:
    """A line for each cell of another architecture that is far from the paper's; Table 3 has those of the ConvNet."""
    lines = []
    for name, theirs in PAPER.items():
        ours = [records.find(entries, row=name, architecture=one) for one in NORMS]
        off = [one["mean"] - value if one else 0.0 for one, value in zip(ours, theirs, strict=True)]
        known = cells.cell_name(name, "cifar10", 10) in (records.load("notes") or {}).get("paper", {})
        for architecture, difference in list(zip(NORMS, off, strict=True))[1:]:
            explained = known and off[0] * difference > 0
            reason = "as its ConvNet, and for its reason (Table 3)" if explained else "not explained"
            if abs(difference) > NOTABLE:
                lines.append(f"- {cells.METHODS[name].title}, {architecture}, {difference:+.1f}: {reason}")
    return lines


def render(scale: str) -> str:
    """All tables of a scale: one for each IPC at which other architectures have been tried."""
    scored = records.load(f"table4_{scale}")
    pairs = sorted({(one["dataset"], one["ipc"]) for one in scored})
    return "\n\n".join(markdown([*from_table3(scale), *scored], *pair) for pair in pairs)


def main() -> None:
    """Score what is not scored yet, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m experiments.paper.table4")
    cells.add_arguments(parser)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=ROWS)
    parser.add_argument("--architectures", nargs="*", default=list(ARCHITECTURES), choices=ARCHITECTURES)
    parser.add_argument("--dataset", default="cifar10", choices=list(cells.IPCS))
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--networks", type=int, help="trained on each set; default: as many as the cell's own, 3")
    arguments = parser.parse_args()
    scale, ipc, (root, out) = arguments.scale, arguments.ipc, cells.choose_places(arguments, "table4")
    dataset = "digits" if scale == "smoke" else arguments.dataset
    entries = records.read(out)
    with sweep.one_line_errors(parser.prog):
        for name in arguments.rows:
            for architecture in arguments.architectures:
                wanted = {"row": name, "dataset": dataset, "ipc": ipc, "architecture": architecture}
                if not records.find(entries, **wanted):
                    row = build_row(name, dataset, ipc, scale, architecture, arguments.networks)
                    entries.append(wanted | _score(row, root / scale, arguments.data_dir))
                    workdir.write(out, entries)
    own = from_table3(scale) if out.resolve().parent == records.FOLDER else []
    cells.show(markdown([*own, *entries], dataset, ipc), out)


def _score(row: sweep.Row, root: pathlib.Path, data_dir: str | None) -> dict[str, Any]:
    result = sweep.run(row, root, data_dir)
    scored = cells.score(result)
    facts = {"command": sweep.command(row), "device": result["device"], "versions": result["versions"]}
    return {key: scored[key] for key in _KEPT} | facts


if __name__ == "__main__":
    main()
