"""Pre-training, from a config and a workdir: so far its first half, the store of cached subsets.

<workdir>/cache/         the store: see fsdd/data/store.py
<workdir>/results.json   the config, and what is in the store
"""

import pathlib
from typing import Any

import ml_collections
import numpy as np

from fsdd import cache as caches
from fsdd import config as configs
from fsdd import estimate, provenance
from fsdd.data.store import Shard
from fsdd.errors import UserError
from fsdd.io import workdir


def run(config: ml_collections.ConfigDict, folder: pathlib.Path, stage: str | None = None) -> dict[str, Any]:
    """Do what is not done yet of a pre-training config's stages.

    Args:
        config: a delta on `fsdd.config.default()`.
        folder: the workdir; made if it is not there.
        stage: the one stage to run; None for all of the config's.

    Returns:
        What `<workdir>/results.json` holds.

    Raises:
        UserError: the config, the data, the store or the disk is bad; what was on disk is still there.
    """
    if stage is not None and stage not in config.stages:
        raise UserError(f"--stage is {stage!r}; allowed: one of config.stages, {', '.join(config.stages)}")
    cache = caches.prepare(config, folder)
    left = caches.pending(cache, caches.whole_shards(cache.folder))
    print(estimate.describe_cache(cache, left), flush=True)
    caches.fill(cache)
    results = {"config": configs.flat(cache.config), "seed": cache.config.seed} | provenance.summary()
    results |= {"stages": {"cache": summarise(caches.whole_shards(cache.folder))}, "evaluations": []}
    workdir.write(folder / "results.json", results)
    return results


def summarise(shards: list[Shard]) -> dict[str, Any]:
    """Figures of what is in a store."""
    subsets = [subset for shard in shards for subset in shard.header["subsets"]]
    figures: dict[str, Any] = {
        "subsets": len(subsets),
        "shards": len(shards),
        "bytes": sum(shard.path.stat().st_size for shard in shards),
        "wall_seconds": round(sum(shard.header["made"]["seconds"] for shard in shards), 2),
        "compile_seconds": round(sum(shard.header["made"]["compile_seconds"] for shard in shards), 2),
    }
    for name in ("classes", "images", "synthetic", "before", "after"):
        values = [subset[name] for subset in subsets]
        figures[name] = [round(float(value), 4) for value in np.quantile(values, (0, 0.5, 1))] if values else []
    return figures
