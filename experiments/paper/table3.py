"""Table 3: every row of the ablation beside the paper's numbers, and rows that any reader would miss.

    python -m experiments.paper.table3 --dataset cifar10 --ipc 1 --data_dir ~/tensorflow_datasets

`--rows`, `--dataset` and `--ipc` choose cells, `--scale` how much is spent on each; what is done is skipped, and
`--render` shows what there is. Results are results/cells_SCALE.json; the table is printed and stands in
results/README.md, with a picture beside it.
"""

import pathlib
from typing import Any

from experiments import cells, charts, records, sweep

ROWS = (
    "random", "herding", "baseline", "frepo", "one_net", "bilevel", "bilevel_inner", "without_pretraining",
    "with_autoencoder", "without_adaptation", "with_adaptation", "refine", "refine_without_adaptation",
    "refine_with_adaptation", "ds_one_net", "ds_without_pretraining", "ds_with_adaptation", "ds_refine",
    "ds_refine_with_adaptation",
)  # fmt: skip
# The paper's accuracies, in the order of cells.COLUMNS; FRePo and DS from its Table 2.
PAPER = {
    "baseline": (41.2, 57.9, 65.2, 21.6, 33.8),
    "frepo": (46.8, 65.5, 71.7, 28.7, 42.5),
    "one_net": (35.3, 50.5, 65.1, 18.7, 31.7),
    "bilevel": (40.8, 52.1, 60.7, 19.1, 31.0),
    # The paper does not say which of the two sets its row scores.
    "bilevel_inner": (40.8, 52.1, 60.7, 19.1, 31.0),
    "without_pretraining": (36.1, 53.8, 59.7, 20.5, 30.7),
    "with_autoencoder": (40.6, 57.6, 63.5, 21.8, 27.0),
    "without_adaptation": (39.5, 54.7, 65.8, 20.9, 33.0),
    "with_adaptation": (44.0, 59.2, 66.7, 22.8, 35.1),
    "ds_with_adaptation": (51.4, 66.0, 71.8, None, 38.4),
}
# Differences above this many points get a note of results/notes.json, or are called not explained.
NOTABLE = 1.5
_HEADLINE = {
    "random": "no distillation",
    "refine": "distilled in one network, then moved over {cells_cpu/cifar10_ipc1_refine/stages/refine/networks}",
    "ds_with_adaptation": "a pre-trained translator, adapted, on four images of half the side in the place of one",
    "frepo": "the paper's baseline, {cells_cpu/cifar10_ipc1_frepo/stages/frepo/steps} of its 500,000 steps",
}


def paper(name: str, column: int) -> float | None:
    """The paper's accuracy, if it has one."""
    return PAPER[name][column] if name in PAPER else None


def markdown(scale: str, results: dict[str, dict[str, Any]]) -> str:
    """The measured rows and columns, the count of what is missing, and a line on each notable difference."""
    columns = cells.columns(scale)
    shown = [pair for pair in columns if any(cells.get(results, name, *pair) for name in ROWS)]
    head = ["row", *(title for dataset, ipc in shown for title in (f"{cells.NAMES[dataset]}, IPC {ipc}", "paper"))]
    rows, measured, notes = [], 0, []
    for name in ROWS:
        line, found = [cells.METHODS[name].title], False
        for column, pair in enumerate(columns):
            result, theirs = cells.get(results, name, *pair), None if scale == "smoke" else paper(name, column)
            measured, found = measured + bool(result), found or bool(result)
            if pair in shown:
                line += [_entry(result), None if theirs is None else f"{theirs:.1f}"]
            if result and theirs is not None and abs(cells.score(result)["mean"] - theirs) > NOTABLE:
                notes.append(_describe(scale, name, pair, result, theirs))
        rows += [line] if found else []
    lines = [records.table(head, rows), "", cells.count(measured, len(ROWS) * len(columns))]
    if notes:
        lines += ["", f"Differences of more than {NOTABLE} points from the paper:", "", *notes]
    return "\n".join(lines)


def _describe(scale: str, name: str, pair: tuple[str, int], result: dict[str, Any], theirs: float) -> str:
    difference, (dataset, ipc) = cells.score(result)["mean"] - theirs, pair
    where = f"{cells.METHODS[name].title}, {cells.NAMES[dataset]}, IPC {ipc}"
    return f"- {where}, {difference:+.1f}: {records.note(scale, result['row'])}"


def _entry(result: dict[str, Any] | None) -> str | None:
    if result is None:
        return None
    score = cells.score(result)
    return f"{records.accuracy(score)} ({sweep.seconds(result, score):.0f} s)"


def headline() -> str:
    """The rows that the first page shows: CIFAR-10 at one image per class."""
    results, rows = cells.load("cpu"), []
    for name, what in _HEADLINE.items():
        if result := cells.get(results, name, "cifar10", 1):
            score = cells.score(result)
            minutes = f"{sweep.seconds(result, score) / 60:.0f}"
            rows.append(
                [f"{cells.METHODS[name].title}: {records.fill(what)}", records.accuracy(score), paper(name, 0), minutes]
            )
    return records.table(["set", "accuracy (%)", "paper", "minutes of distilling on 2 cores"], rows)


def draw(scale: str, results: dict[str, dict[str, Any]], folder: pathlib.Path) -> list[pathlib.Path]:
    """Accuracy against seconds, a picture for each dataset and IPC; real images, which take no time, are left out."""
    drawn = []
    for dataset, ipc in cells.columns(scale):
        if series := _series(results, dataset, ipc):
            drawn.append(folder / f"table3_{scale}_{dataset}_ipc{ipc}.png")
            charts.scatter(drawn[-1], series, "seconds of distilling", "test accuracy (%)")
    return drawn


def _series(results: dict[str, dict[str, Any]], dataset: str, ipc: int) -> list[charts.Series]:
    series = []
    for name in ROWS:
        if result := cells.get(results, name, dataset, ipc):
            points = [(sweep.seconds(result, one), one["mean"]) for one in result["evaluations"]]
            if timed := sorted(point for point in points if point[0] > 0):
                method, (at, means) = cells.METHODS[name], zip(*timed, strict=True)
                series.append(charts.Series(at, means, method.family, method.title))
    return series


if __name__ == "__main__":
    cells.main("table3", ROWS, markdown, draw)
