"""Batches of cached subsets: which of a store's subsets a step sees, read and padded while the device works.

Batch number i is a function of (seed, i) and of how many subsets it may draw from. A process of a job reads only those
subsets of a batch that its own devices work on.
"""

from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from fsdd.assembly import keys
from fsdd.core.synthetic_set import centred_labels
from fsdd.errors import UserError
from fsdd.io import notes
from fsdd.methods import lanes
from fsdd.methods.translator_training import Batch, Schedule
from fsdd.pretraining import cache as caches
from fsdd.pretraining import real_images, store
from fsdd.pretraining.cache import Cache
from fsdd.pretraining.real_images import Pool

# One subset in so many is held out: the last of each ten, so that a store that grows holds out some at any size.
_HELD_OUT = 10
# Purposes within the stage's randomness. NumPy takes seeds that differ by zeros at the end for one: these come last.
_NETWORKS, _JUDGES, _CHOICE = 1, 2, 3


def least(count: int) -> int:
    """The fewest subsets of a store of `count` among which some are held out."""
    return min(_HELD_OUT, count)


def split(count: int) -> tuple[list[int], list[int]]:
    """Of the first `count` subsets of a store those to train on, and those held out."""
    held_out = [index for index in range(count) if index % _HELD_OUT == least(count) - 1]
    return sorted(set(range(count)) - set(held_out)), held_out


def choose(cache: Cache, visible: int, number: int) -> tuple[int, np.ndarray]:
    """The bucket of batch `number`, and its subsets: one at random, and others of its bucket."""
    rng = np.random.default_rng([cache.config.seed, number, _CHOICE])
    train, _ = split(visible)
    bucket = cache.bucket(int(rng.choice(train)))
    alike = [index for index in train if cache.bucket(index) == bucket]
    return bucket, rng.choice(alike, cache.config.pretrain.subsets)


def source(cache: Cache, visible: int) -> store.Source:
    """The subsets below `visible`, all of which have to be there.

    Raises:
        UserError: some are not.
    """
    if missing := caches.missing(cache, visible):
        raise UserError(
            f"{cache.folder} lacks {len(missing)} of the {visible} subsets that config.subsets.count asks for; run "
            "--stage=cache first, or both stages"
        )
    return store.Source(caches.read_shards(cache))


def stream(cache: Cache, visible: int, schedule: Schedule, start: int) -> Iterator[Batch]:
    """The batches that a schedule takes from step `start` on."""
    import grain

    subsets, pool_of = source(cache, visible), teaching(cache)
    root = jax.random.fold_in(keys.purpose_key(cache.config.seed, "pretrain"), _NETWORKS)

    def batch(number: int) -> Batch:
        bucket, chosen = choose(cache, visible, number)
        drawn = draw_keys(root, number, len(chosen)), (cache.config.seed, number, _NETWORKS)
        return stack(cache, subsets, chosen, bucket, *drawn, pool_of, mirror=cache.config.objective.flip)

    numbers = grain.MapDataset.range(
        schedule.first_batch(start), schedule.first_batch(schedule.steps - 1) + schedule.group
    )
    return iter(numbers.map(batch).to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=2)))


def teaching(cache: Cache) -> Callable[[store.Cached], Pool]:
    """The real images that the loss of a subset is taken on in training, as `pretrain.real` has it.

    Raises:
        UserError: a subset has all images of a class, where others are asked for.
    """
    if cache.config.pretrain.real == "own":
        return lambda cached: real_images.own(cache, cached)
    # Of the whole store, however much of it has been made: it is the same in each round.
    train, _ = split(cache.config.subsets.count)
    drawn = real_images.find_drawn(cache, train)
    real_images.check_unseen(cache, train, drawn)
    return lambda cached: real_images.unseen(cache, cached, drawn)


def held_out(cache: Cache, visible: int) -> Batch:
    """Subsets held out of the first `visible`, in networks that no step sees, on images that nothing learned from."""
    _, indices = split(visible)
    chosen = np.resize(indices, whole(min(len(indices), cache.config.pretrain.held_out)))
    bucket = max(cache.bucket(int(index)) for index in chosen)
    drawn = real_images.find_drawn(cache, split(cache.config.subsets.count)[0])
    learned_from = set()

    def pool_of(cached: store.Cached) -> Pool:
        pool, is_untouched = real_images.judging(cache, cached, drawn)
        learned_from.update(() if is_untouched else (cached.index,))
        return pool

    drawn_by = judges(cache.config, len(chosen)), (cache.config.seed, 0, _JUDGES)
    batch = stack(cache, source(cache, visible), chosen, bucket, *drawn_by, pool_of)
    if learned_from:
        notes.say(
            f"the curve judges {len(learned_from)} held-out subsets on images that other subsets have, too: "
            f"{cache.data.name} has no others of their classes"
        )
    return batch


def judges(config, count: int) -> np.ndarray:
    """Key data of the networks that judge."""
    return draw_keys(keys.purpose_key(config.seed, "pretrain"), _JUDGES, count)


def draw_keys(root: jax.Array, number: int, count: int) -> np.ndarray:
    """Data of `count` random keys, uint32 `[count, 2]`."""
    return np.asarray(jax.random.key_data(jax.random.split(jax.random.fold_in(root, number), count)))


def whole(count: int) -> int:
    """At least so many lanes, the same number on each device of the job."""
    return -(-count // jax.device_count()) * jax.device_count()


def local_lanes(lanes: int) -> range:
    """Which lanes of a batch this process's devices work on."""
    share = lanes // jax.process_count()
    return range(jax.process_index() * share, (jax.process_index() + 1) * share)


def stack(
    cache: Cache,
    subsets: store.Source,
    chosen: Sequence[int],
    bucket: int,
    key: np.ndarray,
    seed: Sequence[int],
    pool_of: Callable[[store.Cached], Pool],
    mirror: bool = False,
) -> Batch:
    """This process's share of the cached subsets `chosen`, padded to a bucket, with some images of its pool each.

    With `mirror`, each image of S' is mirrored or not, at random. A set that was distilled with its mirror image beside
    it is as good with any of its images mirrored: from a mirrored start the very same steps lead there. So the
    translator sees twice as many images at no cost.
    """
    most, real = cache.sampler.limits.classes_max, cache.config.pretrain.real_images
    parts = []
    for lane in local_lanes(len(chosen)):
        cached = subsets[subsets.indices.index(int(chosen[lane]))]
        rng = np.random.default_rng([*seed, 1 + lane])
        pixels, classes = pool_of(cached).draw(rng, real)
        images = cached.images
        if mirror:
            turned = rng.random(len(images)) < 0.5
            images = np.where(turned[:, None, None, None], images[:, :, ::-1], images)
        start, mask = lanes.padded(images, cached.targets, bucket, most)
        # A subset's classes are sorted.
        labels = centred_labels(np.searchsorted(cached.classes, classes), len(cached.classes))
        labels = np.pad(labels, ((0, 0), (0, most - labels.shape[1])))
        parts.append(Batch(start, mask, pixels, labels, key[lane]))
    return lanes.stack(parts)
