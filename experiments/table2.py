"""Table 2: accuracy and wall time of ours and of FRePo, on one machine, with small stored images (DS) and without.

    python -m experiments.table2 --dataset cifar10 --ipc 1 --data_dir ~/tensorflow_datasets

Hours are measured wall seconds; FRePo's are counted as the paper does, its measured seconds an iteration times its
500,000 iterations. Renders results/table2_SCALE.md from the cells that Table 3 has too.
"""

import pathlib
from typing import Any

from experiments import cells, sweep, table3
from fsdd.io.atomic import replacing

ROWS = ("frepo", "with_adaptation", "ds_with_adaptation", "refine", "ds_refine")
# FRePo's own count.
ITERATIONS = {"frepo": 500_000}
# Table 2's hours, by the order of table3.COLUMNS.
HOURS = {
    "frepo": (2.4, 3.1, 8.1, 3.1, 10.4),
    "with_adaptation": (0.02, 0.04, 0.12, 0.08, 0.32),
    "ds_with_adaptation": (None, 0.2, 1.3, 0.1, 1.0),
}


def render(scale: str, found: dict[str, dict[str, Any]], folder: pathlib.Path = sweep.RESULTS) -> None:
    """Write the table of a scale."""
    if found:
        with replacing(folder / f"table2_{scale}.md") as file:
            file.write_text(markdown(scale, found) + "\n")


def hours(name: str, result: dict[str, Any]) -> float:
    """Of the whole recipe: as it was run, but for FRePo as many iterations as its own."""
    if name in ITERATIONS:
        stage = result["stages"][name]
        steady = stage["wall_seconds"] - stage["compile_seconds"]
        return steady / stage["steps"] * ITERATIONS[name] / 3600
    return cells.seconds(result, cells.score(result)) / 3600


def markdown(scale: str, found: dict[str, dict[str, Any]]) -> str:
    """The table, and the count of empty cells."""
    columns = (("digits", 1),) if scale == "smoke" else table3.COLUMNS
    lines = ["| dataset | images a class | row | accuracy (%) | hours | stored numbers | paper: accuracy | hours |"]
    lines.append("|---" * 8 + "|")
    missing = 0
    for column, (dataset, ipc) in enumerate(columns):
        for name in ROWS:
            result = cells.of(found, name, dataset, ipc)
            missing += result is None
            ours = ["", "", ""]
            if result:
                score = cells.score(result)
                ours = [f"{score['mean']:.1f} ± {score['std']:.1f}", f"{hours(name, result):.3g}", _stored(result)]
            theirs = [table3.paper(name, column), HOURS[name][column] if name in HOURS else None]
            entries = [dataset, str(ipc), cells.METHODS[name].title, *ours]
            entries += ["" if value is None or scale == "smoke" else f"{value:g}" for value in theirs]
            lines.append("| " + " | ".join(entries) + " |")
    total = len(ROWS) * len(columns)
    lines += ["", f"{total - missing} of {total} cells measured, {missing} missing. FRePo's hours are those of its"]
    lines[-1] += " 500,000 iterations at the measured seconds of one"
    lines[-1] += ", on 256 real images (its own 1,024 take twice as long)" if scale == "cpu" else ""
    lines[-1] += "; its accuracy is that of the iterations run."
    return "\n".join(lines)


def _stored(result: dict[str, Any]) -> str:
    stored = result.get("stored_numbers")
    return f"{stored['images']:,} + {stored['labels']:,} of labels" if stored else ""


if __name__ == "__main__":
    cells.main("table2", ROWS, render)
