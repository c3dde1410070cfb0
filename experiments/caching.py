"""Subsets of Tiny-ImageNet cached at full width: their losses, and subsets a second beside the floor of their FLOPs.

    python -m experiments.caching --data_dir ~/tensorflow_datasets

Subsets of 10 to 20 classes, one image each, as small as they are useful. Writes results/caching.json and two pictures.
"""

import argparse
import pathlib
import shutil
import sys

from configs import pretrain_cpu
from experiments import bench, sweep
from fsdd.distilling import pipeline
from fsdd.io import provenance
from fsdd.errors import UserError
from fsdd.io import workdir
from fsdd.pretraining import cache
from fsdd.pretraining import inspection

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


def flops(config, subsets: list[dict]) -> float:
    """What the network's passes of a store's subsets need, without padding: S and its mirror there and back, T once."""
    mirrored = 2 if config.objective.flip else 1
    rows = sum(2 * mirrored * config.distill.uses * one["synthetic"] for one in subsets)
    return bench.FORWARD * (rows + config.subsets.views * sum(one["images"] for one in subsets))


def main() -> None:
    """Fill the store, look at it, and keep what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--subsets", type=int, default=40)
    parser.add_argument("--uses", type=int, default=100)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("runs"), help="holds the workdir")
    parser.add_argument("--data_dir", default=None, help="where TFDS has tiny_imagenet32 prepared")
    arguments = parser.parse_args()
    config = pretrain_cpu.get_config()
    config.update_from_flattened_dict(FIELDS)
    config.subsets.count, config.distill.uses = arguments.subsets, arguments.uses
    config.data_dir = arguments.data_dir
    folder = arguments.root / "caching"
    try:
        results = pipeline.run(config, folder, "cache")
    except UserError as error:
        sys.exit(str(error))
    inspection.inspect(folder)
    shards = cache.whole_shards(folder / "cache")
    subsets = sorted((one for shard in shards for one in shard.header["subsets"]), key=lambda one: one["index"])
    rate = bench.convolution_rate()
    figures = results["stages"]["cache"]
    report = {
        "command": f"python -m experiments.caching --subsets={arguments.subsets} --uses={arguments.uses}",
        "wall_seconds": figures["wall_seconds"],
        "compile_seconds": figures["compile_seconds"],
        "floor_seconds": round(flops(config, subsets) / rate, 2),
        "convolution_flops": rate,
        "subsets": subsets,
    }
    workdir.write(sweep.RESULTS / "caching.json", report | provenance.summary())
    for name in ("subsets", "losses"):
        shutil.copy(folder / "cache" / f"{name}.png", sweep.RESULTS / f"caching_{name}.png")


if __name__ == "__main__":
    main()
