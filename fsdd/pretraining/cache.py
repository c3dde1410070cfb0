"""The caching stage: random subsets of the big set, each distilled in the one fixed network, into a store on disk.

Any number of processes may work on one store: each claims the subsets that it distils, and adds them as one shard when
they are done. A batch of subsets that is under way leaves checkpoints, which whoever claims it next goes on from.
"""

import dataclasses
import hashlib
import json
import math
import pathlib
import shutil
import time
from collections.abc import Iterable
from typing import Any

import jax
import ml_collections
import numpy as np

from fsdd import config as configs
from fsdd import provenance
from fsdd import run as runs
from fsdd.core.whitening import Whitening, fit
from fsdd.data import store
from fsdd.data.real import RealSet
from fsdd.data.subsets import Limits, Sampler, Subset
from fsdd.errors import UserError
from fsdd.io import progress, workdir
from fsdd.io.atomic import replacing
from fsdd.io.resumable import Resumable
from fsdd.methods import caching, optimisers, streams

# The claim of whoever fits the whitening; subsets have lower numbers.
_WHITENING = 2**40
_RELEVANT = ("dataset", "image_size", "mirror", "seed", "whitening", "network", "objective", "distill", "subsets")
# Subset j of N may be made whatever N is; how they are packed changes nothing in them.
_FREE = ("subsets.count", "subsets.buckets", "distill.networks", "distill.group", "distill.real_images")


