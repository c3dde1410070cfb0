"""Spend a budget of minutes on what is not measured yet, best first.

    python -m experiments.queue --minutes 12 --data_dir ~/tensorflow_datasets
    python -m experiments.queue --dry-run --device h100
    python -m experiments.queue --merge FOLDER

`experiments/queue.json` says what is in the queue, in which order, and why (`experiments/jobs.py`, how). Jobs run side
by side where they fit. None is started that would not be done in time, by what is predicted; what is stopped goes on
from its checkpoints the next time, in the same `--root`. Results are merged into `--out` as they come, and the pages
rendered; `--merge` puts those that another machine brought back, in a folder, into the repository's.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import jax

from experiments import jobs, pages, records, sweep
from experiments.jobs import Job, Place
from experiments.predictions import DEVICES, Device
from fsdd.io import progress, workdir

# Seconds that a job has to write a checkpoint once it is told to stop.
_GRACE = 10
_POLL = 0.2
# Without Triton's matrix products programs compile in a third of the time on an H200, and run as fast but for 10 % at
# ten images (`results/engine_gpu.json`); jobs of minutes compile a dozen. What is timed is timed without this flag.
_QUICK_TO_COMPILE = "--xla_gpu_enable_triton_gemm=false"


@dataclasses.dataclass(frozen=True)
class Running:
    """A job's process, when it began, and its log."""

    job: Job
    process: subprocess.Popen
    began: float
    log: pathlib.Path


def choose(waiting: Sequence[Job], running: Sequence[Job], seconds: float, device: Device) -> Job | None:
    """The first job that may start now: beside the others it fits into memory, and into the seconds that are left.

    One that times programs has the device to itself: it waits until nothing runs, and what comes after it waits for it.
    """
    if len(running) >= device.side_by_side or any(job.timed for job in running):
        return None
    unfinished = {job.name for job in (*waiting, *running)}
    free = device.bytes - sum(job.prediction.bytes for job in running)
    for job in waiting:
        if job.timed and running and job.prediction.seconds() <= seconds:
            return None
        fits = job.prediction.bytes <= free or not running
        if fits and job.after not in unfinished and job.prediction.seconds(len(running) + 1) <= seconds:
            return job
    return None


def run(waiting: Sequence[Job], minutes: float, device: Device, place: Place) -> dict[str, str]:
    """Run jobs until none is left that fits into the time; what each came to, by its name."""
    deadline, waiting = time.monotonic() + 60 * minutes, list(waiting)
    running: list[Running] = []
    outcomes = {job.name: "not started" for job in waiting}
    with _stopping(running):
        while True:
            left = deadline - time.monotonic()
            while left > 0 and (job := choose(waiting, [one.job for one in running], left, device)):
                waiting.remove(job)
                running.append(_start(job, place))
                predicted = progress.duration(job.prediction.seconds(len(running)))
                print(f"{job.name}: started, about {predicted}; {progress.duration(left)} left", flush=True)
            if not running or left <= 0:
                break
            time.sleep(_POLL)
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                outcomes[one.job.name] = _finish(one, place)
                print(f"{one.job.name}: {outcomes[one.job.name]}", flush=True)
        outcomes |= {one.job.name: f"stopped after {_taken(one)}; goes on from there" for one in running}
    return outcomes


def _start(job: Job, place: Place) -> Running:
    job.result.parent.mkdir(parents=True, exist_ok=True)
    log = place.root / "logs" / f"{job.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        process = subprocess.Popen(
            [sys.executable, *job.arguments],
            stdout=file,
            stderr=file,
            env=build_environment(job, find_device()),
            start_new_session=True,
        )
    return Running(job, process, time.monotonic(), log)


def build_environment(job: Job, device: str) -> dict[str, str]:
    """Environment variables of a job's process: this one's, and what suits a device that several share."""
    quick = {} if job.timed or device == "cpu" else {"XLA_FLAGS": _QUICK_TO_COMPILE}
    # Without it the first process on a GPU takes most of the memory.
    return quick | os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "PYTHONUNBUFFERED": "1"}


