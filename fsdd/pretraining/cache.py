"""What all batches of a store share: the big set, its whitening, its subsets and what distils them."""

import dataclasses
import math
import pathlib
from collections.abc import Iterable
from typing import Any

import jax

from fsdd import config as configs
from fsdd.assembly import keys, objectives, real_sets
from fsdd.config import Resolved
from fsdd.core.whitening import Whitening
from fsdd.data import real_set
from fsdd.data.real_set import RealSet
from fsdd.io import notes, provenance, shared_store, whitening_files, workdir
from fsdd.methods import optimisers, streams
from fsdd.methods.lanes import LaneDistiller, Recipe
from fsdd.pretraining import store
from fsdd.pretraining.subsets import Limits, Sampler

# The claim of whoever fits the whitening; subsets have lower numbers.
_WHITENING = 2**40
_SECTIONS = ("dataset", "image_size", "pixel_range", "alpha_background", "mirror", "seed")
_SECTIONS += ("whitening", "network", "objective", "distill", "subsets")
# Subset j of N may be made whatever N is; how they are packed changes nothing in them.
_FREE = ("subsets.count", "subsets.buckets")


@dataclasses.dataclass(frozen=True)
class Cache:
    """What the batches of a store share.

    Attributes:
        config: resolved.
        folder: the store.
        data: the big set in host memory.
        whitening: fitted on its training split, once for the store.
        sampler: draws its subsets.
        distiller: distils them on this process's devices.
        claims: of this process.
        seen: shards that this process has found whole and need not read again; `read_shards` keeps it up to date.
    """

    config: Resolved
    folder: pathlib.Path
    data: RealSet
    whitening: Whitening
    sampler: Sampler
    distiller: LaneDistiller
    claims: shared_store.Claims
    seen: list[store.Shard] = dataclasses.field(default_factory=list)

    @property
    def devices(self) -> int:
        """Devices of this process."""
        return self.distiller.mesh.size

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


def prepare(config: Resolved, folder: pathlib.Path) -> Cache:
    """Check the config against itself, the store and the data, and open the store.

    Args:
        config: resolved.
        folder: the workdir; the store is `<folder>/cache`.

    Raises:
        UserError: something does not fit; nothing on disk has changed then.
    """
    workdir.check_place(folder)
    folder = folder / "cache"
    card = workdir.read(folder / "card.json", {"config": dict, "set": dict})
    fields = store_fields(config)
    made_with = configs.compatible(card and card.get("config"), fields)
    # The data themselves show whether they are the same, wherever they lie.
    workdir.compare(folder, made_with and made_with | {"dataset": config.dataset}, fields)
    data = real_sets.load_real_set(config)
    real_sets.check_images(config, data)
    limits = Limits(*(config.subsets[field.name] for field in dataclasses.fields(Limits)))
    sampler = Sampler(data.train_labels, data.num_classes, limits, config.seed)
    for note in sampler.notes:
        notes.say(note)
    big_set, stored = identity(data), (card or {}).get("set")
    if stored and real_set.are_same(stored, big_set):
        big_set = stored
    elif card:
        workdir.compare(folder, {"dataset": made_with and made_with["dataset"]}, {"dataset": config.dataset})
        workdir.compare(folder, stored, big_set, f"another {config.dataset}: its ")
    workdir.create(folder)
    if card is None:
        made = {
            "config": fields,
            "real_dtype": config.compute.real_dtype,
            "data_dir": config.data_dir,
            "classes": list(config.classes),
            "set": big_set,
        }
        workdir.write(folder / "card.json", made | provenance.summary())
    claims = shared_store.Claims(folder)
    whitening = _fit_whitening(config, data, big_set, folder, claims)
    distiller = _build_distiller(config, data, whitening, sampler.limits)
    return Cache(config, folder, data, whitening, sampler, distiller, claims)


def made_of(folder: pathlib.Path) -> str | None:
    """The dataset, as it was spelled, of which a workdir's store was made; None if there is no store."""
    card = workdir.read(folder / "cache" / "card.json")
    return card and card.get("config", {}).get("dataset")


def store_fields(config: Resolved) -> dict[str, Any]:
    """The fields that what is in a store depends on."""
    return configs.select(config, _SECTIONS, without=_FREE)


def identity(data: RealSet) -> dict[str, Any]:
    """What tells a big set from another: of its test split, which no subset has an image of, nothing."""
    return {name: value for name, value in data.identity().items() if not name.startswith("test_")}


def _fit_whitening(
    config: Resolved, data: RealSet, big_set: dict[str, Any], folder: pathlib.Path, claims: shared_store.Claims
) -> Whitening:
    """The store's whitening: fitted by the first process, since another's rounding may differ."""
    settings = config.whitening
    claims.take(_WHITENING, wait=True)
    try:
        path = folder / "whitening.npz"
        return whitening_files.fit_once(path, data.train_images, big_set, settings.kind, settings.regularisation)
    finally:
        claims.release(_WHITENING)


def _build_distiller(config: Resolved, data: RealSet, whitening: Whitening, limits: Limits) -> LaneDistiller:
    settings, objective = config.distill, objectives.build_objective(config, limits.classes_max)
    rate = optimisers.cosine(settings.rate, settings.steps, settings.final)
    recipe = Recipe(
        objective,
        optimisers.build(settings.optimiser, rate),
        settings.steps,
        settings.batch or limits.images,
        config.subsets.views,
        config.subsets.policy,
        config.mirror,
        config.network.cache_dtype,
    )
    variables = streams.fixed_network(objective.network, keys.fixed_network_key(config), data.image_shape)
    return LaneDistiller(recipe, variables, whitening, jax.local_devices(), config.compute.dispatch)


def read_whole_shards(folder: pathlib.Path, known: Iterable[store.Shard] = ()) -> list[store.Shard]:
    """The store's shards; damaged ones are named and put aside, so that their subsets are made again."""
    whole, damaged = store.shards(folder, known)
    for path, reason in damaged.items():
        notes.say(f"{path} is damaged ({reason}): moved to {folder / 'damaged'}, its subsets are made again")
    if damaged:
        shared_store.set_aside(folder, damaged)
    return whole


def read_shards(cache: Cache) -> list[store.Shard]:
    """The store's whole shards, by now; a shard's bytes are checked once in a process."""
    cache.seen[:] = read_whole_shards(cache.folder, cache.seen)
    return list(cache.seen)


def pending(cache: Cache, shards: Iterable[store.Shard], count: int) -> list[int]:
    """Which of the first `count` subsets are this process's to make and not in the store."""
    done = {index for shard in shards for index in shard.indices}
    mine = range(jax.process_index(), count, jax.process_count())
    return [index for index in mine if index not in done]


def missing(cache: Cache, count: int) -> set[int]:
    """Which of the first `count` subsets no process has made yet."""
    return set(range(count)) - {index for shard in read_shards(cache) for index in shard.indices}
