"""What each field of a config may be: a predicate, and the words that say it."""

import math
from collections.abc import Callable
from typing import Any

from fsdd.core import augment, whitening
from fsdd.evaluation import material, training
from fsdd.methods import bilevel, optimisers, translation
from fsdd.networks import layers, registry

# Those that move on a stream of networks, and all.
STREAMED = ("distill", "translate", "refine")
STAGES = ("bilevel", *STREAMED, "frepo")
STARTS = ("random", "herding")
PRETRAINING = ("cache", "pretrain")
DTYPES = ("float32", "bfloat16")


def _one_of(choices) -> tuple[Callable, str]:
    return (lambda value: value in choices), f"one of {', '.join(map(str, choices))}"


def _at_least(low: float) -> tuple[Callable, str]:
    return (lambda value: _number(value) and value >= low), f"a number of at least {low}"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_POSITIVE = ((lambda value: _number(value) and value > 0), "a number above 0")
_SHARE = ((lambda value: _number(value) and 0 <= value < 1), "0 and numbers between 0 and 1")
_UP_TO_ONE = ((lambda value: _number(value) and 0 <= value <= 1), "a number from 0 to 1")
_BOOL = ((lambda value: isinstance(value, bool)), "True or False")
# What jax.random.key takes.
_SEED = ((lambda value: 0 <= value < 2**32), "a whole number from 0 to 2**32 - 1")
_IPCS = ((lambda value: all(isinstance(i, int) and i > 0 for i in value)), "a tuple of whole numbers above 0")
_CLASSES = (
    (
        lambda value: (
            len(value) != 1
            and len(set(value)) == len(value)
            and all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in value)
        )
    ),
    "(), or two or more different whole numbers from 0",
)
_WIDTHS = (
    (lambda value: len(value) == 3 and all(isinstance(i, int) and i > 0 for i in value)),
    "three whole numbers above 0",
)
_ORDER = (
    (
        lambda value: (
            any(all(stage in stages for stage in value) for stages in (STAGES, PRETRAINING))
            and len(set(value)) == len(value)
        )
    ),
    f"some or none of {', '.join(STAGES)}, each at most once, in the order to run them; or {', '.join(PRETRAINING)}",
)

RULES: dict[str, tuple[Callable, str]] = {
    "data_dir": ((lambda value: value is None or isinstance(value, str)), "the path of a folder"),
    "test_fraction": _SHARE,
    "validation_fraction": _SHARE,
    "image_size": _at_least(0),
    "classes": _CLASSES,
    "mirror": _BOOL,
    "labels": _one_of(material.LABELS),
    "ipc": _at_least(1),
    "start": _one_of(STARTS),
    "factor": _one_of((1, 2, 4)),
    "seed": _SEED,
    "whitening.kind": _one_of(whitening.KINDS),
    "whitening.regularisation": _POSITIVE,
    "network.width": _at_least(1),
    "network.depth": _at_least(1),
    "network.norm": _one_of(layers.NORMS),
    "network.initialisation": _one_of(layers.INITIALISATIONS),
    "network.dtype": _one_of(DTYPES),
    "network.cache_dtype": _one_of(DTYPES),
    "network.seed": _SEED,
    "objective.flip": _BOOL,
    "objective.scale": _POSITIVE,
    "objective.ridge": _POSITIVE,
    "stages": _ORDER,
    **{f"{stage}.{field}": _at_least(1) for stage in STREAMED for field in ("networks", "uses")},
    # None at all is a translation without adaptation.
    "translate.networks": _at_least(0),
    **{f"{stage}.{field}": _at_least(0) for stage in STREAMED for field in ("group", "real_images", "batch")},
    **{f"{stage}.optimiser": _one_of(optimisers.OPTIMISERS) for stage in STAGES},
    **{f"{stage}.rate": _POSITIVE for stage in STAGES},
    **{f"{stage}.final": _UP_TO_ONE for stage in STAGES},
    **{f"bilevel.{field}": _at_least(1) for field in ("steps", "inner", "batch")},
    "bilevel.inner_optimiser": _one_of(bilevel.OPTIMISERS),
    "bilevel.inner_rate": _POSITIVE,
    "bilevel.remat": _BOOL,
    **{f"frepo.{field}": _at_least(1) for field in ("steps", "batch", "pool", "updates", "network_batch")},
    "frepo.network_rate": _POSITIVE,
    "translate.warmup": _UP_TO_ONE,
    "translate.label_rate": _POSITIVE,
    "translate.ipcs": _IPCS,
    **{f"subsets.{field}": _at_least(1) for field in ("count", "images", "synthetic", "views", "buckets")},
    **{f"subsets.{field}": _at_least(2) for field in ("classes_min", "classes_max")},
    **{
        f"pretrain.{field}": _at_least(1)
        for field in ("steps", "subsets", "uses", "group", "real_images", "rounds", "held_out", "every")
    },
    "pretrain.width": _at_least(0),
    "pretrain.scaled": _BOOL,
    "pretrain.optimiser": _one_of(optimisers.OPTIMISERS),
    "pretrain.rate": _POSITIVE,
    "pretrain.final": _UP_TO_ONE,
    "pretrain.warmup": _UP_TO_ONE,
    "subsets.policy": _one_of(augment.POLICIES),
    "translator.widths": _WIDTHS,
    "translator.stride": _one_of((1, 2, 4)),
    "translator.statistics": _one_of(translation.STATISTICS),
    "autoencoder.steps": _at_least(1),
    "autoencoder.batch": _at_least(1),
    "autoencoder.rate": _POSITIVE,
    "evaluate.networks": _at_least(0),
    "evaluate.architecture": _one_of(registry.ARCHITECTURES),
    "evaluate.width": _at_least(0),
    "evaluate.depth": _at_least(1),
    "evaluate.norm": _one_of(layers.NORMS),
    "evaluate.initialisation": _one_of(layers.INITIALISATIONS),
    "evaluate.optimiser": _one_of(optimisers.OPTIMISERS),
    "evaluate.rate": _POSITIVE,
    "evaluate.weight_decay": _at_least(0),
    "evaluate.schedule": _one_of(training.SCHEDULES),
    "evaluate.policy": _one_of(augment.POLICIES),
    "evaluate.mean_over_classes": _BOOL,
    "evaluate.images": _one_of(material.IMAGES),
    "evaluate.labels": _one_of(material.LABELS),
    "evaluate.loss": _one_of(training.LOSSES),
    "evaluate.batch": _at_least(1),
    "evaluate.steps": _at_least(0),
    "compute.chunk": _at_least(1),
    "compute.dispatch": _at_least(1),
    "compute.networks_at_once": _at_least(1),
    "compute.lane_images": _at_least(1),
    "compute.checkpoint_seconds": _at_least(0),
}
