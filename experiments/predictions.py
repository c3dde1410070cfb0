"""What a run takes on a device, counted before it starts and without the device.

Work is counted in passes of one image forward through a network, as the estimate of a run counts it; a device is a few
measured rates. `tests/experiments/test_predictions.py` compares what this says with what runs have taken.
"""

import functools
import math
from collections.abc import Callable, Collection
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsdd import config as configs
from fsdd.assembly import objectives, scorers, translators
from fsdd.config import Resolved
from fsdd.config.registry import PRETRAINING, THERE_AND_BACK, TRAINING
from fsdd.distilling import estimate, memory
from fsdd.methods import translation
from fsdd.networks import sampling


class Device(NamedTuple):
    """Rates of a device.

    Attributes:
        flops: FLOP/s of networks, forward and back.
        dc_flops: the same of networks of DC's line, whose norm after each convolution moves more bytes.
        step: seconds of a step of S beside its FLOPs, of which the ridge head takes most.
        training_step: seconds of a step of a network in training beside its FLOPs.
        network: seconds of a fresh network beside its real features.
        program: seconds to compile a program.
        start: seconds until the first stage: imports, images, whitening.
        bytes: of its memory.
        side_by_side: how many runs share it.
    """

    flops: float
    dc_flops: float
    step: float
    training_step: float
    network: float
    program: float
    start: float
    bytes: float
    side_by_side: int


# Fitted to the runs in `results/cells_*.json`, of a CPU and an H100; those of the H200 to its steps in
# `results/engine_gpu.json`, and to rows of DC's line that ran three at a time.
DEVICES = {
    "h100": Device(5.5e13, 2.5e13, 2e-3, 4e-4, 5e-3, 15.0, 30.0, 78e9, 3),
    "h200": Device(1.3e14, 2.5e13, 4e-4, 4e-4, 5e-4, 15.0, 30.0, 139e9, 3),
    "cpu": Device(2.2e11, 1e11, 1e-2, 2e-3, 2e-2, 5.0, 15.0, 16e9, 1),
}
# What a process needs beside its large arrays: the runtime, programs, images of a chunk on their way.
BESIDE = 4e9


class Size(NamedTuple):
    """What of a real set decides how long runs on it take; `RealSet` has the same attributes."""

    image_shape: tuple[int, int, int]
    num_classes: int
    train_labels: range
    test_labels: range


SIZES = {
    "cifar10": Size((32, 32, 3), 10, range(50_000), range(10_000)),
    "cifar100": Size((32, 32, 3), 100, range(50_000), range(10_000)),
    "tiny_imagenet32": Size((32, 32, 3), 200, range(100_000), range(10_000)),
    "digits": Size((8, 8, 1), 10, range(1_437), range(360)),
}


class Prediction(NamedTuple):
    """What a run needs.

    Attributes:
        alone: seconds in which it does not need the device: its start, and compiling.
        busy: seconds of the device, of which runs side by side each get a part.
        bytes: of the device's memory.
    """

    alone: float
    busy: float
    bytes: float

    def seconds(self, together: int = 1) -> float:
        """Wall seconds beside `together - 1` others."""
        return self.alone + self.busy * together


def predict(config: Resolved, device: Device, done: Collection[str] = ()) -> Prediction:
    """What the stages of a config that are not `done`, and its evaluation, need.

    Raises:
        KeyError: the config's dataset is none of `SIZES`.
    """
    size, left = SIZES[config.dataset], [stage for stage in config.stages if stage not in done]
    if set(config.stages) & set(PRETRAINING):
        busy = sum(_pretraining_seconds(config, size, device, stage) for stage in left)
        held = _pretraining_bytes(config, size)
        # A program for each bucket of subsets, with that of its features; a step and its judge.
        programs = 2 * config.subsets.buckets + 2
    else:
        busy = sum(_stage_seconds(config, size, device, stage) for stage in left)
        busy += _evaluation_seconds(config, size, device)
        held = sum(array.bytes for array in memory.list_arrays(config, size))
        # Of a stage: real features and its step; of the evaluation: training and test.
        programs = 2 * len(left) + 2 * bool(config.evaluate.networks)
    return Prediction(device.start + device.program * programs, busy, BESIDE + held)


