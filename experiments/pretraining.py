"""Where a translator starts, and how the work of pre-training is spent: held-out NFR loss against wall seconds.

    python -m fsdd.main --config=configs/pretrain_cpu.py --stage=cache --workdir=runs/pretrain_cpu
    python -m experiments.pretraining --data_dir ~/tensorflow_datasets

Each variant trains on the same store for about two minutes. Writes results/pretraining.json and a picture.
"""

import argparse
import json
import pathlib
import re
import sys

from configs import pretrain_cpu
from experiments import sweep
from fsdd.distilling import pipeline
from fsdd.io import provenance
from fsdd.errors import UserError
from fsdd.io import pictures
from fsdd.io import workdir

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
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs"))
    parser.add_argument("--store", default="pretrain_cpu", help="the workdir under root with the store")
    parser.add_argument("--data_dir", default=None)
    parser.add_argument("--target", default="", help="a run's workdir to judge `w/o Ada` on")
    parser.add_argument("--count", type=int, default=150, help="how many subsets of the store")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    arguments = parser.parse_args()
    out, found = sweep.RESULTS / "pretraining.json", {}
    if out.exists():
        found = json.loads(out.read_text())["variants"]
    for name in arguments.variants:
        folder = arguments.root / f"pretraining_{re.sub('[^a-z0-9]+', '_', name)}"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "cache").exists():
            (folder / "cache").symlink_to((arguments.root / arguments.store / "cache").absolute())
        config = pretrain_cpu.get_config()
        config.data_dir, config.pretrain.target = arguments.data_dir, arguments.target
        common = {"subsets.count": arguments.count, "pretrain.every": 150, "pretrain.held_out": 15}
        config.update_from_flattened_dict(common | VARIANTS[name])
        try:
            stage = pipeline.run(config, folder, "pretrain")["stages"]["pretrain"]
        except UserError as error:
            sys.exit(str(error))
        curve = [json.loads(line) for line in (folder / "pretrain" / "curve.jsonl").read_text().splitlines()]
        keep = ("steps", "networks", "wall_seconds", "compile_seconds")
        found[name] = {"fields": VARIANTS[name], "curve": curve} | {field: stage[field] for field in keep}
        ordered = {variant: found[variant] for variant in VARIANTS if variant in found}
        workdir.write(out, {"subsets": arguments.count, "variants": ordered} | provenance.summary())
    draw(found)


def draw(found: dict) -> None:
    """The share of the loss that translation leaves, against seconds since the first step, compilation left out.

    A random start's first points, where it is far from what all others are, are left out.
    """
    series = {}
    for name, one in found.items():
        shares = [share(point) for point in one["curve"]]
        seconds = [point["seconds"] - one["curve"][0]["seconds"] for point in one["curve"]]
        kept = [(at, left) for at, left in zip(seconds, shares, strict=True) if left < 1.01]
        series[name] = ([at for at, _ in kept], [left for _, left in kept])
    pictures.curve(sweep.RESULTS / "pretraining.png", series, xlabel="seconds", ylabel="loss that is left (share)")


def share(point: dict) -> float:
    """Of a judged point, the NFR loss at its best scale over that of the sets as they were."""
    return point["scaled_translated"] / point["scaled_untranslated"]


if __name__ == "__main__":
    main()
