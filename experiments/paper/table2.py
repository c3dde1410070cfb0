"""Table 2: accuracy and hours, ours and FRePo's on one machine, with down-sampled storage (DS) and without.

    python -m experiments.paper.table2 --dataset cifar10 --ipc 1 --data_dir ~/tensorflow_datasets

Hours are measured wall seconds; FRePo's are counted as the paper does, its measured seconds an iteration times its
500,000 iterations. The cells are those of Table 3.
"""

from typing import Any

from experiments import cells, records, sweep
from experiments.paper import table3

ROWS = ("frepo", "with_adaptation", "ds_with_adaptation", "refine", "ds_refine")
# FRePo's own count.
ITERATIONS = {"frepo": 500_000}
# The paper's hours, in the order of cells.COLUMNS.
HOURS = {
    "frepo": (2.4, 3.1, 8.1, 3.1, 10.4),
    "with_adaptation": (0.02, 0.04, 0.12, 0.08, 0.32),
    "ds_with_adaptation": (None, 0.2, 1.3, 0.1, 1.0),
}
_HEAD = ("dataset", "IPC", "row", "accuracy (%)", "hours", "stored numbers", "paper: accuracy", "paper: hours")
_HALF = " on 256 real images (its own 1,024 take twice as long)"


def hours(name: str, result: dict[str, Any]) -> float:
    """Of the whole recipe: as it was run, but for FRePo as many iterations as its own."""
    if name in ITERATIONS:
        stage = result["stages"][name]
        steady = stage["wall_seconds"] - stage["compile_seconds"]
        return steady / stage["steps"] * ITERATIONS[name] / 3600
    return sweep.seconds(result, cells.score(result)) / 3600


def markdown(scale: str, results: dict[str, dict[str, Any]]) -> str:
    """The measured rows, and the count of empty cells."""
    rows, columns = [], cells.columns(scale)
    for column, (dataset, ipc) in enumerate(columns):
        for name in ROWS:
            if result := cells.get(results, name, dataset, ipc):
                ours = [records.accuracy(cells.score(result)), f"{hours(name, result):.3g}", _stored(result)]
                theirs = [None, None] if scale == "smoke" else [table3.paper(name, column), _paper_hours(name, column)]
                rows.append([cells.NAMES[dataset], ipc, cells.METHODS[name].title, *ours, *theirs])
    lines = [records.table(_HEAD, rows), "", cells.count(len(rows), len(ROWS) * len(columns))]
    if any(cells.get(results, "frepo", *column) for column in columns):
        lines[-1] += (
            " FRePo's hours are those of its 500,000 iterations at the measured seconds of one"
            f"{_HALF if scale == 'cpu' else ''}; its accuracy is that of the iterations run."
        )
    return "\n".join(lines)


def _paper_hours(name: str, column: int) -> float | None:
    return HOURS[name][column] if name in HOURS else None


def _stored(result: dict[str, Any]) -> str:
    stored = result.get("stored_numbers")
    return f"{stored['images']:,} + {stored['labels']:,} of labels" if stored else ""


if __name__ == "__main__":
    cells.main("table2", ROWS, markdown)
