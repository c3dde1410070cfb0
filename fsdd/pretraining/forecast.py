"""What caching and pre-training will take, from a few steps timed on this machine."""

import collections
import itertools
import math
import shutil
import time

import jax
import jax.numpy as jnp

from fsdd.assembly import objectives, timing, translators
from fsdd.config.registry import THERE_AND_BACK, TRAINING
from fsdd.io import progress
from fsdd.pretraining.cache import Cache
from fsdd.pretraining.filling import stack_lanes


def describe_cache(cache: Cache, left: list[int]) -> str:
    """Lines on what distilling the subsets `left` takes on this process's devices: disk, memory, time.

    The time is that of a step on the largest of them, measured here; real images count as what they are of one.
    """
    if not left:
        return "cache: nothing is left for this process to make"
    size = sum(_bytes(cache, index) for index in left)
    seconds, compiling, memory = _time_step(cache, left)
    lines = [
        f"cache: {len(left)} subsets to make: {size / 1e9:.2f} GB of store, {memory / 1e9:.2f} GB of "
        f"memory on each of {cache.devices} devices, about {progress.duration(seconds)} (and "
        f"{progress.duration(compiling)} of compiling)"
    ]
    if (free := shutil.disk_usage(cache.folder).free) < size:
        lines.append(f"cache: only {free / 1e9:.2f} GB of disk are free; it will stop when they are used up")
    return "\n".join(lines)


def describe_pretraining(cache: Cache) -> str:
    """One line on what pre-training takes on this process's devices, once the store is full."""
    config = cache.config
    settings, limits = config.pretrain, cache.sampler.limits
    network = objectives.build_objective(config, limits.classes_max, settings.width).real_network
    chunk = jnp.asarray(cache.whitening.apply(cache.data.train_images[: config.compute.chunk]))
    each = timing.seconds_per_image(network, chunk, len(chunk), config.network.cache_dtype)
    rows = sum(cache.bucket(index) for index in range(config.subsets.count)) / config.subsets.count
    mirrored = 2 if config.objective.flip else 1
    drawn = -(-settings.steps // settings.uses) * settings.subsets
    translator = translators.build(config, settings.init, chunk.shape[-1])
    translated = TRAINING * timing.translator_seconds_per_image(translator, chunk[: math.ceil(rows)])
    synthetic = settings.steps * settings.subsets * rows * (each * THERE_AND_BACK * mirrored + translated)
    seconds = (each * drawn * settings.real_images + synthetic) / jax.device_count()
    return (
        f"pretrain: {settings.steps} steps on {settings.subsets} subsets each, {drawn} networks, about "
        f"{progress.duration(seconds)} here"
    )


def _bytes(cache: Cache, index: int) -> int:
    classes, ipc = cache.sampler.shape(index)
    real = 12 * (cache.sampler.limits.images // classes) * classes
    return real + 4 * classes * ipc * (math.prod(cache.data.image_shape) + classes)


def _time_step(cache: Cache, left: list[int]) -> tuple[float, float, int]:
    """Seconds of all batches, seconds of compiling, and bytes of memory on each device."""
    counts = collections.Counter(map(cache.bucket, left))
    largest = max(counts)
    distiller = cache.distiller
    lanes = distiller.place(stack_lanes(cache, [cache.sampler.draw(_first(cache, left, largest))], largest))
    features, marks = distiller.empty_features(lanes), [(0, time.perf_counter())]
    memory = distiller.memory(lanes, features, distiller.init(lanes))
    for done, state, _ in itertools.islice(distiller.run(lanes, features, distiller.init(lanes)), 3):
        jax.block_until_ready(state)
        marks.append((done, time.perf_counter()))
    # The first dispatch compiles.
    first, last = (marks[at][1] - marks[at - 1][1] for at in (1, -1))
    one = last / (marks[-1][0] - marks[-2][0]) / (cache.lanes(largest) * largest)
    forward = one / (THERE_AND_BACK * (2 if cache.config.objective.flip else 1))
    seconds = 0.0
    for bucket, count in counts.items():
        batches, lanes_at_once = -(-count // cache.lanes(bucket)), cache.lanes(bucket)
        real = cache.config.subsets.views * cache.sampler.limits.images * forward
        seconds += batches * lanes_at_once * (cache.config.distill.steps * bucket * one + real)
    return seconds, len(counts) * (first - last), memory


def _first(cache: Cache, left: list[int], bucket: int) -> int:
    return next(index for index in left if cache.bucket(index) == bucket)
