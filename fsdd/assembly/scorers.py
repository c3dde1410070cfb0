"""From a resolved config to the networks that score a synthetic set, and how they are trained on it."""

import dataclasses

import flax.linen as nn

from fsdd.config import Resolved
from fsdd.evaluation import training_recipes
from fsdd.networks import architectures

# The rate at which MTT's code trains networks that it is given no learned step size for.
_RATE = 0.01


def build_scorer(
    config: Resolved, num_classes: int, step_size: float | None = None
) -> tuple[nn.Module, training_recipes.Recipe]:
    """The evaluation network of a config, and its training recipe for a set with which a step size was learned."""
    settings = config.evaluate
    network = architectures.build(
        settings.architecture,
        num_classes,
        width=settings.width or (config.network.width if settings.architecture in architectures.CONVNETS else 0),
        depth=settings.depth,
        norm=settings.norm,
        initialisation=settings.initialisation,
    )
    fields = {field.name for field in dataclasses.fields(training_recipes.Recipe)} - {"mirror", "rate", "ridge"}
    rate = settings.rate or step_size or _RATE
    return network, training_recipes.Recipe(
        **{name: settings[name] for name in fields}, mirror=config.mirror, rate=rate, ridge=config.objective.ridge
    )
