"""Table 4: sets distilled in ConvNets, trained on by other architectures.

    python -m experiments.table3 --dataset cifar10 --ipc 10 --data_dir ~/tensorflow_datasets
    python -m experiments.table4 --ipc 10 --data_dir ~/tensorflow_datasets

Scores the sets that Table 3's cells left in their workdirs; a cell that is not there is distilled first. VGG11 and
ResNet18 have one group a channel for a norm, as in FRePo's PyTorch code, the others none. Renders
results/table4_SCALE.md from results/table4_SCALE.json.
"""

import argparse
import json
import pathlib
import sys
from typing import Any

from experiments import cells, sweep
from experiments.sweep import Row
from fsdd.errors import UserError
from fsdd.io import workdir
from fsdd.io.atomic import replacing

ROWS = ("baseline", "one_net", "bilevel", "without_pretraining", "without_adaptation", "with_adaptation", "refine")
NORMS = {"convnet": "none", "alexnet": "none", "vgg11": "instance", "resnet18": "instance"}
# The paper's, at CIFAR-10 and 10 images a class, in the order of NORMS.
PAPER = {
    "baseline": (58.8, 57.1, 41.1, 38.1),
    "one_net": (50.5, 50.9, 34.2, 35.3),
    "bilevel": (52.1, 50.0, 37.4, 34.7),
    "without_pretraining": (53.8, 56.2, 39.3, 38.2),
    "without_adaptation": (54.7, 52.8, 35.7, 34.8),
    "with_adaptation": (59.2, 56.8, 43.0, 40.8),
}


def row(name: str, dataset: str, ipc: int, scale: str, architecture: str, networks: int | None = None) -> Row:
    """The cell of Table 3, scored by some networks of another architecture; None: as many as the cell's own."""
    cell = cells.row(name, dataset, ipc, scale)
    # None of the sets on the way: only the last.
    fields = {field: value for field, value in cell.fields.items() if field != "evaluate.stages"}
    fields |= {"evaluate.architecture": architecture, "evaluate.norm": NORMS[architecture]}
    fields |= {"evaluate.networks": networks} if networks else {}
    return Row(cell.name, cell.config, fields, cell.after)


def markdown(found: list[dict[str, Any]], dataset: str, ipc: int) -> str:
    """The table; the paper's numbers stand beside ours where it has them."""
    by_name = {
        (one["row"], one["architecture"]): one for one in found if (one["dataset"], one["ipc"]) == (dataset, ipc)
    }
    head = [f"{name}, norm {norm}" for name, norm in NORMS.items()]
    lines = ["| row | " + " | paper | ".join(head) + " | paper |", "|---" * (1 + 2 * len(NORMS)) + "|"]
    parameters = {one["architecture"]: f"{one['parameters']:,}, width {one['width']}" for one in found}
    lines.append("| parameters | " + " | ".join(f"{parameters.get(name, '')} | " for name in NORMS) + "|")
    missing = 0
    for name in ROWS:
        entries = [cells.METHODS[name].title]
        for column, architecture in enumerate(NORMS):
            one = by_name.get((name, architecture))
            missing += one is None
            theirs = PAPER[name][column] if name in PAPER and (dataset, ipc) == ("cifar10", 10) else None
            entries += [_entry(one), f"{theirs}" if theirs else ""]
        lines.append("| " + " | ".join(entries) + " |")
    total = len(ROWS) * len(NORMS)
    lines += ["", f"{dataset}, {ipc} a class: {total - missing} of {total} cells measured, {missing} missing."]
    return "\n".join(lines)


def _entry(one: dict[str, Any] | None) -> str:
    if one is None:
        return ""
    return f"{one['mean']:.1f} ± {one['std']:.1f}" if len(one["accuracies"]) > 1 else f"{one['mean']:.1f} (1 network)"


def main() -> None:
    """Run what is not done, and render."""
    parser = argparse.ArgumentParser(prog="python -m experiments.table4")
    parser.add_argument("--scale", choices=cells.SCALES, default="cpu")
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=ROWS)
    parser.add_argument("--architectures", nargs="*", default=list(NORMS), choices=list(NORMS))
    parser.add_argument("--dataset", default="cifar10", choices=list(cells.IPCS))
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--networks", type=int, help="trained on each set; default: as many as the cell's own, 3")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs"))
    parser.add_argument("--data_dir", default=None)
    parser.add_argument("--out", type=pathlib.Path, help="default results/table4_SCALE.json; the table is beside it")
    arguments = parser.parse_args()
    scale, dataset, ipc = arguments.scale, "digits" if arguments.scale == "smoke" else arguments.dataset, arguments.ipc
    out = arguments.out or sweep.RESULTS / f"table4_{scale}.json"
    found = json.loads(out.read_text()) if out.exists() else []
    try:
        for name in arguments.rows:
            for architecture in arguments.architectures:
                wanted = {"row": name, "dataset": dataset, "ipc": ipc, "architecture": architecture}
                if any(wanted.items() <= one.items() for one in found):
                    continue
                cell = row(name, dataset, ipc, scale, architecture, arguments.networks)
                result = sweep.run(cell, arguments.root / scale, arguments.data_dir)
                scored = cells.score(result)
                keep = ("mean", "std", "accuracies", "width", "norm", "parameters", "steps", "wall_seconds")
                found.append(wanted | {key: scored[key] for key in keep})
                found[-1] |= {
                    "command": sweep.command(cell),
                    "device": result["device"],
                    "versions": result["versions"],
                }
                workdir.write(out, found)
    except UserError as error:
        sys.exit(f"{parser.prog}: {error}")
    with replacing(out.with_suffix(".md")) as file:
        file.write_text(markdown(found, dataset, ipc) + "\n")


if __name__ == "__main__":
    main()
