"""Fig. 4c: a translator adapted at some numbers of images a class, on sets of others that it has not seen.

    python -m experiments.figure4c --data_dir ~/tensorflow_datasets

One translator is adapted to the `1 Net` sets of `--adapted` images a class at once; then the sets of `--ipc` images are
translated by it, without adapting it further, and networks are trained on them before and after. The paper adapts at 1
and 50 and looks at 10. Writes results/figure4c_SCALE.json and a picture.
"""

import argparse
import pathlib
import sys
from typing import Any

from experiments import cells, sweep
from fsdd.distilling import pipeline
from fsdd.io import provenance
from fsdd.errors import UserError
from fsdd.io import pictures
from fsdd.io import workdir


def _config(arguments: argparse.Namespace, ipc: int, fields: dict[str, Any]):
    """The config of the cell of Table 3 whose start is asked for, with some fields changed."""
    dataset = "digits" if arguments.scale == "smoke" else arguments.dataset
    config = sweep.resolved(cells.row(arguments.start, dataset, 1, arguments.scale), arguments.data_dir)
    config.update_from_flattened_dict({"ipc": ipc} | fields)
    return config


def adapt(arguments: argparse.Namespace, folder: pathlib.Path) -> pathlib.Path:
    """The folder of a translator adapted to the sets of several numbers of images a class."""
    fields = {"translate.ipcs": tuple(arguments.adapted), "evaluate.networks": 0}
    pipeline.run(_config(arguments, arguments.adapted[0], fields), folder)
    return folder / "translate" / "translator"


def score(arguments: argparse.Namespace, folder: pathlib.Path, translator: pathlib.Path, ipc: int) -> dict[str, Any]:
    """Accuracy of networks trained on the set of `ipc` images a class, as it was distilled and translated."""
    fields = {"translate.init": str(translator), "translate.networks": 0, "evaluate.stages": ("distill", "translate")}
    fields |= {"evaluate.networks": arguments.networks} if arguments.networks else {}
    results = pipeline.run(_config(arguments, ipc, fields), folder)
    scores = {
        one["stage"]: {name: one[name] for name in ("mean", "std", "accuracies")} for one in results["evaluations"]
    }
    return {"ipc": ipc, "seen": ipc in arguments.adapted} | scores


def draw(found: dict[str, Any], path: pathlib.Path) -> None:
    """Accuracy against images a class, before and after translation."""
    at = [one["ipc"] for one in found["sets"]]
    adapted = " and ".join(map(str, found["adapted"]))
    titles = {"distill": "1 Net", "translate": f"translated, adapted at {adapted}"}
    series = {title: (at, [one[stage]["mean"] for one in found["sets"]]) for stage, title in titles.items()}
    pictures.curve(path, series, xlabel="images a class", ylabel="test accuracy (%)", log_x=max(at) > 10)


def main() -> None:
    """Adapt once, then score each number of images a class."""
    parser = argparse.ArgumentParser(prog="python -m experiments.figure4c")
    parser.add_argument("--scale", choices=cells.SCALES, default="cpu")
    parser.add_argument("--dataset", default="cifar10", choices=list(cells.IPCS))
    parser.add_argument("--start", default="without_pretraining", choices=("without_pretraining", "with_adaptation"))
    parser.add_argument("--adapted", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--ipc", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--networks", type=int, help="trained on each set; default: as many as the cell's own, 3")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs"))
    parser.add_argument("--data_dir", default=None)
    parser.add_argument(
        "--out", type=pathlib.Path, help="default results/figure4c_SCALE.json; the picture is beside it"
    )
    arguments = parser.parse_args()
    out = arguments.out or sweep.RESULTS / f"figure4c_{arguments.scale}.json"
    root = arguments.root / f"{arguments.scale}_unseen_ipcs"
    try:
        translator = adapt(arguments, root / "adapted")
        sets = [score(arguments, root / f"ipc{ipc}", translator, ipc) for ipc in sorted(arguments.ipc)]
    except UserError as error:
        sys.exit(f"{parser.prog}: {error}")
    adaptation = workdir.read(root / "adapted" / "translate" / "result.json")
    facts = {name: adaptation[name] for name in ("steps", "networks", "wall_seconds")}
    found = {"adapted": arguments.adapted, "start": arguments.start, "adaptation": facts, "sets": sets}
    workdir.write(out, found | provenance.summary())
    draw(found, out.with_suffix(".png"))


if __name__ == "__main__":
    main()
