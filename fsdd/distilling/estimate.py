"""What a run will take, from counted passes of images and one timed pass on this machine."""

from fsdd import config as configs
from fsdd.assembly import scorers, timing, translators
from fsdd.config import Resolved
from fsdd.config.registry import TRAINING
from fsdd.core.synthetic_set import encode
from fsdd.distilling.context import Context
from fsdd.evaluation import training_recipes
from fsdd.io import progress
from fsdd.methods import translation


def moved_images(config: Resolved, classes: int, stage: str) -> list[int]:
    """How many images each set has that a stage moves: those of several IPCs until a translator has seen them.

    Sets of several seeds count as one.
    """
    translates = "translate" in config.stages
    several = config.translate.ipcs if translates else ()
    if configs.stages()[stage].moves_all_ipcs:
        ipcs = several or (config.ipc,)
    elif translates and config.stages.index(stage) < config.stages.index("translate"):
        ipcs = {config.ipc, *several}
    else:
        ipcs = (config.ipc,)
    return [ipc * config.factor**2 * classes * max(len(config.seeds), 1) for ipc in ipcs]


def count_passes(context: Context) -> dict[str, int]:
    """Passes of one image forward through a network, or as much work, in stages not done yet and in the evaluation."""
    config, data = context.config, context.data
    counts = {
        stage: configs.stages()[stage].passes(
            config, moved_images(config, data.num_classes, stage), len(data.train_labels)
        )
        for stage in config.stages
        if not (context.folder / stage / "result.json").is_file()
    }
    return counts | {"evaluate": evaluation_passes(config, data.num_classes, len(data.test_labels))[0]}


def evaluation_passes(config: Resolved, classes: int, test_images: int) -> tuple[int, int]:
    """Passes of one image forward that the evaluation equals, and the steps of all its networks."""
    images = config.ipc * config.factor**2 * classes
    networks = config.evaluate.networks * max(len(config.evaluate.stages), 1) * max(len(config.seeds), 1)
    _, recipe = scorers.build_scorer(config, classes)
    steps = training_recipes.steps_of(recipe, images)
    one = TRAINING * steps * min(images, config.evaluate.batch) + test_images
    return one * networks, steps * networks


def describe(context: Context) -> str | None:
    """One line on what the stages that are left take on this machine, or None if that is under a minute."""
    config, data, images = context.config, context.data, context.real.images
    network, dtype = context.objective.real_network, config.network.cache_dtype
    each = timing.seconds_per_image(network, images, config.compute.chunk, dtype)
    seconds = {stage: count * each for stage, count in count_passes(context).items()}
    if seconds.get("translate"):
        translator = translators.build(config, config.translate.init, data.image_shape[-1])
        moved = moved_images(config, data.num_classes, "translate")
        like = encode(images[: min(moved[0], translation.CHUNK)], config.factor)
        one = timing.translator_seconds_per_image(translator, like, config.factor)
        seconds["translate"] += TRAINING * configs.steps_of(config, "translate") * sum(moved) * one
    total = sum(seconds.values())
    if total < 60:
        return None
    parts = ", ".join(f"{stage} {progress.duration(value)}" for stage, value in seconds.items())
    line = f"this will take about {progress.duration(total)} here: {parts}"
    if "refine" in seconds:
        others = count_budget_passes(config, data.num_classes, len(images))
        named = ", ".join(f"{budget} {progress.duration(count * each)}" for budget, count in others.items())
        line += f"; refine by another config.budget: {named}"
    return line


def count_budget_passes(config: Resolved, classes: int, real: int) -> dict[str, float]:
    """Passes that `refine` equals by each budget that a config does not have, of so many classes and real images."""
    stage, images = configs.stages()["refine"], moved_images(config, classes, "refine")
    others = [budget for budget in configs.BUDGETS if budget != config.budget]
    return {budget: stage.passes(configs.with_budget(config, budget), images, real) for budget in others}
