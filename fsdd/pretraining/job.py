"""A whole pre-training run, from a config and a workdir: the store of cached subsets, and the translator.

<workdir>/cache/         the store: see store.py
<workdir>/pretrain/      the pre-training stage's record: see learning.py
<workdir>/translator/    what comes of it: an Orbax checkpoint with a card
<workdir>/results.json   the config, and the figures of both stages
"""

import pathlib
from typing import Any

import jax
import numpy as np

from fsdd import config as configs
from fsdd.assembly import translators
from fsdd.config import Resolved
from fsdd.errors import UserError
from fsdd.io import notes, provenance, workdir
from fsdd.pretraining import batches, filling, forecast, learning
from fsdd.pretraining import cache as caches
from fsdd.pretraining.cache import Cache
from fsdd.pretraining.store import Shard


def run(config: Resolved, folder: pathlib.Path, stage: str | None = None) -> dict[str, Any]:
    """Do what is not done yet of a pre-training config's stages.

    Args:
        config: resolved.
        folder: the workdir; made if it is not there.
        stage: the one stage to run; None for all of the config's.

    Returns:
        What `<workdir>/results.json` holds.

    Raises:
        UserError: the config, the data, the store or the disk is bad; what was on disk is still there.
    """
    if stage is not None and stage not in config.stages:
        raise UserError(f"--stage is {stage!r}; allowed: one of config.stages, {', '.join(config.stages)}")
    stages = config.stages if stage is None else (stage,)
    if "pretrain" in stages:
        learning.check(config, folder)
    cache = caches.prepare(config, folder)
    try:
        figures = _run_stages(cache, folder, stages)
    finally:
        cache.claims.close()
    results = {"config": configs.flat(config), "seed": config.seed} | provenance.summary()
    results |= {"stages": figures, "evaluations": []}
    workdir.write(folder / "results.json", results)
    return results


def _run_stages(cache: Cache, folder: pathlib.Path, stages: tuple[str, ...]) -> dict[str, Any]:
    """Do what is not done yet of some stages; their figures by name."""
    config, figures = cache.config, {}
    if "pretrain" in stages:
        translators.check_fit(config, config.pretrain.init, cache.data.image_shape)
        # What it cannot teach with, it says before anything is cached.
        batches.teaching(cache)
    interleaved = set(stages) == {"cache", "pretrain"} and config.pretrain.rounds > 1
    if "cache" in stages:
        left = caches.pending(cache, caches.read_shards(cache), config.subsets.count)
        notes.say(forecast.describe_cache(cache, left))
        if not interleaved:
            # Whoever goes on to pre-train needs the shares of the others, and a job ends when its first process does.
            fill = learning.fill if "pretrain" in stages or jax.process_count() > 1 else filling.fill
            fill(cache, config.subsets.count)
    if "pretrain" in stages:
        if not (folder / "pretrain" / "result.json").is_file():
            notes.say(forecast.describe_pretraining(cache))
        figures["pretrain"] = learning.run(cache, folder, interleaved)
    return {"cache": summarise(caches.read_shards(cache))} | figures


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
