"""Seconds of an iteration of every method of Table 2, at the size that it has there, beside the floor of its FLOPs.

    python -m experiments.benchmarks.iterations --rows frepo dm dc dsa idc --dataset cifar10 --ipc 1 --data_dir DATA

Real images, each method's own figures, a few steps. Seconds are those between two steps, medians of steps after the
first two, which compile. On CPU they are seconds of the process, summed over cores and divided by their number: what a
step takes that has the machine to itself and keeps all cores busy, whatever else runs. Wall seconds, and the load they
were taken at, stand beside them. The floor is the counted FLOPs over the rate of the machine's own convolutions, by the
same clock. Writes results/iterations_cpu.json, or iterations_gpu.json where there is a GPU.
"""

import argparse
import dataclasses
import itertools
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import jax

from experiments import cells, predictions, records, sweep
from experiments.benchmarks import steps
from experiments.paper import table2
from fsdd import config as configs
from fsdd.distilling import context as contexts
from fsdd.distilling import starts
from fsdd.errors import UserError
from fsdd.io import provenance, workdir

# Steps whose seconds are not those of a step: they compile, and the host is ahead of the device.
_FIRST = 2


def busy_seconds() -> float:
    """On CPU seconds of this process over the machine's cores, else wall seconds."""
    if jax.default_backend() != "cpu":
        return time.perf_counter()
    return time.process_time() / len(os.sched_getaffinity(0))


class Clock:
    """Notes when steps of stages are taken.

    Attributes:
        ticks: of each stage `(steps done, busy seconds, wall seconds)`.
    """

    def __init__(self):
        """Without any."""
        self.ticks: dict[str, list[tuple[int, float, float]]] = {}

    def __call__(self, stage: str, step: int) -> None:
        """So many steps of a stage have been taken."""
        self.ticks.setdefault(stage, []).append((step, busy_seconds(), time.perf_counter()))

    def medians(self, stage: str) -> dict[str, float]:
        """Seconds of a step, busy ones and wall ones."""
        ticks = self.ticks[stage][_FIRST:]
        if len(ticks) < 2:
            raise UserError(f"--steps: {stage} took {len(self.ticks[stage])} dispatches; allowed: {_FIRST + 2} or more")
        each = [[(after - before) / (later[0] - one[0]) for before, after in zip(one[1:], later[1:], strict=True)]
                for one, later in itertools.pairwise(ticks)]  # fmt: skip
        busy, wall = (statistics.median(column) for column in zip(*each, strict=True))
        return {"seconds": busy, "wall_seconds": wall, "samples": len(each)}


def shortened(row: sweep.Row, taken: int) -> sweep.Row:
    """A row whose stages take so many steps, and that scores nothing."""
    fields = row.fields | {"evaluate.networks": 0, "evaluate.stages": (), "compute.checkpoint_seconds": 1e6}
    for stage in configs.methods()[row.fields["method"]]:
        names = configs.stages()[stage].fields
        # One of MTT's experts serves the iterations that are timed.
        short = {"count": 1} if stage == "experts" else {"networks": taken, "uses": 1, "group": 1}
        short = {"steps": taken} if "steps" in names else short
        fields |= {f"{stage}.{name}": value for name, value in short.items()}
    return dataclasses.replace(row, fields=fields)


def step_flops(row: sweep.Row, stage: str) -> float:
    """FLOPs of one more step of a stage: without what comes before the first, such as real features."""
    counted = []
    for steps_taken in (1, 2):
        config = configs.resolve(sweep.build_config(shortened(row, steps_taken)))
        counted.append(predictions.stage_flops(config, predictions.SIZES[config.dataset], stage))
    return counted[1] - counted[0]


def measure(name: str, dataset: str, ipc: int, taken: int, rate: float, data_dir: str | None) -> dict[str, Any]:
    """A row of the result, of a cell of Table 2 at the paper's scale."""
    scale = "smoke" if dataset == "digits" else "paper"
    row = shortened(cells.build_row(name, dataset, ipc, scale), taken)
    config, clock = configs.resolve(sweep.build_config(row, data_dir)), Clock()
    with tempfile.TemporaryDirectory() as folder:
        context = dataclasses.replace(contexts.prepare(config, pathlib.Path(folder)), watch=clock)
        sets = {ipc: starts.choose_start(context, ipc)}
        for stage in config.stages:
            sets = configs.stages()[stage].run(context, sets)
    found = {}
    for stage in table2.ITERATIONS[name]:
        flops = step_flops(cells.build_row(name, dataset, ipc, scale), stage)
        found[stage] = clock.medians(stage) | {"flops": flops, "floor": flops / rate}
    facts = {"row": name, "dataset": dataset, "ipc": ipc, "stages": found}
    return facts | {"convolution_flops": rate, "load": round(os.getloadavg()[0], 1)} | provenance.summary()


def markdown(entries: Sequence[dict[str, Any]]) -> str:
    """Seconds of an iteration, busy and wall, beside the floor."""
    head = ["dataset", "IPC", "row", "stage", "seconds", "floor", "over the floor", "wall seconds", "load"]
    rows = []
    for one in entries:
        where = [cells.NAMES[one["dataset"]], one["ipc"], cells.METHODS[one["row"]].title]
        for stage, found in one["stages"].items():
            times = [found["seconds"], found["floor"], found["seconds"] / found["floor"], found["wall_seconds"]]
            rows.append([*where, stage, *(f"{value:.3g}" for value in times), one["load"]])
    return records.table(head, rows)


def main() -> None:
    """Measure, and show the table."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.iterations")
    allowed = cells.are_there(table2.TIMED)
    parser.add_argument("--rows", nargs="*", default=list(allowed), choices=allowed)
    parser.add_argument("--dataset", default="cifar10", choices=list(cells.IPCS))
    parser.add_argument("--ipc", nargs="*", type=int, default=[1])
    parser.add_argument("--steps", type=int, default=6, help="that each takes, in 4 dispatches or more")
    parser.add_argument("--data_dir", default=None, help="where TFDS keeps prepared sets")
    parser.add_argument("--out", type=pathlib.Path, help="the JSON of results")
    arguments = parser.parse_args()
    device = "cpu" if jax.default_backend() == "cpu" else "gpu"
    out = arguments.out or records.FOLDER / f"iterations_{device}.json"
    rate = steps.convolution_rate(busy_seconds)
    entries = {(one["dataset"], one["ipc"], one["row"]): one for one in records.read(out)}
    with sweep.one_line_errors(parser.prog):
        for ipc in arguments.ipc:
            for name in arguments.rows:
                entry = measure(name, arguments.dataset, ipc, arguments.steps, rate, arguments.data_dir)
                entries[arguments.dataset, ipc, name] = entry
                print(markdown([entry]).splitlines()[-1], flush=True)
                workdir.write(out, [entries[key] for key in sorted(entries)])
    cells.show(markdown(list(entries.values())), out)


if __name__ == "__main__":
    main()
