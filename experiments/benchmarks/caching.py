"""Subsets of Tiny-ImageNet cached at full width: their losses, and subsets a second beside the floor of their FLOPs.

    python -m experiments.benchmarks.caching --data_dir ~/tensorflow_datasets

Subsets of 10 to 20 classes, one image each, as small as they are useful. Writes results/caching.json and two pictures.
"""

import argparse
import pathlib
import shutil

import numpy as np

from configs import pretrain_cpu
from experiments import charts, records, sweep
from experiments.benchmarks import steps
from fsdd import api
from fsdd import config as configs
from fsdd.io import provenance, workdir
from fsdd.pretraining import cache, inspection

FIELDS = {
    "distill.rate": 1e-3,
    "subsets.classes_max": 20,
    "subsets.synthetic": 20,
    "subsets.images": 500,
    "subsets.buckets": 4,
    "subsets.views": 4,
    "subsets.policy": "dsa",
    "compute.lane_images": 40,
}


def flops(config: configs.Resolved, subsets: list[dict]) -> float:
    """What the network's passes of a store's subsets need, without padding: S and its mirror there and back, T once."""
    mirrored = 2 if config.objective.flip else 1
    rows = sum(2 * mirrored * config.distill.steps * one["synthetic"] for one in subsets)
    return steps.FORWARD * (rows + config.subsets.views * sum(one["images"] for one in subsets))


def main() -> None:
    """Fill the store, look at it, and keep what it took."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.caching")
    parser.add_argument("--subsets", type=int, default=40)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs"), help="holds the workdir")
    parser.add_argument("--data_dir", default=None, help="where TFDS has tiny_imagenet32 prepared")
    arguments = parser.parse_args()
    changed = pretrain_cpu.get_config()
    changed.update_from_flattened_dict(FIELDS)
    changed.subsets.count, changed.distill.steps = arguments.subsets, arguments.steps
    changed.data_dir = arguments.data_dir
    config, folder = configs.resolve(changed), arguments.root / "caching"
    with sweep.one_line_errors(parser.prog):
        results = api.run(config, folder, "cache")
    inspection.inspect(folder)
    shards = cache.read_whole_shards(folder / "cache")
    subsets = sorted((one for shard in shards for one in shard.header["subsets"]), key=lambda one: one["index"])
    rate, figures = steps.convolution_rate(), results["stages"]["cache"]
    report = {
        "command": f"{parser.prog} --subsets={arguments.subsets} --steps={arguments.steps}",
        "wall_seconds": figures["wall_seconds"],
        "compile_seconds": figures["compile_seconds"],
        "floor_seconds": round(flops(config, subsets) / rate, 2),
        "convolution_flops": rate,
        "subsets": subsets,
    }
    workdir.write(records.FOLDER / "caching.json", report | provenance.summary())
    shutil.copy(folder / "cache" / "subsets.png", records.FOLDER / "caching_subsets.png")
    draw_losses(records.FOLDER / "caching_losses.png")


def draw_losses(path: pathlib.Path) -> None:
    """The distribution of losses: each share of the subsets is below its value."""
    subsets = records.load("caching")["subsets"]
    shares = (100 * (np.arange(len(subsets)) + 0.5) / len(subsets)).tolist()
    series = [charts.Series(shares, sorted(one[when] for one in subsets), when, when) for when in ("before", "after")]
    charts.lines(path, series, "share of the subsets (%)", "NFR loss in the fixed network")


def markdown() -> str:
    """What the subsets took, and the spread of their sizes and losses."""
    found = records.load("caching")
    if not found:
        return ""
    subsets, seconds = found["subsets"], found["wall_seconds"]
    titles = {"classes": "classes", "images": "real images", "synthetic": "synthetic images"}
    titles |= {"before": "NFR loss before", "after": "NFR loss after"}
    rows = []
    for name, title in titles.items():
        form = ".3f" if name in ("before", "after") else ".0f"
        rows.append([title, *(f"{value:{form}}" for value in np.quantile([one[name] for one in subsets], (0, 0.5, 1)))])
    facts = (
        f"{len(subsets)} subsets in {seconds:.0f} s, {found['compile_seconds']:.0f} s of it compiling: "
        f"{len(subsets) / seconds:.3f} a second. Floor: {found['floor_seconds']:.0f} s, the FLOPs of their images over "
        f"{found['convolution_flops'] / 1e9:.0f} GFLOP/s, this machine's own."
    )
    return f"{facts}\n\n{records.table(['', 'least', 'median', 'most'], rows)}"


if __name__ == "__main__":
    main()
