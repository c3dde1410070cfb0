"""What a run will take, from counted passes of images and one timed pass on this machine."""

import time

import jax
import numpy as np

from fsdd.evaluation import training
from fsdd.networks import sampling
from fsdd.run import Run

# A pass back to the images costs about as much as the pass forward, one to the weights twice as much.
_THERE_AND_BACK, _TRAINING = 2, 3


def seconds_per_image(run: Run) -> float:
    """Wall seconds of one image's pass forward, in chunks as real images go."""
    chunk = run.real.images[: run.config.compute.chunk]
    variables = sampling.sample(run.objective.network, jax.random.key(0), run.data.image_shape)
    forward = jax.jit(lambda variables, images: sampling.features(run.objective.network, variables, images))
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
    images = config.ipc * data.num_classes
    found = {}
    for stage in config.stages:
        if (run.folder / stage / "result.json").is_file():
            continue
        settings = config[stage]
        real = settings.networks * (settings.real_images or len(data.train_labels))
        synthetic = settings.networks * settings.uses * images * (2 if config.objective.flip else 1)
        found[stage] = real + _THERE_AND_BACK * synthetic
    steps = config.evaluate.steps or training.default_steps(images)
    one = _TRAINING * steps * min(images, config.evaluate.batch) + len(data.test_labels)
    found["evaluate"] = one * config.evaluate.networks * max(len(config.evaluate.stages), 1)
    return found


def describe(run: Run) -> str | None:
    """One line on what the stages that are left take on this machine, or None if that is under a minute."""
    each = seconds_per_image(run)
    seconds = {stage: count * each for stage, count in passes(run).items()}
    total = sum(seconds.values())
    if total < 60:
        return None
    parts = ", ".join(f"{stage} {_minutes(value)}" for stage, value in seconds.items())
    return f"this will take about {_minutes(total)} here: {parts}"


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