def _finish(one: Running, place: Place) -> str:
    """Merge what a process left; what it came to."""
    if one.process.returncode or not one.job.result.exists():
        lines = one.log.read_text(errors="replace").strip().splitlines()
        return f"failed after {_taken(one)}: {lines[-1] if lines else 'no output'} ({one.log})"
    if one.job.keep:
        for name in one.job.keep:
            shutil.copytree(one.job.result.parent / name, place.out / one.job.name / name, dirs_exist_ok=True)
    else:
        merge(one.job.result, place.out / one.job.result.name)
    return f"done in {_taken(one)}"


def _taken(one: Running) -> str:
    return progress.duration(time.monotonic() - one.began)


def merge(part: pathlib.Path, into: pathlib.Path) -> None:
    """Put the entries of a result file into another, in the place of those of the same rows; or all of it."""
    new, old = json.loads(part.read_text()), records.read(into)
    if isinstance(new, list):
        entries = {entry["row"]: entry for entry in (*old, *new)}
        new = [entries[name] for name in sorted(entries)]
    into.parent.mkdir(parents=True, exist_ok=True)
    workdir.write(into, new)


@contextlib.contextmanager
def _stopping(running: list[Running]) -> Iterator[None]:
    """Whatever ends the queue, it ends its processes, which write a checkpoint first if they can."""
    try:
        yield
    finally:
        for one in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.process.pid, signal.SIGTERM)
        for one in running:
            try:
                one.process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(one.process.pid, signal.SIGKILL)
                one.process.wait()


def describe(waiting: Sequence[Job], outcomes: dict[str, str] | None = None) -> str:
    """A table of jobs: what each needs, or what it came to, and the sum of it; before they run, also why each is in."""
    head, rows = ["job", "minutes alone", "GB"], []
    for job in waiting:
        rows.append([job.name, f"{job.prediction.seconds() / 60:.1f}", f"{job.prediction.bytes / 1e9:.0f}"])
    total = sum(job.prediction.seconds() for job in waiting) / 60
    reasons = [f"- {why}" for why in dict.fromkeys(job.why for job in waiting)]
    if outcomes:
        head, rows, reasons = [*head, "outcome"], [[*row, outcomes[row[0]]] for row in rows], []
    return "\n".join(
        [records.table(head, rows), "", f"{len(rows)} jobs, {total:.0f} minutes alone", "", *reasons]
    ).strip()


def find_device() -> str:
    """The name in `DEVICES` of what this machine computes on."""
    if shutil.which("nvidia-smi"):
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout.lower()
        for name in DEVICES:
            if name in listed:
                return name
    return "cpu"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.queue")
    parser.add_argument("--minutes", type=float, default=12.0, help="of this machine, for all of it")
    parser.add_argument("--device", choices=list(DEVICES), help="whose rates to plan with; default: what is found here")
    parser.add_argument("--file", type=pathlib.Path, default=jobs.FILE, help="the queue")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs/queue"), help="for workdirs and logs")
    parser.add_argument("--out", type=pathlib.Path, default=records.FOLDER, help="the folder of result files")
    parser.add_argument("--data_dir", default=None, help="where TFDS keeps prepared sets")
    parser.add_argument("--dry-run", action="store_true", help="print the plan; run nothing")
    parser.add_argument(
        "--merge", type=pathlib.Path, help="a folder of result files: merge them into --out, run nothing"
    )
    return parser.parse_args(arguments)


def main(arguments: argparse.Namespace) -> int:
    """Plan, run or merge; the exit code, 1 where a job failed."""
    place = Place(arguments.root, arguments.out, arguments.data_dir)
    if arguments.merge:
        for part in sorted(arguments.merge.glob("*.json")):
            merge(part, place.out / part.name)
            print(f"{part} -> {place.out / part.name}")
        _render(place)
        return 0
    name = arguments.device or find_device()
    waiting = jobs.read(arguments.file, name, place)
    if arguments.dry_run:
        print(f"on {name}:\n\n{describe(waiting)}")
        return 0
    outcomes = run(waiting, arguments.minutes, DEVICES[name], place)
    print(f"\n{describe(waiting, outcomes)}")
    _render(place)
    return int(any(outcome.startswith("failed") for outcome in outcomes.values()))


def _render(place: Place) -> None:
    if place.out.resolve() == records.FOLDER:
        pages.update()


if __name__ == "__main__":
    # Work is counted here; an accelerator's memory is for the jobs.
    jax.config.update("jax_platforms", "cpu")
    with sweep.one_line_errors("python -m experiments.queue"):
        sys.exit(main(parse_arguments()))
