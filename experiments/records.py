"""Result files, and how their figures are shown: nobody types a measured figure into a page, a table or a note."""

import json
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from fsdd.io import report

FOLDER = pathlib.Path(__file__).parent / "results"
ROOT = pathlib.Path(__file__).parents[1]


def read(path: pathlib.Path) -> Any:
    """The JSON in a file, or an empty list if it is not there."""
    return json.loads(path.read_text()) if path.exists() else []


def load(name: str) -> Any:
    """One result file of `results/`, or an empty list if it has not been measured."""
    return read(FOLDER / f"{name}.json")


def find(entries: Iterable[dict[str, Any]], **wanted: Any) -> dict[str, Any] | None:
    """The first entry with these values, or None."""
    return next((one for one in entries if wanted.items() <= one.items()), None)


def accuracy(score: dict[str, Any] | None) -> str:
    """An accuracy as tables show it: mean and standard deviation over networks; empty where there is none."""
    if score is None:
        return ""
    shown = report.spread(score["mean"], score["std"], "±", 1)
    return shown if score["std"] is not None else f"{shown} (1 network)"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; None is an empty cell."""
    lines = [f"| {' | '.join('' if cell is None else str(cell) for cell in line)} |" for line in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def figure(reference: str) -> str:
    """A figure of `results/`, as text.

    Args:
        reference: `FILE/PART/...[:FORMAT]`. A part is a key, or picks an entry of a list: by its position, by its
            `row`, or by several values, `group=held out,steps=600`. What has evaluations is shown by the last of
            them, or by the one whose stage comes next.

    Raises:
        LookupError: nothing is there.
    """
    path, _, form = reference.partition(":")
    name, *parts = path.split("/")
    value = load(name)
    for part in parts:
        value = _descend(value, part)
    if isinstance(value, dict) and value.get("evaluations"):
        value = value["evaluations"][-1]
    if isinstance(value, dict) and "mean" in value:
        return accuracy(value)
    if not isinstance(value, int | float):
        raise LookupError(f"{reference} is no figure of results/")
    return format(value, form or (",d" if isinstance(value, int) else ".1f"))


def _descend(value: Any, part: str) -> Any:
    if isinstance(value, dict) and part in value:
        return value[part]
    if isinstance(value, dict) and "evaluations" in value:
        return _descend(value["evaluations"], f"stage={part}")
    if isinstance(value, list) and part.lstrip("-").isdecimal():
        return value[int(part)]
    if isinstance(value, list):
        # Values may hold commas of their own.
        pairs = re.split(r",(?=\w+=)", part if "=" in part else f"row={part}")
        wanted = dict(pair.split("=", 1) for pair in pairs)
        for one in value:
            if all(str(one.get(key)) == text for key, text in wanted.items()):
                return one
    raise LookupError(f"results/ has no {part!r} where it is looked for")


def fill(text: str) -> str:
    """A text with a figure for each `{reference}` in it."""
    return re.sub(r"\{([^{}]+)\}", lambda match: figure(match[1]), text)


def note(scale: str, cell: str) -> str:
    """What `results/notes.json` says about a cell that is far from the paper's figure."""
    return fill((load("notes") or {}).get(scale, {}).get(cell, "not explained"))
