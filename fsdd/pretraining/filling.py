"""The caching stage: random subsets of the big set, each distilled in the one fixed network, into a store on disk.

Any number of processes may work on one store: each claims the subsets that it distils, and adds them as one shard when
they are done. A batch of subsets that is under way leaves checkpoints, which whoever claims it next goes on from.
"""

import pathlib
import shutil
import time
from collections.abc import Sequence

import jax
import numpy as np

from fsdd.assembly import keys
from fsdd.io import progress, provenance, workdir
from fsdd.io.digests import digest_json
from fsdd.io.resumable import Resumable
from fsdd.methods import lanes as side_by_side
from fsdd.pretraining import store
from fsdd.pretraining.cache import Cache, pending, read_shards
from fsdd.pretraining.subsets import Subset


def fill(cache: Cache, count: int | None = None) -> None:
    """Distil the subsets that the store lacks and that no other process is at.

    Args:
        cache: the store.
        count: how many subsets, from the first; None for all that the config asks for.

    Raises:
        UserError: a batch diverged, or the disk refuses; what was on disk is still there.
    """
    count = cache.config.subsets.count if count is None else count
    shards = read_shards(cache)
    began, total = time.monotonic(), sum(cache.bucket(index) for index in pending(cache, shards, count))
    while batch := _claim(cache, shards, count):
        remaining = sum(cache.bucket(index) for index in pending(cache, shards, count))
        label = f"cache, {sum(len(shard.indices) for shard in shards)} of {count} subsets done"
        if remaining < total:
            label += f", {progress.duration((time.monotonic() - began) * remaining / (total - remaining))} left"
        shards.append(_distil(cache, batch, label))
        for index in batch:
            cache.claims.release(index)
    _tidy(cache.folder, {index for shard in shards for index in shard.indices})


def _tidy(folder: pathlib.Path, done: set[int]) -> None:
    """Delete what is left of batches whose subsets are all in the store, packed otherwise on another machine, say."""
    for path in (folder / "running").glob("*/subsets.json"):
        # Whoever made it may be deleting it at this moment.
        batch = workdir.read(path, {"subsets": list})
        if batch is not None and done.issuperset(batch["subsets"]):
            shutil.rmtree(path.parent, ignore_errors=True)


def _claim(cache: Cache, shards: list[store.Shard], count: int) -> list[int]:
    """Claim the next batch, subsets of one bucket; empty if nothing is left. `shards` is brought up to date."""
    while True:
        batch: list[int] = []
        for index in pending(cache, shards, count):
            fits = not batch or cache.bucket(index) == cache.bucket(batch[0])
            if fits and cache.claims.take(index):
                batch.append(index)
            if batch and len(batch) == cache.lanes(cache.bucket(batch[0])):
                break
        # Another process may have finished one between our reading of the store and our claim.
        shards[:] = read_shards(cache)
        left = set(pending(cache, shards, count)) & set(batch)
        for index in set(batch) - left:
            cache.claims.release(index)
        if left or not batch:
            return sorted(left)


def _distil(cache: Cache, batch: list[int], label: str) -> store.Shard:
    """Distil a batch of subsets and add them to the store."""
    began, compiled = time.monotonic(), progress.compile_clock.programs
    subsets = [cache.sampler.draw(index) for index in batch]
    distiller, bucket = cache.distiller, cache.bucket(batch[0])
    lanes = distiller.place(stack_lanes(cache, subsets, bucket))
    features = distiller.features(lanes, cache.chunk(bucket))
    before = distiller.losses(lanes.start, features, lanes)
    preparing = time.monotonic() - began
    # How many lanes there are is in the name because checkpoints hold all of them.
    scratch = cache.folder / "running" / digest_json([batch, len(before)])
    workdir.write(scratch / "subsets.json", {"subsets": batch})
    resumable = Resumable(scratch, label, cache.config.distill.steps, cache.config.compute.checkpoint_seconds)
    start, state = resumable.restore(distiller.init(lanes))
    state = resumable.follow(distiller.run(lanes, features, distiller.place(state), start))
    loss = np.stack([before, distiller.losses(state.moving, features, lanes)], axis=-1)
    made = {
        "seconds": round(preparing + resumable.seconds, 2),
        "compile_seconds": round(resumable.compile_seconds, 2),
        "programs_compiled": progress.compile_clock.programs - compiled,
        "bucket": bucket,
        "lanes": len(before),
    }
    images, targets = np.asarray(state.moving.images), np.asarray(state.moving.labels)
    done = [
        store.Cached(
            **vars(subset),
            images=images[lane, : len(subset.start)],
            targets=targets[lane, : len(subset.start), : len(subset.classes)],
            loss=loss[lane],
        )
        for lane, subset in enumerate(subsets)
    ]
    shard = store.write(cache.folder, scratch, done, made | provenance.summary())
    resumable.discard()
    shutil.rmtree(scratch, ignore_errors=True)
    return shard


def stack_lanes(cache: Cache, subsets: Sequence[Subset], bucket: int) -> side_by_side.Lanes:
    """Subsets padded to a bucket's shape, and repeated to its number of lanes."""
    root = keys.purpose_key(cache.config.seed, "cache")
    padded = [
        side_by_side.lane(
            cache.data.train_images[subset.rows],
            subset.labels,
            subset.start,
            jax.random.fold_in(root, subset.index),
            whitening=cache.whitening,
            real=cache.sampler.limits.images,
            rows=bucket,
            classes=cache.sampler.limits.classes_max,
        )
        for subset in subsets
    ]
    return side_by_side.stack([padded[lane % len(padded)] for lane in range(cache.lanes(bucket))])
