"""Rows of an experiment: a config and the fields it changes, run in a workdir each, collected into one JSON.

A row whose result is there, made by the same command, is not run again; one that was killed goes on. Rows may start
from the finished stages of another.
"""

import contextlib
import dataclasses
import importlib
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ml_collections

from experiments import records
from fsdd import api
from fsdd import config as configs
from fsdd.config import Resolved
from fsdd.distilling import context
from fsdd.errors import UserError
from fsdd.io import workdir


@dataclasses.dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        name: its workdir's name, unique in the experiment.
        config: the config's name in `configs/`.
        fields: dotted fields that differ from it.
        after: the row whose finished stages it starts from, as far as their fields agree, if any.
    """

    name: str
    config: str
    fields: dict[str, Any]
    after: str | None = None


def build_config(row: Row, data_dir: str | None = None) -> ml_collections.ConfigDict:
    """The config of a row, not resolved yet."""
    config = importlib.import_module(f"configs.{row.config}").get_config()
    config.update_from_flattened_dict(row.fields)
    config.data_dir = data_dir
    return config


def run(row: Row, root: pathlib.Path, data_dir: str | None) -> dict[str, Any]:
    """Run what is not done of a row; returns the results without the curves."""
    folder, config = root / row.name, configs.resolve(build_config(row, data_dir))
    if row.after:
        borrow(config, root / row.after, folder)
    return _summarise(row, api.run(config, folder))


def run_missing(
    rows: Sequence[Row],
    out: pathlib.Path,
    root: pathlib.Path,
    data_dir: str | None,
    order: Callable[[str], Any] = str,
) -> list[dict[str, Any]]:
    """Run the rows that a result file lacks or has by another command; the file is up to date after each.

    Args:
        rows: what is wanted.
        out: the result file; entries of other rows stay in it.
        root: holds a workdir a row.
        data_dir: where TFDS keeps prepared sets.
        order: the key by which entries are sorted, of a row's name.

    Returns:
        All entries of the file.
    """
    done = {result["row"]: result for result in records.read(out)}
    for row in rows:
        if row.name in done and done[row.name]["command"] == command(row):
            continue
        print(row.name, flush=True)
        done[row.name] = run(row, root, data_dir)
        workdir.write(out, [done[name] for name in sorted(done, key=order)])
    return [done[name] for name in sorted(done, key=order)]


def borrow(config: Resolved, source: pathlib.Path, folder: pathlib.Path) -> None:
    """Copy the finished stages of another workdir, up to the first that this config lacks or has with other fields."""
    for index, stage in enumerate(config.stages):
        fields = context.stage_fields(config, config.stages[: index + 1])
        try:
            made_with = configs.compatible(workdir.read(source / stage / "config.json"), fields)
            workdir.check(source / stage, made_with, fields)
        except UserError:
            return
        if (source / stage / "result.json").is_file() and not (folder / stage).exists():
            partial = folder / f"{stage}.part"
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(source / stage, partial)
            partial.rename(folder / stage)


def _summarise(row: Row, results: dict[str, Any]) -> dict[str, Any]:
    """What of a run's results an experiment keeps."""
    keep = ("steps", "networks", "wall_seconds", "compile_seconds", "last", "device", "commit", "finished")
    stages = {
        stage: {name: result[name] for name in keep if name in result} for stage, result in results["stages"].items()
    }
    default = configs.defaults()
    changed = {name: value for name, value in results["config"].items() if value != default.get(name)}
    changed.pop("data_dir", None)
    same = ("evaluations", "stored_numbers", "versions", "device", "commit")
    # Of several seeds each has its own stored numbers.
    facts = {name: results[name] for name in same if name in results}
    return {"row": row.name, "command": command(row), "fields": changed, "stages": stages} | facts


def command(row: Row) -> str:
    """The command line that runs a row on its own."""
    fields = [f"--config.{name}={_quote(value)}" for name, value in row.fields.items()]
    words = ["python -m fsdd.main", f"--config=configs/{row.config}.py", *fields, f"--workdir=runs/{row.name}"]
    return " ".join(words)


def _quote(value: Any) -> str:
    text = str(value)
    return f'"{text}"' if any(character in text for character in "()' ") else text


def networks(result: dict[str, Any]) -> int:
    """Networks that real images passed through, in all stages."""
    return sum(stage["networks"] for stage in result["stages"].values())


def seconds(result: dict[str, Any], evaluation: dict[str, Any]) -> float:
    """Wall seconds of the stages up to the set that an evaluation scored."""
    if "distilling_seconds" in evaluation:
        return evaluation["distilling_seconds"]
    stages = list(result["stages"])
    until = stages[: stages.index(evaluation["stage"]) + 1] if evaluation["stage"] in stages else []
    return sum(result["stages"][stage]["wall_seconds"] for stage in until)


@contextlib.contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """What a person can mend ends the program with one line, without a traceback."""
    try:
        yield
    except UserError as error:
        raise SystemExit(f"{program}: {error}") from error
