"""From a resolved config to the networks that score a synthetic set, and how they are trained on it."""

import dataclasses

import flax.linen as nn

from fsdd.config import Resolved
from fsdd.evaluation import training
from fsdd.networks import architectures


def build_scorer(config: Resolved, num_classes: int) -> tuple[nn.Module, training.Recipe]:
    """The evaluation network of a config, and its training recipe."""
    settings = config.evaluate
    network = architectures.build(
        settings.architecture,
        num_classes,
        width=settings.width or (config.network.width if settings.architecture in architectures.CONVNETS else 0),
        depth=settings.depth,
        norm=settings.norm,
        initialisation=settings.initialisation,
    )
    fields = {field.name for field in dataclasses.fields(training.Recipe)} - {"mirror"}
    return network, training.Recipe(**{name: settings[name] for name in fields}, mirror=config.mirror)
