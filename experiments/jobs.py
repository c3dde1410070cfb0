"""The jobs of `experiments/queue.json`: what is not measured yet, in the order of its worth.

An entry of the file says why, and is one of

    cells      cells of Table 3: `scale`, `dataset`, `ipc`, `rows`, the first two one name, the others lists; `table`
               names another module of `experiments.paper` that runs them
    runs       runs by name: `config`, `fields` that differ, and `keep`, what of the workdir comes back
    commands   modules with their arguments by name, in which {out}, {root} and {data_dir} are filled in; `seconds` each

and may name the `devices` that it is for, keys of `predictions.DEVICES`; a GPU's are for any of them otherwise.
"""

import dataclasses
import json
import pathlib
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from experiments import cells, predictions, records, sweep
from experiments.predictions import Prediction
from experiments.sweep import Row
from fsdd import config as configs
from fsdd.config import Resolved
from fsdd.errors import UserError

FILE = pathlib.Path(__file__).with_name("queue.json")
_KINDS = {"cells", "runs", "commands"}
_GPUS = ("h100", "h200")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where jobs find and leave what they need.

    Attributes:
        root: holds a workdir a run, logs, and results on their way.
        out: the folder of the result files.
        data_dir: where TFDS keeps prepared sets.
    """

    root: pathlib.Path
    out: pathlib.Path
    data_dir: str | None = None


@dataclasses.dataclass(frozen=True)
class Job:
    """One process.

    Attributes:
        name: unique in the queue.
        why: it is worth its time.
        arguments: of Python.
        prediction: what it needs.
        result: the file that it writes: entries for the result file of that name, or all of it.
        after: the job whose finished stages it starts from, if any.
        keep: what of its workdir comes back, if it has one.
        timed: whether its result is what programs take.
    """

    name: str
    why: str
    arguments: tuple[str, ...]
    prediction: Prediction
    result: pathlib.Path
    after: str | None = None
    keep: tuple[str, ...] = ()
    timed: bool = False


def read(path: pathlib.Path, device: str, place: Place) -> list[Job]:
    """The jobs of a queue file that a device is for and that are not done, in the file's order.

    Raises:
        UserError: the file is none, or an entry of it is not as this module says.
    """
    try:
        entries = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON: {error}") from error
    jobs = []
    for at, entry in enumerate(entries):
        try:
            if device in entry.get("devices", _GPUS):
                jobs += _list_jobs(entry, device, place)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path}: entry {at} is not as experiments/jobs.py says: {error!r}") from error
    return jobs


def _list_jobs(entry: dict[str, Any], device: str, place: Place) -> Iterator[Job]:
    (kind,) = _KINDS & set(entry)
    if kind == "cells":
        wanted = entry["cells"]
        for ipc in wanted["ipc"]:
            for name in wanted["rows"]:
                row = cells.build_row(name, wanted["dataset"], ipc, wanted["scale"])
                if not _measured(row, f"cells_{wanted['scale']}.json", place):
                    yield _cell_job(entry["why"], name, ipc, wanted, row, device, place)
    elif kind == "runs":
        for name, run in entry["runs"].items():
            if not (place.root / name / "results.json").exists() and not (place.out / name).exists():
                yield _run_job(entry["why"], name, run, device, place)
    else:
        for name, command in entry["commands"].items():
            if not any((folder / f"{name}.json").exists() for folder in (records.FOLDER, place.out)):
                yield _command_job(entry["why"], name, command, entry["seconds"], place)


def _measured(row: Row, name: str, place: Place) -> bool:
    """Whether results have a row, by the command that it has now."""
    found = [records.find(records.read(folder / name), row=row.name) for folder in (records.FOLDER, place.out)]
    return any(one and one["command"] == sweep.command(row) for one in found)


def _part(name: str, file: str, place: Place) -> pathlib.Path:
    """Where a job writes, so that jobs beside one another do not write into one file."""
    return place.root / "parts" / name / file


def _cell_job(
    why: str, name: str, ipc: int, wanted: dict[str, Any], row: Row, device: str, place: Place
) -> Job:  # fmt: skip
    scale, dataset = wanted["scale"], wanted["dataset"]
    result = _part(row.name, f"cells_{scale}.json", place)
    arguments = ("-m", f"experiments.paper.{wanted.get('table', 'table3')}", "--scale", scale)
    arguments += ("--dataset", dataset, "--ipc", str(ipc), "--rows", name)
    arguments += ("--root", str(place.root), "--out", str(result), *_data_flag("--data_dir", place))
    config = configs.resolve(sweep.build_config(row))
    done = _finished(config, place.root / scale / row.name)
    if row.after:
        done |= _finished(config, place.root / scale / row.after)
    return Job(
        row.name, why, arguments, predictions.predict(config, predictions.DEVICES[device], done), result, row.after
    )


def _run_job(why: str, name: str, run: dict[str, Any], device: str, place: Place) -> Job:
    row, folder = Row(name, run["config"], run.get("fields", {})), place.root / name
    config = configs.resolve(sweep.build_config(row))
    words = shlex.split(sweep.command(row))[1:-1]
    arguments = (*words, *_data_flag("--config.data_dir", place), f"--workdir={folder}")
    needs = predictions.predict(config, predictions.DEVICES[device], _finished(config, folder))
    return Job(name, why, arguments, needs, folder / "results.json", keep=tuple(run.get("keep", ())))


def _command_job(why: str, name: str, command: str, seconds: float, place: Place) -> Job:
    result = _part(name, f"{name}.json", place)
    places = {"out": result, "root": place.root, "data_dir": place.data_dir or ""}
    words = [word.format(**places) for word in shlex.split(command)]
    # Its seconds are its own: what it does beside others it does in the same time, or less of it.
    needs = Prediction(seconds, 0.0, predictions.BESIDE)
    return Job(name, why, ("-m", *words), needs, result, timed=words[0].startswith("experiments.benchmarks"))


def _data_flag(flag: str, place: Place) -> Sequence[str]:
    return (f"{flag}={place.data_dir}",) if place.data_dir else ()


def _finished(config: Resolved, folder: pathlib.Path) -> set[str]:
    """The stages that a workdir has whole."""
    return {stage for stage in config.stages if (folder / stage / "result.json").is_file()}
