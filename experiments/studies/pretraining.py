"""Where a translator starts, and how the work of pre-training is spent: held-out NFR loss against wall seconds.

    python -m fsdd.main --config=configs/pretrain_cpu.py --stage=cache --workdir=runs/pretrain_cpu
    python -m experiments.studies.pretraining --data_dir ~/tensorflow_datasets

Each variant trains on the same store for about two minutes. Writes results/pretraining.json and a picture.
"""

import argparse
import json
import pathlib
import re
from typing import Any

from configs import pretrain_cpu
from experiments import charts, records, sweep
from fsdd import api
from fsdd import config as configs
from fsdd.io import provenance, workdir

_RANDOM = {"translator.residual": False}
# A short auto-encoding: at this size, reconstruction is learned in a fraction of a minute.
_AUTOENCODED = {"pretrain.init": "autoencoder", "autoencoder.steps": 200, "autoencoder.batch": 32}
# Fields that differ from configs/pretrain_cpu.py; steps are what fits into about two minutes.
VARIANTS = {
    "residual": {"pretrain.steps": 600},
    "random (the paper)": {"pretrain.steps": 600} | _RANDOM,
    "auto-encoder": {"pretrain.steps": 600} | _AUTOENCODED | _RANDOM,
    "the paper's loss": {"pretrain.steps": 600, "pretrain.scaled": False},
    "each network once": {"pretrain.steps": 450, "pretrain.uses": 1, "pretrain.group": 1},
    "full width": {"pretrain.steps": 350, "pretrain.width": 0},
    "rate 2e-3": {"pretrain.steps": 600, "pretrain.rate": 2e-3},
    "stride 4": {"pretrain.steps": 900, "translator.stride": 4},
    "width 32": {"pretrain.steps": 900, "translator.widths": (32, 32, 32)},
}


def main() -> None:
    """Train every variant that is not done, and draw all."""
    parser = argparse.ArgumentParser(prog="python -m experiments.studies.pretraining")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs"))
    parser.add_argument("--store", default="pretrain_cpu", help="the workdir under root with the store")
    parser.add_argument("--data_dir", default=None)
    parser.add_argument("--target", default="", help="a run's workdir to judge `w/o Ada` on")
    parser.add_argument("--count", type=int, default=150, help="how many subsets of the store")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--render", action="store_true", help="run nothing; show what there is")
    arguments = parser.parse_args()
    out = records.FOLDER / "pretraining.json"
    found = (records.read(out) or {"variants": {}})["variants"]
    with sweep.one_line_errors(parser.prog):
        for name in [] if arguments.render else arguments.variants:
            found[name] = learn(name, arguments)
            ordered = {variant: found[variant] for variant in VARIANTS if variant in found}
            workdir.write(out, {"subsets": arguments.count, "variants": ordered} | provenance.summary())
    draw(found, out.with_suffix(".png"))
    print(markdown())


def learn(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train one variant; its learning curve and what it took."""
    folder = arguments.root / f"pretraining_{re.sub('[^a-z0-9]+', '_', name)}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "cache").exists():
        (folder / "cache").symlink_to((arguments.root / arguments.store / "cache").absolute())
    config = pretrain_cpu.get_config()
    config.data_dir, config.pretrain.target = arguments.data_dir, arguments.target
    common = {"subsets.count": arguments.count, "pretrain.every": 150, "pretrain.held_out": 15}
    config.update_from_flattened_dict(common | VARIANTS[name])
    stage = api.run(configs.resolve(config), folder, "pretrain")["stages"]["pretrain"]
    curve = [json.loads(line) for line in (folder / "pretrain" / "curve.jsonl").read_text().splitlines()]
    keep = ("steps", "networks", "wall_seconds", "compile_seconds")
    return {"fields": VARIANTS[name], "curve": curve} | {field: stage[field] for field in keep}


def draw(found: dict[str, dict[str, Any]], path: pathlib.Path) -> None:
    """The share of the loss that translation leaves at the end, against seconds, compiling left out."""
    points = []
    for name, one in found.items():
        first, last = one["curve"][0], one["curve"][-1]
        family = "another start" if name in ("random (the paper)", "auto-encoder") else "starts as the identity"
        points.append(charts.Series([last["seconds"] - first["seconds"]], [100 * share(last)], family, name))
    charts.scatter(path, points, "seconds of pre-training", "held-out loss that is left (%)", log_x=False)


def share(point: dict[str, float]) -> float:
    """Of a judged point, the NFR loss at its best scale over that of the sets as they were."""
    return point["scaled_translated"] / point["scaled_untranslated"]


def markdown() -> str:
    """What each variant had after its last step."""
    rows = []
    for name, one in (records.load("pretraining") or {"variants": {}})["variants"].items():
        first, last = one["curve"][0], one["curve"][-1]
        seconds, left = f"{last['seconds'] - first['seconds']:.0f}", f"{100 * share(last):.2f}"
        rows.append([name, one["steps"], one["networks"], seconds, left, f"{last['accuracy_translated']:.1f}"])
    head = ["variant", "steps", "networks", "seconds", "held-out loss left (%)", "ridge accuracy (%)"]
    return records.table(head, rows)


def learning_curve(name: str, every: int) -> str:
    """The curve of a packaged translator: its held-out subsets before any step and after some."""
    titles = {"": "NFR loss", "scaled": "NFR loss at best scale", "accuracy": "ridge accuracy (%)"}
    titles |= {"target_scaled": "target: loss", "target_accuracy": "target: accuracy (%)"}
    points = json.loads((records.ROOT / "fsdd" / "pretrained" / name / "card.json").read_text())["judged"]
    names = {figure: f"{figure}_".lstrip("_") for figure in titles}
    present = [figure for figure in titles if f"{names[figure]}translated" in points[0]]
    rows = []
    for index, point in enumerate(points):
        if index and point["step"] % every:
            continue
        keys = [names[figure] + ("translated" if index else "untranslated") for figure in present]
        values = [f"{point[key]:.1f}" if "accuracy" in key else f"{point[key]:.4f}" for key in keys]
        rows.append([point["step"] if index else "start", f"{point['seconds']:.0f}", *values])
    return records.table(["step", "seconds", *(titles[figure] for figure in present)], rows)


if __name__ == "__main__":
    main()
