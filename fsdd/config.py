"""How a config is completed and checked; `fields.py` has what there is to set."""

import copy
import difflib
import re
from typing import Any

import jax
import ml_collections

from fsdd.errors import UserError
from fsdd.fields import default
from fsdd.presets import METHODS, PLATFORM, PROTOCOLS
from fsdd.rules import PRETRAINING, RULES, STAGES, STREAMED

# The most networks that a group of 0 holds: with the features of 1,024 real images at width 128, 4 GB.
_HELD = 125


def few_networks(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Set the recipe for images of full size that was best under 10 minutes on 2 cores (experiments/README.md).

    Networks are used more than once, which costs their real features only once: 125 for refinement, 8 uses each. The
    translator is left out until a pre-trained one earns its place: a fresh one (`method` with "translate" in it) does
    best with 25 networks, a warm-up and a higher rate than the paper's, which adapts a pre-trained one.
    """
    values = {
        "method": "refine",
        "translate.networks": 25,
        "translate.uses": 40,
        "translate.group": 0,
        "translate.rate": 3e-3,
        "translate.final": 0.01,
        "translate.warmup": 0.2,
        "refine.networks": 125,
        "refine.uses": 8,
        "refine.group": 0,
    }
    config.update_from_flattened_dict(values)
    return config


def flat(config: ml_collections.ConfigDict | dict, prefix: str = "") -> dict[str, Any]:
    """Dotted field names and their values, in order."""
    fields = {}
    for name, value in config.items():
        if isinstance(value, ml_collections.ConfigDict | dict):
            fields |= flat(value, f"{prefix}{name}.")
        else:
            fields[f"{prefix}{name}"] = value
    return fields


def resolve(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """A validated copy in which the protocol and the platform have filled what was left open.

    Raises:
        UserError: a field is unknown, of the wrong type or impossible.
    """
    _check_names(config)
    config = copy.deepcopy(config)
    for field, known in (("protocol", PROTOCOLS), ("method", METHODS)):
        if config[field] not in known:
            raise _bad(field, config[field], f"one of {', '.join(known)}")
    column = 0 if jax.default_backend() == "cpu" else 1
    filling = PROTOCOLS[config.protocol] | {name: values[column] for name, values in PLATFORM.items()}
    filling["stages"] = METHODS[config.method]
    filling["mirror"] = re.split("[:/.]", config.dataset)[0] not in _NOT_MIRRORED
    mirrored = filling["mirror"] if config.mirror is None else config.mirror
    filling["objective.flip"] &= mirrored and not _regresses_without(config)
    fields = flat(config)
    config.update_from_flattened_dict({name: value for name, value in filling.items() if fields[name] is None})
    _check_values(config)
    for stage in STREAMED:
        if not config[stage].group:
            networks = max(config[stage].networks, 1)
            config[stage].group = max(held for held in range(1, _HELD + 1) if networks % held == 0)
    return config.lock()


def defaults() -> dict[str, Any]:
    """What each field is unless a config says otherwise, by its dotted name."""
    return flat(resolve(default()))


# Sets of digits, letters and the like, whose mirror images are none: by TFDS's names, or as files and folders.
_NOT_MIRRORED = ("digits", "mnist", "fashion_mnist", "kmnist", "emnist", "svhn_cropped")


def _regresses_without(config: ml_collections.ConfigDict) -> bool:
    # FRePo's JAX code does not regress on mirror images of CIFAR-100 at 10 and 50 images a class.
    return config.protocol == "jax" and config.dataset.startswith("cifar100") and config.ipc in (10, 50)


def _bad(field: str, value: Any, allowed: str) -> UserError:
    return UserError(f"config.{field} is {value!r}; allowed: {allowed}")


def unknown(name: str) -> UserError:
    """What to raise for a field that does not exist; it names those that are spelled alike."""
    fields = flat(default())
    near = difflib.get_close_matches(name, fields, cutoff=0.5) or [field for field in fields if "." not in field]
    return UserError(f"config.{name} is not a field; allowed: {', '.join(near)}, ... (all are in fsdd/fields.py)")


def _check_names(config: ml_collections.ConfigDict) -> None:
    if not isinstance(config, ml_collections.ConfigDict):
        raise UserError(f"the config is a {type(config).__name__}; allowed: the ConfigDict of fsdd.config.default()")
    known, given = flat(default()), flat(config)
    for name in given:
        if name not in known:
            raise unknown(name)
    for name, value in known.items():
        if name not in given:
            raise UserError(f"config.{name} is missing; start from fsdd.config.default()")
        wrong = value is not None and not isinstance(given[name], (type(value), *((int,) * isinstance(value, float))))
        if wrong or (value is not None and isinstance(given[name], bool) != isinstance(value, bool)):
            raise _bad(name, given[name], f"a value of type {type(value).__name__}")


def _check_values(config: ml_collections.ConfigDict) -> None:
    fields = flat(config)
    for name, (holds, allowed) in RULES.items():
        if not holds(fields[name]):
            raise _bad(name, fields[name], allowed)
    for stage in STREAMED:
        if config[stage].group and config[stage].networks % config[stage].group:
            raise _bad(
                f"{stage}.group", config[stage].group, f"a divisor of {stage}.networks = {config[stage].networks}"
            )
    for name in config.evaluate.stages:
        _check_evaluated(config, name)
    for stage in ("bilevel", *PRETRAINING):
        if stage in config.stages and config.labels != "learned":
            raise _bad("labels", config.labels, f"learned with the stage {stage}")
    if "bilevel" in config.stages and config.stages.index("bilevel"):
        raise _bad("stages", config.stages, "bilevel first: it makes the network that distill then uses")
    if config.stages and set(config.stages) <= set(PRETRAINING):
        # Subsets start as random images of full size.
        for field, only in (("factor", 1), ("start", "random")):
            if config[field] != only:
                raise _bad(field, config[field], f"{only} where stages are {', '.join(PRETRAINING)}")
    if config.translate.ipcs and "distill" not in config.stages:
        raise _bad("translate.ipcs", config.translate.ipcs, "() unless the stage distill is run")


def marks(config: ml_collections.ConfigDict, stage: str) -> tuple[int, ...]:
    """The steps of a stage at which its set is kept, in order: those that `evaluate.stages` asks for as STAGE@STEP."""
    named = (name.partition("@") for name in config.evaluate.stages)
    return tuple(sorted({int(step) for of, _, step in named if of == stage and step}))


def steps_of(config: ml_collections.ConfigDict, stage: str) -> int:
    """How many steps a stage takes."""
    settings = config[stage]
    return settings.networks * settings.uses if stage in STREAMED else settings.steps


def _check_evaluated(config: ml_collections.ConfigDict, name: str) -> None:
    stage, at, step = name.partition("@")
    plain = step.isdecimal() and step == str(int(step))
    within = not at or (plain and stage in STAGES and 0 < int(step) < steps_of(config, stage))
    if stage not in ("start", *config.stages) or (at and stage == "start") or not within:
        allowed = f"some of start, {', '.join(config.stages)}, or STAGE@STEP, its set after so many of its steps"
        raise _bad("evaluate.stages", config.evaluate.stages, allowed)
