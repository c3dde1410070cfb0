"""What a run will take, from counted passes of images and one timed pass on this machine."""

import time

import flax.linen as nn
import jax
import numpy as np

from fsdd import config as configs
from fsdd.evaluation import training
from fsdd.io import progress
from fsdd.networks import sampling
from fsdd.run import Run

# A pass back to the images costs about as much as the pass forward, one to the weights twice as much.
THERE_AND_BACK, TRAINING = 2, 3


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
            found[stage] = steps * ((1 + TRAINING) * settings.batch + 4 * THERE_AND_BACK * settings.inner * passing)
        elif stage == "frepo":
            trained = TRAINING * min(images, settings.network_batch)
            found[stage] = steps * (settings.batch + THERE_AND_BACK * passing + trained)
        else:
            real = settings.networks * (settings.real_images or len(data.train_labels))
            found[stage] = real + THERE_AND_BACK * steps * passing
    steps = config.evaluate.steps or training.default_steps(images)
    one = TRAINING * steps * min(images, config.evaluate.batch) + len(data.test_labels)
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
