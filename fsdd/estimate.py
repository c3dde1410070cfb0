"""What a run will take, from counted passes of images and one timed pass on this machine."""

import collections
import itertools
import math
import shutil
import time

import flax.linen as nn
import jax
import numpy as np

from fsdd import config as configs
from fsdd import run as runs
from fsdd.cache import Cache, lanes_of
from fsdd.evaluation import training
from fsdd.io import progress
from fsdd.networks import sampling
from fsdd.run import Run

# A pass back to the images costs about as much as the pass forward, one to the weights twice as much.
_THERE_AND_BACK, _TRAINING = 2, 3


def seconds_per_image(network: nn.Module, chunk: jax.Array) -> float:
    """Wall seconds of one image's pass forward; `chunk` holds as many as pass at once, `[n, h, w, c]`."""
    variables = sampling.sample(network, jax.random.key(0), chunk.shape[1:])
    forward = jax.jit(lambda variables, images: sampling.features(network, variables, images))
    jax.block_until_ready(forward(variables, chunk))
    times = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(forward(variables, chunk))
        times.append(time.perf_counter() - began)
    return float(np.median(times)) / len(chunk)


def passes(run: Run) -> dict[str, int]:
    """Passes of one image forward, or as much work, in each stage that is not done yet and in the evaluation."""
    config, data = run.config, run.data
    images = config.ipc * config.factor**2 * data.num_classes
    passing = images * (2 if config.objective.flip else 1)
    found = {}
    for stage in config.stages:
        if (run.folder / stage / "result.json").is_file():
            continue
        settings, steps = config[stage], configs.steps_of(config, stage)
        if stage == "bilevel":
            # Real images there and back to the weights; inner steps there, again, and back through their gradients.
            found[stage] = steps * ((1 + _TRAINING) * settings.batch + 4 * _THERE_AND_BACK * settings.inner * passing)
        elif stage == "frepo":
            trained = _TRAINING * min(images, settings.network_batch)
            found[stage] = steps * (settings.batch + _THERE_AND_BACK * passing + trained)
        else:
            real = settings.networks * (settings.real_images or len(data.train_labels))
            found[stage] = real + _THERE_AND_BACK * steps * passing
    steps = config.evaluate.steps or training.default_steps(images)
    one = _TRAINING * steps * min(images, config.evaluate.batch) + len(data.test_labels)
    found["evaluate"] = one * config.evaluate.networks * max(len(config.evaluate.stages), 1)
    return found


def describe(run: Run) -> str | None:
    """One line on what the stages that are left take on this machine, or None if that is under a minute."""
    each = seconds_per_image(run.objective.network, run.real.images[: run.config.compute.chunk])
    seconds = {stage: count * each for stage, count in passes(run).items()}
    total = sum(seconds.values())
    if total < 60:
        return None
    parts = ", ".join(f"{stage} {progress.duration(value)}" for stage, value in seconds.items())
    return f"this will take about {progress.duration(total)} here: {parts}"


def describe_cache(cache: Cache, left: list[int]) -> str:
    """Lines on what distilling the subsets `left` takes on this process's devices: disk, memory, time.

    The time is that of a step on the largest of them, measured here; real images count as what they are of one.
    """
    if not left:
        return "cache: all subsets are there"
    size = sum(_bytes(cache, index) for index in left)
    seconds, compiling = _cache_seconds(cache, left)
    lines = [
        f"cache: {len(left)} subsets to make: {size / 1e9:.2f} GB of store, {cache.programs.memory / 1e9:.2f} GB of "
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
    network = runs.build_objective(config, limits.classes_max, settings.width).network
    chunk = cache.whitening.apply(cache.data.train_images[: config.compute.chunk])
    each = seconds_per_image(network, chunk)
    rows = sum(cache.bucket(index) for index in range(config.subsets.count)) / config.subsets.count
    mirrored = 2 if config.objective.flip else 1
    networks = -(-settings.steps // settings.uses) * settings.subsets
    # A translator of width 64 costs about half a pass of a ConvNet of width 128, three times over to train it.
    translator = 0.5 * (128 / network.width) ** 2
    synthetic = settings.steps * settings.subsets * rows * (_THERE_AND_BACK * mirrored + translator * _TRAINING)
    seconds = each * (networks * settings.real_images + synthetic) / jax.device_count()
    return (
        f"pretrain: {settings.steps} steps on {settings.subsets} subsets each, {networks} networks, about "
        f"{progress.duration(seconds)} here"
    )


def _bytes(cache: Cache, index: int) -> int:
    classes, ipc = cache.sampler.shape(index)
    real = 12 * (cache.sampler.limits.images // classes) * classes
    return real + 4 * classes * ipc * (math.prod(cache.data.image_shape) + classes)


def _cache_seconds(cache: Cache, left: list[int]) -> tuple[float, float]:
    """Seconds of all batches, and of compiling."""
    counts = collections.Counter(map(cache.bucket, left))
    largest = max(counts)
    lanes = cache.programs.place(lanes_of(cache, [cache.sampler.draw(_first(cache, left, largest))], largest))
    room, marks = cache.programs.room(lanes), [(0, time.perf_counter())]
    for done, state, _ in itertools.islice(cache.programs.run(lanes, room, cache.programs.init(lanes)), 3):
        jax.block_until_ready(state)
        marks.append((done, time.perf_counter()))
    # The first dispatch compiles.
    first, last = (marks[at][1] - marks[at - 1][1] for at in (1, -1))
    one = last / (marks[-1][0] - marks[-2][0]) / (cache.lanes(largest) * largest)
    forward = one / (_THERE_AND_BACK * (2 if cache.config.objective.flip else 1))
    seconds = 0.0
    for bucket, count in counts.items():
        batches, lanes_at_once = -(-count // cache.lanes(bucket)), cache.lanes(bucket)
        real = cache.config.subsets.views * cache.real_rows(bucket) * forward
        seconds += batches * lanes_at_once * (cache.config.distill.uses * bucket * one + real)
    return seconds, len(counts) * (first - last)


def _first(cache: Cache, left: list[int], bucket: int) -> int:
    return next(index for index in left if cache.bucket(index) == bucket)
