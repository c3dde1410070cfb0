"""Sets that the cells of Table 3 left in their workdirs, scored in other ways than a cell's own.

A cell that is not there is distilled first. Results are a JSON list with an entry for each cell and way.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments import cells, sweep
from experiments.sweep import Row
from fsdd.errors import UserError
from fsdd.io import workdir

_KEPT = ("mean", "std", "accuracies", "width", "norm", "parameters", "steps", "wall_seconds")


def row(name: str, dataset: str, ipc: int, scale: str, way: Mapping[str, Any]) -> Row:
    """The cell of Table 3 with other fields of `evaluate`."""
    cell = cells.row(name, dataset, ipc, scale)
    # None of the sets on the way: only the last.
    fields = {field: value for field, value in cell.fields.items() if field != "evaluate.stages"}
    return Row(cell.name, cell.config, fields | way, cell.after)


def load(name: str, scale: str) -> list[dict[str, Any]]:
    """All entries of an experiment at a scale."""
    path = sweep.RESULTS / f"{name}_{scale}.json"
    return json.loads(path.read_text()) if path.exists() else []


def of(found: Sequence[dict[str, Any]], **wanted: Any) -> dict[str, Any] | None:
    """The entry with these values, or None."""
    return next((one for one in found if wanted.items() <= one.items()), None)


def entry(one: dict[str, Any] | None) -> str:
    """An accuracy as tables show it; empty where there is none."""
    if one is None:
        return ""
    return f"{one['mean']:.1f} ± {one['std']:.1f}" if len(one["accuracies"]) > 1 else f"{one['mean']:.1f} (1 network)"


def main(
    name: str,
    rows: Sequence[str],
    kind: str,
    ways: Mapping[str, Mapping[str, Any]],
    markdown: Callable[[list[dict[str, Any]], str, int], str],
    beside: Callable[[str], list[dict[str, Any]]] = lambda scale: [],
) -> None:
    """Command line of such an experiment: score what is not scored yet, and render.

    Args:
        name: of the experiment, and of its files.
        rows: of Table 3.
        kind: what an entry calls its way, such as "architecture"; the flag is its plural.
        ways: fields of `evaluate` by the name of the way.
        markdown: renders the entries of a dataset at a number of images a class.
        beside: entries of a scale from elsewhere that stand in the table, too.
    """
    parser = argparse.ArgumentParser(prog=f"python -m experiments.{name}")
    parser.add_argument("--scale", choices=cells.SCALES, default="cpu")
    parser.add_argument("--rows", nargs="*", default=list(rows), choices=rows)
    parser.add_argument(f"--{kind}s", nargs="*", dest="ways", default=list(ways), choices=list(ways))
    parser.add_argument("--dataset", default="cifar10", choices=list(cells.IPCS))
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--networks", type=int, help="trained on each set; default: as many as the cell's own, 3")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs"))
    parser.add_argument("--data_dir", default=None)
    parser.add_argument("--out", type=pathlib.Path, help=f"default results/{name}_SCALE.json")
    arguments = parser.parse_args()
    scale, ipc = arguments.scale, arguments.ipc
    dataset = "digits" if scale == "smoke" else arguments.dataset
    out = arguments.out or sweep.RESULTS / f"{name}_{scale}.json"
    found = json.loads(out.read_text()) if out.exists() else []
    networks = {"evaluate.networks": arguments.networks} if arguments.networks else {}
    try:
        for one in arguments.rows:
            for way in arguments.ways:
                wanted = {"row": one, "dataset": dataset, "ipc": ipc, kind: way}
                if not of(found, **wanted):
                    cell = row(one, dataset, ipc, scale, ways[way] | networks)
                    found.append(wanted | _score(cell, arguments.root / scale, arguments.data_dir))
                    workdir.write(out, found)
    except UserError as error:
        sys.exit(f"{parser.prog}: {error}")
    print(markdown([*beside(scale), *found], dataset, ipc))


def _score(cell: Row, root: pathlib.Path, data_dir: str | None) -> dict[str, Any]:
    result = sweep.run(cell, root, data_dir)
    scored = cells.score(result)
    facts = {"command": sweep.command(cell), "device": result["device"], "versions": result["versions"]}
    return {key: scored[key] for key in _KEPT} | facts
