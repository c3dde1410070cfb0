"""Table 4: sets distilled in ConvNets, trained on by other architectures.

    python -m experiments.table3 --dataset cifar10 --ipc 10 --data_dir ~/tensorflow_datasets
    python -m experiments.table4 --ipc 10 --data_dir ~/tensorflow_datasets

VGG11 and ResNet18 have one group a channel for a norm, as in FRePo's PyTorch code, the others none. The column of the
ConvNet is Table 3's own. Writes the others to results/table4_SCALE.json.
"""

import pathlib
from typing import Any

from experiments import cells, rescored
from experiments.table3 import NOTABLE, REASONS

ROWS = ("baseline", "one_net", "bilevel", "without_pretraining", "without_adaptation", "with_adaptation", "refine")
NORMS = {"convnet": "none", "alexnet": "none", "vgg11": "instance", "resnet18": "instance"}
# How else than in Table 3 its sets are scored.
WAYS = {
    name: {"evaluate.architecture": name, "evaluate.norm": norm} for name, norm in NORMS.items() if name != "convnet"
}
# The paper's, at CIFAR-10 and 10 images a class, in the order of NORMS.
PAPER = {
    "baseline": (58.8, 57.1, 41.1, 38.1),
    "one_net": (50.5, 50.9, 34.2, 35.3),
    "bilevel": (52.1, 50.0, 37.4, 34.7),
    "without_pretraining": (53.8, 56.2, 39.3, 38.2),
    "without_adaptation": (54.7, 52.8, 35.7, 34.8),
    "with_adaptation": (59.2, 56.8, 43.0, 40.8),
}


def of_table3(scale: str, out: pathlib.Path | None = None) -> list[dict[str, Any]]:
    """The column that Table 3 has: its cells as entries of this table."""
    found, entries = cells.load(scale, out), []
    for dataset, ipcs in cells.IPCS.items():
        for ipc in ipcs:
            for name in ROWS:
                if result := cells.of(found, name, dataset, ipc):
                    entries.append({"row": name, "dataset": dataset, "ipc": ipc} | cells.score(result))
    return entries


def markdown(found: list[dict[str, Any]], dataset: str, ipc: int) -> str:
    """The table, from entries of both kinds; the paper's numbers stand beside ours where it has them."""
    compared = (dataset, ipc) == ("cifar10", 10)
    beside = " | paper" if compared else ""
    lines = ["| row | " + " | ".join(f"{name}, norm {norm}{beside}" for name, norm in NORMS.items()) + " |"]
    lines.append("|---" * (1 + len(NORMS) * (1 + compared)) + "|")
    sizes = {one["architecture"]: f"{one['parameters']:,}, width {one['width']}" for one in found}
    lines.append("| parameters | " + " | ".join(sizes.get(name, "") + " | " * compared for name in NORMS) + " |")
    missing = 0
    for name in ROWS:
        entries = [cells.METHODS[name].title]
        for column, architecture in enumerate(NORMS):
            one = rescored.of(found, row=name, dataset=dataset, ipc=ipc, architecture=architecture)
            missing += one is None
            entries.append(rescored.entry(one))
            if compared:
                entries.append(f"{PAPER[name][column]}" if name in PAPER else "")
        lines.append("| " + " | ".join(entries) + " |")
    total = len(ROWS) * len(NORMS)
    lines += ["", f"{dataset}, {ipc} a class: {total - missing} of {total} cells measured, {missing} missing."]
    if compared and (notes := _differences(found)):
        lines += ["", f"Differences of more than {NOTABLE} points from the paper:", "", *notes]
    return "\n".join(lines)


def _differences(found: list[dict[str, Any]]) -> list[str]:
    """A line for each cell of another architecture that is far from the paper's; Table 3 has those of the ConvNet."""
    lines = []
    for name, theirs in PAPER.items():
        ones = [rescored.of(found, row=name, dataset="cifar10", ipc=10, architecture=one) for one in NORMS]
        off = [one["mean"] - value if one else 0.0 for one, value in zip(ones, theirs, strict=True)]
        for architecture, difference in list(zip(NORMS, off, strict=True))[1:]:
            explained = ("paper", f"cifar10_ipc10_{name}") in REASONS and off[0] * difference > 0
            reason = "as its ConvNet, and for its reason (Table 3)" if explained else "not explained"
            if abs(difference) > NOTABLE:
                lines.append(f"- {cells.METHODS[name].title}, {architecture}, {difference:+.1f}: {reason}")
    return lines


if __name__ == "__main__":
    rescored.main("table4", ROWS, "architecture", WAYS, markdown, of_table3)
