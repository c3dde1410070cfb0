"""Fig. 4c: a translator adapted at some numbers of images per class (IPCs), on sets of others that it has not seen.

    python -m experiments.paper.figure4c --data_dir ~/tensorflow_datasets

One translator is adapted to the `1 Net` sets of all IPCs of `--adapted` at once; then the sets of `--ipc` are
translated by it, without adapting it further, and networks are trained on them before and after. The paper adapts at 1
and 50 and looks at 10. Writes results/figure4c_SCALE.json and a picture.
"""

import argparse
import pathlib
from typing import Any

from experiments import cells, charts, records, sweep
from fsdd import api
from fsdd import config as configs
from fsdd.io import provenance, workdir

_TITLES = {"distill": "1 Net", "translate": "translated"}


def _resolve(arguments: argparse.Namespace, ipc: int, fields: dict[str, Any]) -> configs.Resolved:
    """The config of the cell of Table 3 whose start is asked for, with some fields changed."""
    dataset = "digits" if arguments.scale == "smoke" else arguments.dataset
    config = sweep.build_config(cells.build_row(arguments.start, dataset, 1, arguments.scale), arguments.data_dir)
    config.update_from_flattened_dict({"ipc": ipc} | fields)
    return configs.resolve(config)


def adapt(arguments: argparse.Namespace, folder: pathlib.Path) -> pathlib.Path:
    """The folder of a translator adapted to the sets of several IPCs."""
    fields = {"translate.ipcs": tuple(arguments.adapted), "evaluate.networks": 0}
    api.run(_resolve(arguments, arguments.adapted[0], fields), folder)
    return folder / "translate" / "translator"


def score(arguments: argparse.Namespace, folder: pathlib.Path, translator: pathlib.Path, ipc: int) -> dict[str, Any]:
    """Accuracy of networks trained on the set of one IPC, as it was distilled and translated."""
    fields = {"translate.init": str(translator), "translate.networks": 0, "evaluate.stages": ("distill", "translate")}
    fields |= {"evaluate.networks": arguments.networks} if arguments.networks else {}
    results = api.run(_resolve(arguments, ipc, fields), folder)
    scores = {
        one["stage"]: {name: one[name] for name in ("mean", "std", "accuracies")} for one in results["evaluations"]
    }
    return {"ipc": ipc, "seen": ipc in arguments.adapted} | scores


def markdown(found: dict[str, Any]) -> str:
    """Each set before and after translation."""
    rows = []
    for one in found["sets"] if found else []:
        rows.append([one["ipc"], "yes" if one["seen"] else "no", *(records.accuracy(one[stage]) for stage in _TITLES)])
    return records.table(["IPC", "adapted on", "`1 Net`", "translated"], rows)


def draw(found: dict[str, Any], path: pathlib.Path) -> None:
    """Accuracy against images per class, before and after translation."""
    at = [one["ipc"] for one in found["sets"]]
    series = [
        charts.Series(at, [one[stage]["mean"] for one in found["sets"]], title, title)
        for stage, title in _TITLES.items()
    ]
    adapted = " and ".join(map(str, found["adapted"]))
    xlabel = f"images per class (IPC); adapted at {adapted}"
    charts.lines(path, series, xlabel, "test accuracy (%)", log_x=max(at) > 10, whole=max(at) <= 10)


def main() -> None:
    """Adapt once, then score each IPC; or draw what there is."""
    parser = argparse.ArgumentParser(prog="python -m experiments.paper.figure4c")
    cells.add_arguments(parser)
    parser.add_argument("--dataset", default="cifar10", choices=list(cells.IPCS))
    parser.add_argument("--start", default="without_pretraining", choices=("without_pretraining", "with_adaptation"))
    parser.add_argument("--adapted", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--ipc", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--networks", type=int, help="trained on each set; default: as many as the cell's own, 3")
    parser.add_argument("--render", action="store_true", help="run nothing; show what there is")
    arguments = parser.parse_args()
    root, out = cells.choose_places(arguments, "figure4c")
    if not arguments.render:
        with sweep.one_line_errors(parser.prog):
            _measure(arguments, root / f"{arguments.scale}_unseen_ipcs", out)
    found, picture = records.read(out), out.with_suffix(".png")
    if not found:
        raise SystemExit(f"{parser.prog}: {out} is not there; run without --render")
    draw(found, picture)
    cells.show(markdown(found), out, [picture])


def _measure(arguments: argparse.Namespace, root: pathlib.Path, out: pathlib.Path) -> None:
    translator = adapt(arguments, root / "adapted")
    sets = [score(arguments, root / f"ipc{ipc}", translator, ipc) for ipc in sorted(arguments.ipc)]
    adaptation = workdir.read(root / "adapted" / "translate" / "result.json")
    facts = {name: adaptation[name] for name in ("steps", "networks", "wall_seconds")}
    found = {"adapted": arguments.adapted, "start": arguments.start, "adaptation": facts, "sets": sets}
    workdir.write(out, found | provenance.summary())


if __name__ == "__main__":
    main()