@dataclasses.dataclass(frozen=True)
class Cache:
    """What the batches of a store share.

    Attributes:
        config: resolved.
        folder: the store.
        data: the big set in host memory.
        whitening: fitted on its training split, once for the store.
        sampler: draws its subsets.
        programs: what lanes run through on this process's devices.
        claims: of this process.
        seen: shards that this process has found whole, which it need not read again; `look` keeps it up to date.
    """

    config: ml_collections.ConfigDict
    folder: pathlib.Path
    data: RealSet
    whitening: Whitening
    sampler: Sampler
    programs: caching.Programs
    claims: store.Claims
    seen: list[store.Shard] = dataclasses.field(default_factory=list)

    @property
    def devices(self) -> int:
        """Devices of this process."""
        return self.programs.mesh.size

    def bucket(self, index: int) -> int:
        """Rows to which the synthetic set of subset `index` is padded: one of a few, evenly spaced as sizes are."""
        step = -(-self.sampler.limits.synthetic // self.config.subsets.buckets)
        return -(-math.prod(self.sampler.shape(index)) // step) * step

    def lanes(self, bucket: int) -> int:
        """Subsets of a bucket that are distilled at once."""
        return self.devices * max(self.config.compute.lane_images // bucket, 1)

    def chunk(self, bucket: int) -> int:
        """Real images of a lane that pass through the network at once."""
        return max(self.config.compute.chunk * self.devices // self.lanes(bucket), 1)

    def real_rows(self, bucket: int) -> int:
        """Rows to which the real images of a subset are padded: M, in whole chunks."""
        return -(-self.sampler.limits.images // self.chunk(bucket)) * self.chunk(bucket)


def prepare(config: ml_collections.ConfigDict, folder: pathlib.Path) -> Cache:
    """Check the config against itself, the store and the data, and open the store.

    Args:
        config: a delta on `fsdd.config.default()`.
        folder: the workdir; the store is `<folder>/cache`.

    Raises:
        UserError: something does not fit; nothing on disk has changed then.
    """
    config = configs.resolve(config)
    workdir.check_place(folder)
    folder = folder / "cache"
    card = workdir.read(folder / "card.json")
    fields = relevant(config)
    workdir.compare(folder, card and card.get("config"), fields)
    data = runs.load(config)
    runs.check_images(config, data)
    limits = Limits(*(config.subsets[field.name] for field in dataclasses.fields(Limits)))
    sampler = Sampler(data.train_labels, data.num_classes, limits, config.seed)
    for note in sampler.notes:
        print(note, flush=True)
    found = identity(data)
    workdir.compare(folder, card and card.get("set"), found, f"another {config.dataset}: its ")
    workdir.create(folder)
    if card is None:
        made = {"config": fields, "data_dir": config.data_dir, "classes": list(config.classes), "set": found}
        workdir.write(folder / "card.json", made | provenance.summary())
    claims = store.Claims(folder)
    whitening = _whitening(config, data, folder, claims)
    programs = _programs(config, data, whitening, sampler.limits)
    return Cache(config, folder, data, whitening, sampler, programs, claims)


def relevant(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The fields that what is in a store depends on."""
    fields = {name: value for name, value in configs.flat(config).items() if name.split(".")[0] in _RELEVANT}
    return {name: value for name, value in fields.items() if name not in _FREE}


def identity(data: RealSet) -> dict[str, Any]:
    """What tells a big set from another: of its test split, which no subset has an image of, nothing."""
    return {name: value for name, value in data.identity().items() if not name.startswith("test_")}


def _whitening(config, data: RealSet, folder: pathlib.Path, claims: store.Claims) -> Whitening:
    """The store's whitening: fitted by the first process, since another's rounding may differ."""
    path = folder / "whitening.npz"
    claims.take(_WHITENING, wait=True)
    if not path.is_file():
        fitted = fit(data.train_images, config.whitening.kind, config.whitening.regularisation)
        arrays = {name: value for name, value in vars(fitted).items() if value is not None}
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)
    claims.release(_WHITENING)
    return load_whitening(path)


def load_whitening(path: pathlib.Path) -> Whitening:
    """The whitening of a store."""
    try:
        with np.load(path) as arrays:
            return Whitening(**arrays)
    except Exception as error:  # damaged files make NumPy raise many types
        raise UserError(f"{path} cannot be read ({error}); delete it to have it fitted again") from error


def _programs(config, data: RealSet, whitening: Whitening, limits: Limits) -> caching.Programs:
    settings, objective = config.distill, runs.build_objective(config, limits.classes_max)
    rate = optimisers.cosine(settings.rate, settings.uses, settings.final)
    recipe = caching.Recipe(
        objective,
        optimisers.build(settings.optimiser, rate),
        settings.uses,
        settings.batch or limits.images,
        config.subsets.views,
        config.subsets.policy,
        config.mirror,
        config.network.cache_dtype,
    )
    variables = streams.fixed_network(objective.network, runs.fixed_key(config), data.image_shape)
    return caching.Programs(recipe, variables, whitening, jax.local_devices(), config.compute.dispatch)


def fill(cache: Cache, count: int | None = None) -> None:
    """Distil the subsets that the store lacks and that no other process is at.

    Args:
        cache: the store.
        count: how many subsets, from the first; None for all that the config asks for.

    Raises:
        UserError: a batch diverged, or the disk refuses; what was on disk is still there.
    """
    count = cache.config.subsets.count if count is None else count
    found = look(cache)
    began, total = time.monotonic(), sum(cache.bucket(index) for index in pending(cache, found, count))
    while batch := _claim(cache, found, count):
        remaining = sum(cache.bucket(index) for index in pending(cache, found, count))
        label = f"cache, {sum(len(shard.indices) for shard in found)} of {count} subsets done"
        if remaining < total:
            label += f", {progress.duration((time.monotonic() - began) * remaining / (total - remaining))} left"
        found.append(_distil(cache, batch, label))
        for index in batch:
            cache.claims.release(index)
    _tidy(cache.folder, {index for shard in found for index in shard.indices})


def _tidy(folder: pathlib.Path, done: set[int]) -> None:
    """Delete what is left of batches whose subsets are all in the store, packed otherwise on another machine, say."""
    for path in (folder / "running").glob("*/subsets.json"):
        # Whoever made it may be deleting it at this moment.
        batch = workdir.read(path)
        if batch is not None and done.issuperset(batch["subsets"]):
            shutil.rmtree(path.parent, ignore_errors=True)


def whole_shards(folder: pathlib.Path, known: Iterable[store.Shard] = ()) -> list[store.Shard]:
    """The store's shards; damaged ones are named and put aside, so that their subsets are made again."""
    found, damaged = store.shards(folder, known)
    for path, reason in damaged.items():
        print(f"{path} is damaged ({reason}): moved to {folder / 'damaged'}, its subsets are made again", flush=True)
    if damaged:
        store.set_aside(folder, damaged)
    return found


def look(cache: Cache) -> list[store.Shard]:
    """The store's whole shards, by now; a shard's bytes are checked once in a process."""
    cache.seen[:] = whole_shards(cache.folder, cache.seen)
    return list(cache.seen)


def pending(cache: Cache, found: Iterable[store.Shard], count: int) -> list[int]:
    """Which of the first `count` subsets are this process's to make and not in the store."""
    done = {index for shard in found for index in shard.indices}
    mine = range(jax.process_index(), count, jax.process_count())
    return [index for index in mine if index not in done]


def missing(cache: Cache, count: int) -> set[int]:
    """Which of the first `count` subsets no process has made yet."""
    return set(range(count)) - {index for shard in look(cache) for index in shard.indices}


def _claim(cache: Cache, found: list[store.Shard], count: int) -> list[int]:
    """Claim the next batch, subsets of one bucket; empty if nothing is left. `found` is brought up to date."""
    while True:
        batch: list[int] = []
        for index in pending(cache, found, count):
            fits = not batch or cache.bucket(index) == cache.bucket(batch[0])
            if fits and cache.claims.take(index):
                batch.append(index)
            if batch and len(batch) == cache.lanes(cache.bucket(batch[0])):
                break
        # Another process may have finished one between our look at the store and our claim.
        found[:] = look(cache)
        left = set(pending(cache, found, count)) & set(batch)
        for index in set(batch) - left:
            cache.claims.release(index)
        if left or not batch:
            return sorted(left)


def _distil(cache: Cache, batch: list[int], label: str) -> store.Shard:
    """Distil a batch of subsets and add them to the store."""
    began, compiled = time.monotonic(), progress.compile_clock.programs
    subsets = [cache.sampler.draw(index) for index in batch]
    programs, bucket = cache.programs, cache.bucket(batch[0])
    lanes = programs.place(lanes_of(cache, subsets, bucket))
    features = programs.features(lanes, cache.chunk(bucket))
    before = programs.losses(lanes.start, features, lanes)
    preparing = time.monotonic() - began
    # How many lanes there are is in the name because checkpoints hold all of them.
    packing = json.dumps([batch, len(before)])
    scratch = cache.folder / "running" / hashlib.sha256(packing.encode()).hexdigest()[:16]
    workdir.write(scratch / "subsets.json", {"subsets": batch})
    resumable = Resumable(scratch, label, cache.config.distill.uses, cache.config.compute.checkpoint_seconds)
    start, state = resumable.restore(programs.init(lanes))
    state = resumable.follow(programs.run(lanes, features, programs.place(state), start))
    loss = np.stack([before, programs.losses(state.synthetic, features, lanes)], axis=-1)
    made = {
        "seconds": round(preparing + resumable.seconds, 2),
        "compile_seconds": round(resumable.compile_seconds, 2),
        "programs_compiled": progress.compile_clock.programs - compiled,
        "bucket": bucket,
        "lanes": len(before),
    }
    images, targets = np.asarray(state.synthetic.images), np.asarray(state.synthetic.labels)
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


def lanes_of(cache: Cache, subsets: list[Subset], bucket: int) -> caching.Lanes:
    """Subsets padded to a bucket's shape, and repeated to its number of lanes."""
    root = runs.purpose_key(cache.config.seed, "cache")
    padded = [
        caching.lane(
            cache.data.train_images[subset.rows],
            subset.labels,
            subset.start,
            jax.random.fold_in(root, subset.index),
            whitening=cache.whitening,
            real=cache.real_rows(bucket),
            rows=bucket,
            classes=cache.sampler.limits.classes_max,
        )
        for subset in subsets
    ]
    return caching.stack([padded[lane % len(padded)] for lane in range(cache.lanes(bucket))])
