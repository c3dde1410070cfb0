"""Table 2: accuracy and hours of all methods on one machine, with down-sampled storage (DS) and without.

    python -m experiments.paper.table2 --dataset cifar10 --ipc 1 --data_dir ~/tensorflow_datasets
    python -m experiments.benchmarks.iterations --dataset cifar10 --ipc 1 --data_dir ~/tensorflow_datasets

The first measures accuracies, of each set twice: as the method's own code scores it, and as FRePo's PyTorch code does.
The second measures the seconds of an iteration, a few of which tell. Hours are counted as the paper does, seconds times
the iterations of the official code; those of our own rows are the wall seconds of the run that is scored. Beside them
stand the published accuracies and the paper's hours. Cells are those of Table 3.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import cells, charts, records, sweep
from experiments.paper import table3
from fsdd.io import workdir

ROWS = (
    "dd", "rtp", "dc", "dsa", "idc", "mtt", "dm", "frepo", "with_adaptation", "ds_with_adaptation", "refine",
    "ds_refine",
)  # fmt: skip
# Iterations of the official codes, of each stage; IDC's are its inner steps. MTT's leave its experts out.
ITERATIONS = {
    "dd": {"dd": 19_600},
    "rtp": {"rtp": 500_000},
    "dc": {"dc": 1_000},
    "dsa": {"dsa": 1_000},
    "idc": {"idc": 200_000},
    "mtt": {"mtt": 5_000},
    "dm": {"dm": 20_000},
    "frepo": {"frepo": 500_000},
    # Of the paper, Table 1.
    "with_adaptation": {"distill": 3_000, "translate": 1_000},
}
TIMED = tuple(ITERATIONS)
# The paper's Table 2, in the order of cells.COLUMNS: accuracies, where Table 3 has none, and hours.
ACCURACIES = {
    "dd": (40.5, 50.0, None, None, None),
    "rtp": (49.1, 62.4, 70.5, 21.3, 34.7),
    "dc": (28.3, 44.9, 53.9, 12.8, 25.2),
    "dsa": (28.8, 52.1, 60.6, 13.9, 32.3),
    "idc": (36.7, 58.3, 69.5, 17.9, 36.1),
    "mtt": (46.3, 65.3, 71.6, 24.3, 40.1),
    "dm": (26.0, 48.9, 63.0, 11.4, 29.7),
}
HOURS = {
    "dd": (363.9, 447.2, None, None, None),
    "rtp": (363.9, 447.2, 1377.8, 447.2, 2520.8),
    "dc": (0.1, 1.0, 4.4, 0.4, 10.6),
    "dsa": (0.1, 1.3, 5.3, 0.5, 11.4),
    "idc": (10.6, 11.1, 12.8, 50.0, 68.9),
    "mtt": (0.8, 2.4, 3.8, 3.5, 4.2),
    "dm": (0.3, 0.3, 0.4, 3.1, 3.1),
    "frepo": (2.4, 3.1, 8.1, 3.1, 10.4),
    "with_adaptation": (0.02, 0.04, 0.12, 0.08, 0.32),
    "ds_with_adaptation": (None, 0.2, 1.3, 0.1, 1.0),
}
_HEAD = (
    "dataset", "IPC", "row", "accuracy (%)", "by FRePo's protocol", "published", "s an iteration", "floor",
    "iterations", "hours", "paper: hours",
)  # fmt: skip
# By which all sets are compared, and the key under which cells have what it gives.
_PROTOCOL, _COMPARED = "frepo_torch", "by_frepos_protocol"


def published(name: str, column: int) -> float | None:
    """The accuracy in the paper's Table 2, if it has one."""
    return ACCURACIES[name][column] if name in ACCURACIES else table3.paper(name, column)


def hours(name: str, result: dict[str, Any] | None, timed: dict[str, Any] | None) -> float | None:
    """Of a whole recipe.

    Args:
        name: of the row.
        result: of its cell, if that was run.
        timed: seconds of an iteration at the size of Table 2, if they were measured.

    Returns:
        Of rivals, and of rows that were not run, iterations of the official code times seconds; of others, the run's
        own. None where neither was measured.
    """
    if result and cells.METHODS[name].family != charts.RIVALS:
        return sweep.seconds(result, cells.score(result)) / 3600
    if name not in ITERATIONS or not (timed or result):
        return None
    return sum(count * _seconds(stage, result, timed) for stage, count in ITERATIONS[name].items()) / 3600


def _seconds(stage: str, result: dict[str, Any] | None, timed: dict[str, Any] | None) -> float:
    """Of an iteration, at the size of Table 2 or, where that was not timed, as it was run."""
    if timed:
        return timed["stages"][stage]["seconds"]
    run = result["stages"][stage]
    return (run["wall_seconds"] - run["compile_seconds"]) / run["steps"]


def complete(
    scale: str, wanted: Sequence[tuple[str, str, int]], out: pathlib.Path, root: pathlib.Path, data_dir: str | None
) -> None:
    """Score the sets of cells by the protocol that compares all, too; what is done is not scored again."""
    entries = records.read(out)
    for name, dataset, ipc in wanted:
        entry = records.find(entries, row=cells.cell_name(name, dataset, ipc))
        if _COMPARED not in entry:
            again = cells.rescore(name, dataset, ipc, scale, {"evaluate.protocol": _PROTOCOL})
            entry[_COMPARED] = cells.score(sweep.run(again, root, data_dir))
            workdir.write(out, entries)


