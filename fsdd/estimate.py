"""What a run will take, from counted passes of images and one timed pass on this machine."""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from fsdd import config as configs
from fsdd import translators
from fsdd.core import compiling
from fsdd.evaluation import training
from fsdd.io import progress
from fsdd.methods import translation
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet
from fsdd.networks.translator import Translator
from fsdd.run import Run

# A pass back to the images costs about as much as the pass forward, one to the weights twice as much.
THERE_AND_BACK, TRAINING = 2, 3


def seconds_per_image(network: ConvNet, chunk: jax.Array) -> float:
    """Wall seconds of one image's pass forward; `chunk` holds as many as pass at once, `[n, h, w, c]`."""
    variables = _zeros(lambda key: sampling.sample(network, key, chunk.shape[1:]))
    return _seconds(lambda variables, images: sampling.features(network, variables, images), variables, chunk)


def translator_seconds_per_image(translator: Translator, chunk: jax.Array) -> float:
    """The same for a translator."""
    variables = _zeros(lambda key: translation.fresh(translator, key, chunk.shape[1:]))
    return _seconds(lambda variables, images: translator.apply(variables, images, train=False), variables, chunk)


def _zeros(fresh: Callable[[jax.Array], dict]) -> dict:
    """Variables of the shapes that `fresh` draws: images pass them in the same time, and they take none to make."""
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(fresh, jax.random.key(0)))


def _seconds(forward: Callable, variables: dict, chunk: jax.Array) -> float:
    """Median of three passes, by the image."""
    # Variables are arguments: constants of zero might be folded.
    forward, times = compiling.jit(forward), []
    jax.block_until_ready(forward(variables, chunk))
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(forward(variables, chunk))
        times.append(time.perf_counter() - began)
    return float(np.median(times)) / len(chunk)


def moved(run: Run, stage: str) -> list[int]:
    """How many images each set has that a stage moves: those of several IPCs until a translator has seen them."""
    config = run.config
    translates = "translate" in config.stages
    several = config.translate.ipcs if translates else ()
    if stage == "translate":
        ipcs = several or (config.ipc,)
    elif translates and config.stages.index(stage) < config.stages.index("translate"):
        ipcs = {config.ipc, *several}
    else:
        ipcs = (config.ipc,)
    return [ipc * config.factor**2 * run.data.num_classes for ipc in ipcs]


def passes(run: Run) -> dict[str, int]:
    """Passes of one image forward through a network, or as much work, in stages not done yet and in the evaluation."""
    config, data = run.config, run.data
    found, mirrored = {}, 2 if config.objective.flip else 1
    for stage in config.stages:
        if (run.folder / stage / "result.json").is_file():
            continue
        settings, steps, sets = config[stage], configs.steps_of(config, stage), moved(run, stage)
        passing = mirrored * sum(sets)
        if stage == "bilevel":
            # Real images there and back to the weights; inner steps there, again, and back through their gradients.
            real = (1 + TRAINING) * settings.batch * len(sets)
            found[stage] = steps * (real + 4 * THERE_AND_BACK * settings.inner * passing)
        elif stage == "frepo":
            trained = TRAINING * sum(min(images, settings.network_batch) for images in sets)
            found[stage] = steps * (settings.batch * len(sets) + THERE_AND_BACK * passing + trained)
        else:
            # All sets are translated in the same networks.
            times = 1 if stage == "translate" else len(sets)
            real = times * settings.networks * (settings.real_images or len(data.train_labels))
            found[stage] = real + THERE_AND_BACK * steps * passing
    images = config.ipc * config.factor**2 * data.num_classes
    steps = config.evaluate.steps or training.default_steps(images)
    one = TRAINING * steps * min(images, config.evaluate.batch) + len(data.test_labels)
    found["evaluate"] = one * config.evaluate.networks * max(len(config.evaluate.stages), 1)
    return found


def describe(run: Run) -> str | None:
    """One line on what the stages that are left take on this machine, or None if that is under a minute."""
    config, chunk = run.config, run.real.images[: run.config.compute.chunk]
    each = seconds_per_image(run.objective.network, chunk)
    seconds = {stage: count * each for stage, count in passes(run).items()}
    if seconds.get("translate"):
        translator = translators.build(config, config.translate.init, run.data.image_shape[-1])
        translated = configs.steps_of(config, "translate") * sum(moved(run, "translate"))
        seconds["translate"] += TRAINING * translated * translator_seconds_per_image(translator, chunk)
    total = sum(seconds.values())
    if total < 60:
        return None
    parts = ", ".join(f"{stage} {progress.duration(value)}" for stage, value in seconds.items())
    return f"this will take about {progress.duration(total)} here: {parts}"