def stage_flops(config: Resolved, size: Size, stage: str) -> float:
    """FLOPs of all steps of a stage, as they are counted for estimates."""
    moved = estimate.moved_images(config, size.num_classes, stage)
    passes = configs.stages()[stage].passes(config, moved, len(size.train_labels))
    flops = passes * _flops(objectives.build_objective(config, size.num_classes).network, size.image_shape)
    if stage == "translate":
        translator = translators.build(config, config.translate.init, size.image_shape[-1])
        translated = TRAINING * configs.steps_of(config, stage) * sum(moved)
        flops += translated * _flops_of_translator(translator, size.image_shape)
    return flops


def _stage_seconds(config: Resolved, size: Size, device: Device, stage: str) -> float:
    steps = configs.steps_of(config, stage)
    rate = _rate(device, config.network.architecture)
    seconds = stage_flops(config, size, stage) / rate + steps * device.step
    # One network is no stream of fresh ones.
    networks = config[stage].get("networks", 1)
    return seconds + (networks * device.network if networks > 1 else 0)


def _evaluation_seconds(config: Resolved, size: Size, device: Device) -> float:
    scorer, _ = scorers.build_scorer(config, size.num_classes)
    passes, steps = estimate.evaluation_passes(config, size.num_classes, len(size.test_labels))
    rate = _rate(device, config.evaluate.architecture)
    return passes * _flops(scorer, size.image_shape) / rate + steps * device.training_step


def _rate(device: Device, architecture: str) -> float:
    return device.dc_flops if architecture == "dc_convnet" else device.flops


def _pretraining_seconds(config: Resolved, size: Size, device: Device, stage: str) -> float:
    """Caching distils every subset; pre-training then moves the translator on a few of them at a time."""
    settings, subsets = config.pretrain, config.subsets
    if stage == "cache":
        # Subsets are lanes of one program, so that a step's own seconds are those of all of them.
        own = subsets.count / _lanes(config) * config.distill.steps * device.step
        return caching_flops(config, size) / device.flops + own
    network = objectives.build_objective(config, subsets.classes_max, settings.width).network
    drawn = math.ceil(settings.steps / settings.uses) * settings.subsets * settings.real_images
    moved = THERE_AND_BACK * (1 + config.objective.flip) + TRAINING
    passes = drawn + settings.steps * settings.subsets * subsets.synthetic * moved
    return passes * _flops(network, size.image_shape) / device.flops + settings.steps * device.step


def caching_flops(config: Resolved, size: Size) -> float:
    """FLOPs of distilling all subsets of a store."""
    subsets, network = config.subsets, objectives.build_objective(config, config.subsets.classes_max).network
    synthetic = config.distill.steps * subsets.synthetic * THERE_AND_BACK * (1 + config.objective.flip)
    return subsets.count * (synthetic + subsets.views * subsets.images) * _flops(network, size.image_shape)


def _pretraining_bytes(config: Resolved, size: Size) -> float:
    """The real images, and the features of those of all subsets that are distilled at once."""
    network = objectives.build_objective(config, config.subsets.classes_max).network
    feature = sampling.feature_size(network, size.image_shape) * jnp.dtype(config.network.cache_dtype).itemsize
    kept = _lanes(config) * config.subsets.views * config.subsets.images * feature
    return 4.0 * len(size.train_labels) * math.prod(size.image_shape) + kept


def _lanes(config: Resolved) -> int:
    return max(config.compute.lane_images // config.subsets.synthetic, 1)


@functools.cache
def _flops(network: nn.Module, image_shape: tuple[int, int, int]) -> float:
    """FLOPs of an image's pass forward to its features."""
    return _count(
        lambda key: sampling.sample(network, key, image_shape),
        jax.jit(functools.partial(sampling.features, network)),
        image_shape,
    )


@functools.cache
def _flops_of_translator(translator: nn.Module, image_shape: tuple[int, int, int]) -> float:
    """FLOPs of an image's translation."""
    program = translation.translation_program(translator, 1)
    return _count(lambda key: translation.fresh(translator, key, image_shape), program, image_shape)


def _count(fresh: Callable, program: Callable, image_shape: tuple[int, int, int]) -> float:
    """FLOPs of the compiled `program(variables, images)` for one image, as XLA counts them."""
    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    variables = jax.eval_shape(fresh, jax.random.key(0))
    return float(program.lower(variables, image).cost_analysis()["flops"])