def load_timed(scale: str) -> list[dict[str, Any]]:
    """What `experiments.benchmarks.iterations` has measured on the kind of machine that a scale is for."""
    files = {"cpu": "iterations_cpu", "paper": "iterations_gpu"}
    return records.load(files[scale]) if scale in files else []


def markdown(scale: str, results: Mapping[str, dict[str, Any]], timings: Sequence[dict[str, Any]] | None = None) -> str:
    """The rows of which something was measured, and the count of empty cells; `timings` are those of `load_timed`."""
    timings = load_timed(scale) if timings is None else timings
    rows, columns, counts = [], cells.columns(scale), [0, 0, 0]
    for column, (dataset, ipc) in enumerate(columns):
        for name in ROWS:
            result = cells.get(results, name, dataset, ipc)
            timed = records.find(timings, row=name, dataset=dataset, ipc=ipc)
            compared = (result or {}).get(_COMPARED)
            counts = [count + bool(part) for count, part in zip(counts, (result, compared, timed), strict=True)]
            if result or timed:
                theirs = (None, None) if scale == "smoke" else (published(name, column), _paper_hours(name, column))
                rows.append([cells.NAMES[dataset], ipc, *_line(name, result, compared, timed, *theirs)])
    kinds = {"Accuracy": ROWS, "By FRePo's protocol": ROWS, "Seconds": TIMED}
    missing = [
        f"{what}: {cells.count(measured, len(names) * len(columns))}"
        for (what, names), measured in zip(kinds.items(), counts, strict=True)
    ]
    return "\n".join([records.table(_HEAD, rows), "", " ".join(missing), *_describe(scale, results, timings)])


def _line(
    name: str,
    result: dict[str, Any] | None,
    compared: dict[str, Any] | None,
    timed: dict[str, Any] | None,
    accuracy: float | None,
    paper_hours: float | None,
) -> list[Any]:
    """A row of the table after its dataset and IPC."""
    stages, taken = ITERATIONS.get(name, {}), hours(name, result, timed)
    return [
        cells.METHODS[name].title,
        records.accuracy(cells.score(result) if result else None),
        records.accuracy(compared),
        accuracy,
        *(" + ".join(f"{timed['stages'][stage][part]:.3g}" for stage in stages) if timed else None
          for part in ("seconds", "floor")),
        " + ".join(f"{count:,}" for count in stages.values()),
        None if taken is None else f"{taken:,.0f}" if taken >= 100 else f"{taken:.3g}",
        paper_hours,
    ]  # fmt: skip


def _describe(scale: str, results: Mapping[str, Any], timings: Sequence[dict[str, Any]]) -> list[str]:
    """What there is to know of the hours shown."""
    lines = []
    for device in sorted({one["device"] for one in timings}):
        loads = [one["load"] for one in timings if one["device"] == device]
        rates = [one["convolution_flops"] / 1e9 for one in timings if one["device"] == device]
        kind = "Seconds" if scale != "cpu" else "Seconds of the process over the cores"
        lines.append(
            f"{kind} on {device}, at a load of {_range(loads, '.1f')}; the floor is the counted FLOPs over "
            f"{_range(rates, '.0f')} GFLOP/s, its own."
        )
    run = [cell for cell in cells.columns(scale) if cells.get(results, "frepo", *cell)]
    untimed = [cell for cell in run if not records.find(timings, row="frepo", dataset=cell[0], ipc=cell[1])]
    if scale == "cpu" and untimed:
        lines.append(
            "FRePo's hours are those of its iterations at the measured seconds of one on 256 real images (its own "
            "1,024 take twice as long)."
        )
    if run:
        lines.append("FRePo's accuracy is that of the iterations run.")
    return ["", *lines] if lines else []


def _range(values: Sequence[float], form: str) -> str:
    ends = dict.fromkeys(format(end, form) for end in (min(values), max(values)))
    return " to ".join(ends)


def _paper_hours(name: str, column: int) -> float | None:
    return HOURS[name][column] if name in HOURS else None


def draw(
    scale: str,
    results: Mapping[str, dict[str, Any]],
    folder: pathlib.Path,
    timings: Sequence[dict[str, Any]] | None = None,
) -> list[pathlib.Path]:
    """Accuracy against hours, a picture for each dataset and IPC; `timings` are those of `load_timed`.

    A measured accuracy stands at the hours of its run. Published ones of rivals, which are called so, stand at those
    of the official iterations on this machine.
    """
    timings, drawn = load_timed(scale) if timings is None else timings, []
    for column, (dataset, ipc) in enumerate(cells.columns(scale)):
        points = []
        for name in ROWS:
            result, method = cells.get(results, name, dataset, ipc), cells.METHODS[name]
            if result:
                score = cells.score(result)
                run = sweep.seconds(result, score) / 3600
                points.append(charts.Series([run], [score["mean"]], method.family, method.title))
            whole = hours(name, None, records.find(timings, row=name, dataset=dataset, ipc=ipc))
            mean = published(name, column)
            if method.family == charts.RIVALS and whole and mean:
                points.append(charts.Series([whole], [mean], method.family, f"{method.title} (published)"))
        # Two points say nothing that a table does not.
        if len(points) > 2:
            drawn.append(folder / f"table2_{scale}_{dataset}_ipc{ipc}.png")
            charts.scatter(drawn[-1], points, "hours: of the run, or of all official iterations", "test accuracy (%)")
    return drawn


if __name__ == "__main__":
    cells.main("table2", cells.are_there(ROWS), markdown, draw, complete)
