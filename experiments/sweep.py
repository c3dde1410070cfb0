"""Rows of an experiment: a config and the fields it changes, run in a workdir each, collected into one JSON.

A row that is done is not run again; one that was killed goes on. Rows may start from the finished stages of another.
"""

import argparse
import dataclasses
import importlib
import json
import pathlib
import shutil
import sys
from collections.abc import Sequence
from typing import Any

import ml_collections

from fsdd import config as configs
from fsdd.distilling import pipeline
from fsdd.distilling import context as runs
from fsdd.errors import UserError
from fsdd.io import workdir

RESULTS = pathlib.Path(__file__).parent / "results"


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


def resolved(row: Row, data_dir: str | None = None):
    """The config of a row."""
    config = importlib.import_module(f"configs.{row.config}").get_config()
    config.update_from_flattened_dict(row.fields)
    config.data_dir = data_dir
    return config


def run(row: Row, root: pathlib.Path, data_dir: str | None) -> dict[str, Any]:
    """Run what is not done of a row; returns the results without the curves."""
    folder = root / row.name
    config = resolved(row, data_dir)
    if row.after:
        borrow(config, root / row.after, folder)
    return summary(row, pipeline.run(config, folder))


def borrow(config: ml_collections.ConfigDict, source: pathlib.Path, folder: pathlib.Path) -> None:
    """Copy the finished stages of another workdir, up to the first that this config lacks or has with other fields."""
    config, defaults = configs.resolve(config), configs.defaults()
    for index, stage in enumerate(config.stages):
        try:
            workdir.check(source / stage, runs.relevant(config, config.stages[: index + 1]), defaults)
        except UserError:
            return
        if (source / stage / "result.json").is_file() and not (folder / stage).exists():
            partial = folder / f"{stage}.part"
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(source / stage, partial)
            partial.rename(folder / stage)


def summary(row: Row, results: dict[str, Any]) -> dict[str, Any]:
    """What of a run's results an experiment keeps."""
    keep = ("steps", "networks", "wall_seconds", "compile_seconds", "last", "device", "commit", "finished")
    stages = {
        stage: {name: result[name] for name in keep if name in result} for stage, result in results["stages"].items()
    }
    default = configs.defaults()
    changed = {name: value for name, value in results["config"].items() if value != default.get(name)}
    changed.pop("data_dir", None)
    return {
        "row": row.name,
        "command": command(row),
        "fields": changed,
        "stages": stages,
        "evaluations": results["evaluations"],
        "stored_numbers": results["stored_numbers"],
        "versions": results["versions"],
        "device": results["device"],
        "commit": results["commit"],
    }


def command(row: Row) -> str:
    """The command line that runs a row on its own."""
    fields = " ".join(f"--config.{name}={_shell(value)}" for name, value in row.fields.items())
    return f"python -m fsdd.main --config=configs/{row.config}.py {fields} --workdir=runs/{row.name}"


def _shell(value: Any) -> str:
    text = str(value)
    return f'"{text}"' if any(c in text for c in "()' ") else text


def main(name: str, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Command line of an experiment: run its rows in order and keep `results/NAME.json` up to date."""
    parser = argparse.ArgumentParser(prog=f"python -m experiments.{name}")
    parser.add_argument("--rows", nargs="*", default=[row.name for row in rows], help="which; default: all")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs"), help="holds a workdir a row")
    parser.add_argument("--data_dir", default=None, help="where TFDS keeps prepared sets")
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS / f"{name}.json")
    arguments = parser.parse_args()
    by_name = {row.name: row for row in rows}
    done = {result["row"]: result for result in json.loads(arguments.out.read_text())} if arguments.out.exists() else {}
    try:
        for wanted in arguments.rows:
            if wanted not in by_name:
                raise UserError(f"--rows has {wanted!r}; allowed: {', '.join(by_name)}")
            done[wanted] = run(by_name[wanted], arguments.root, arguments.data_dir)
            ordered = [done[row.name] for row in rows if row.name in done]
            workdir.write(arguments.out, ordered)
            print(table(ordered), flush=True)
    except UserError as error:
        sys.exit(f"{parser.prog}: {error}")
    return [done[row.name] for row in rows if row.name in done]


def table(results: Sequence[dict[str, Any]]) -> str:
    """A Markdown table of rows: accuracies, seconds and networks."""
    lines = ["| row | set | accuracy (%) | networks used | distilling (s) | evaluation |", "|---|---|---|---|---|---|"]
    for result in results:
        for score in result["evaluations"]:
            stages, last = list(result["stages"]), score["stage"].partition("@")[0]
            until = stages[: stages.index(last) + 1] if last in stages else []
            seconds = sum(result["stages"][stage]["wall_seconds"] for stage in until)
            seconds = score.get("distilling_seconds", seconds)
            used = sum(result["stages"][stage]["networks"] for stage in until)
            lines.append(
                f"| {result['row']} | {score['stage']} | {score['mean']:.1f} ± {score['std']:.1f} | {used} | "
                f"{seconds:.0f} | {score['networks']} x {score['architecture']} {score['width']}, "
                f"{score['steps']} steps |"
            )
    return "\n".join(lines)
