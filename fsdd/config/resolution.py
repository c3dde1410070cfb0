"""How a config is completed and checked: from what somebody wrote to what every part of the program reads."""

import copy
import difflib
import math
from collections.abc import Collection, Mapping
from typing import Any

import ml_collections

from fsdd.config import dataset_names, legacy
from fsdd.config.fields import PROTOCOLS, ByBudget, ByPlatform, ByProtocol
from fsdd.config.registry import PRETRAINING, methods, protocol_of, stages
from fsdd.config.resolved import Resolved
from fsdd.config.table import default, table
from fsdd.errors import UserError

# The most networks that a group of 0 holds: with the features of 1,024 real images at width 128, 4 GB.
_HELD = 125


def resolve(config: ml_collections.ConfigDict) -> Resolved:
    """Check a config, and fill what it leaves open by its protocol, its method, its budget and the platform.

    Raises:
        UserError: a field is unknown, of the wrong type or impossible.
    """
    _check_names(config)
    given = flat(config)
    for name in ("protocol", "evaluate.protocol", "method", "stages", "dataset", "mirror", "ipc", "factor", "budget"):
        check_value(name, given[name])
    if given["method"] not in methods():
        raise bad_value("method", given["method"], f"one of {', '.join(methods())}")
    given["protocol"] = given["protocol"] or protocol_of(given["stages"] or methods()[given["method"]])
    given["evaluate.protocol"] = given["evaluate.protocol"] or given["protocol"]
    fields = {name: _fill(name, value, given) for name, value in given.items()}
    if given["objective.flip"] is None:
        fields["objective.flip"] = fields["mirror"] and not _skips_mirror_images(fields)
    for name in fields:
        check_value(name, fields[name])
    for section in _streamed():
        fields[f"{section}.group"] = _group(section, fields)
    complete = copy.deepcopy(config)
    complete.update_from_flattened_dict(fields)
    resolved = Resolved(complete)
    _check_stages(resolved)
    return resolved


def with_budget(config: Resolved, budget: str) -> Resolved:
    """A config with what a budget fills, also where it has values of its own: for counting work, and not to be run.

    Other fields stay as they are, also those that would not fit these: groups, networks per step, and marks.
    """
    given = flat(config) | {"budget": budget}
    filled = {name: _fill(name, None, given) for name, field in table().items() if isinstance(field.default, ByBudget)}
    complete = ml_collections.ConfigDict(config)
    complete.update_from_flattened_dict(filled | {"budget": budget})
    return Resolved(complete)


def replace(config: Resolved, fields: Mapping[str, Any]) -> Resolved:
    """A config with other values for some fields, by dotted name; those that get None are filled."""
    complete = default()
    complete.update_from_flattened_dict(flat(config) | fields)
    return resolve(complete)


def defaults(protocol: str | None = None) -> dict[str, Any]:
    """What each field is unless a config says otherwise, by its dotted name; `protocol` is the default one if None."""
    config = default()
    if protocol is not None:
        config.protocol = protocol
    return flat(resolve(config))


def flat(config: ml_collections.ConfigDict | dict, prefix: str = "") -> dict[str, Any]:
    """Dotted field names and their values, in order."""
    fields = {}
    for name, value in config.items():
        if isinstance(value, ml_collections.ConfigDict | dict):
            fields |= flat(value, f"{prefix}{name}.")
        else:
            fields[f"{prefix}{name}"] = value
    return fields


def select(config: Resolved, sections: Collection[str], without: Collection[str] = ()) -> dict[str, Any]:
    """The fields of some sections by dotted name: what a result depends on.

    Args:
        config: resolved.
        sections: names before the first dot; a field without a section is one of its own.
        without: dotted names of fields to leave out.
    """
    fields = flat(config)
    return {name: fields[name] for name in fields if name.partition(".")[0] in sections and name not in without}


def compatible(stored: dict[str, Any] | None, wanted: Collection[str]) -> dict[str, Any] | None:
    """The fields of a stored config for comparison with today's.

    A field that did not exist when it was stored had the value that it has by default in the stored protocol.
    """
    if stored is None:
        return None
    known = legacy.modernise(stored)
    protocol = str(known.get("protocol"))
    # One that does not exist differs from today's, whatever the other fields are.
    by_default = defaults(protocol if protocol in PROTOCOLS else None)
    return {name: value for name, value in by_default.items() if name in wanted} | known


def marks(config: Resolved, stage: str) -> tuple[int, ...]:
    """The steps of a stage at which its set is kept, in order: those that `evaluate.stages` asks for as STAGE@STEP."""
    named = (name.partition("@") for name in config.evaluate.stages)
    return tuple(sorted({int(step) for kept, _, step in named if kept == stage and step}))


def steps_of(config: Resolved, stage: str) -> int:
    """How many steps a stage takes."""
    return stages()[stage].steps(config[stage])


def check_value(name: str, value: Any) -> None:
    """Check that a field may have a value, whatever the others have.

    Raises:
        UserError: it may not.
    """
    field = table()[name]
    if not field.values.holds(value) and not (value is None and (field.optional or field.is_open)):
        raise bad_value(name, value, field.values.words)


def bad_value(field: str, value: Any, allowed: str) -> UserError:
    """What to raise for a value that a field may not have."""
    if change := legacy.describe_change(field, value):
        allowed = f"{allowed}; {change}"
    return UserError(f"config.{field} is {value!r}; allowed: {allowed}")


def unknown_field(name: str) -> UserError:
    """What to raise for a field that does not exist; it names those that are spelled alike."""
    if change := legacy.describe_change(name):
        return UserError(f"config.{name} is not a field: {change}")
    fields = table()
    near = difflib.get_close_matches(name, fields, cutoff=0.5) or [field for field in fields if "." not in field]
    return UserError(f"config.{name} is not a field; allowed: {', '.join(near)}, ... (--help lists all of them)")


def _fill(name: str, value: Any, given: dict[str, Any]) -> Any:
    """A field's value, where a config leaves it open."""
    standard = table()[name].default
    if value is not None:
        return value
    if name == "whitening.kind" and given["protocol"] in dataset_names.CONSTANTS:
        return dataset_names.dc_whitening(given["dataset"], given["protocol"])
    if name == "whitening.kind" and given["protocol"] == "mtt":
        return dataset_names.mtt_whitening(given["dataset"], given["ipc"])
    if isinstance(standard, ByBudget):
        standard = standard.value(given["budget"], given["ipc"] * given["factor"] ** 2)
    if isinstance(standard, ByProtocol):
        return standard.value(given["evaluate.protocol" if name.startswith("evaluate.") else "protocol"])
    if isinstance(standard, ByPlatform):
        return standard.value(_platform())
    if standard is not None:
        return standard
    if name == "stages":
        return methods()[given["method"]]
    if name == "mirror":
        return dataset_names.may_be_mirrored(given["dataset"])
    return None


def _platform() -> str:
    import jax  # takes seconds, for which a bad flag need not wait

    return jax.default_backend()


def _skips_mirror_images(fields: dict[str, Any]) -> bool:
    # FRePo's JAX code does not regress on mirror images of CIFAR-100 at 10 and 50 images per class.
    return fields["protocol"] == "frepo_jax" and fields["dataset"].startswith("cifar100") and fields["ipc"] in (10, 50)


def _streamed() -> list[str]:
    """The stages that move on a stream of many networks."""
    return [stage.name for stage in stages().values() if {"networks", "group"} <= set(stage.fields)]


def _group(section: str, fields: dict[str, Any]) -> int:
    """How many networks a stream holds at once: a divisor of all, and a multiple of those that serve a step."""
    group, networks = fields[f"{section}.group"], fields[f"{section}.networks"]
    together = fields[f"{section}.networks_per_step"]
    if networks % together:
        raise bad_value(f"{section}.networks_per_step", together, f"a divisor of {section}.networks = {networks}")
    if networks % max(group, 1):
        raise bad_value(f"{section}.group", group, f"a divisor of {section}.networks = {networks}")
    if not group:
        # Of no networks none are held, and any number divides them.
        sizes = range(together, max(_HELD, together) + 1, together) if networks else ()
        return max((held for held in sizes if networks % held == 0), default=together)
    return math.lcm(group, together)


def _check_names(config: ml_collections.ConfigDict) -> None:
    if not isinstance(config, ml_collections.ConfigDict):
        raise UserError(f"the config is a {type(config).__name__}; allowed: the ConfigDict of fsdd.config.default()")
    given = flat(config)
    for name in given:
        if name not in table():
            raise unknown_field(name)
    for name in table():
        if name not in given:
            raise UserError(f"config.{name} is missing; start from fsdd.config.default()")


def _check_stages(config: Resolved) -> None:
    """Check the order of the stages, and what they ask of other fields."""
    order, known = config.stages, stages()
    if len(set(order)) < len(order) or not any(set(order) <= set(some) for some in (known, PRETRAINING)):
        raise bad_value("stages", order, table()["stages"].values.words)
    if set(order) <= set(PRETRAINING) and list(order) != [name for name in PRETRAINING if name in order]:
        raise bad_value("stages", order, f"{' before '.join(PRETRAINING)}")
    for name in config.evaluate.stages:
        _check_evaluated(config, name)
    for name in ("classes", "seeds"):
        if len(config[name]) == 1:
            raise bad_value(name, config[name], table()[name].values.words)
    if apart := [name for name in order if config.seeds and not (name in known and known[name].side_by_side)]:
        allowed = (
            f"() with the stage {apart[0]}; {', '.join(name for name in known if known[name].side_by_side)} take more"
        )
        raise bad_value("seeds", config.seeds, allowed)
    for name in order:
        if (name in PRETRAINING or known[name].moves_labels) and config.labels != "learned":
            raise bad_value("labels", config.labels, f"learned with the stage {name}")
        if name in known and known[name].moves_pixels and config.whitening.kind not in dataset_names.BY_CHANNEL:
            allowed = f"{', '.join(sorted(dataset_names.BY_CHANNEL))} with the stage {name}, which moves pixels"
            raise bad_value("whitening.kind", config.whitening.kind, allowed)
        if name in known and known[name].comes_first and order[0] != name:
            raise bad_value("stages", order, f"{name} first: it makes the network that distill then uses")
        if name in known and known[name].follows and known[name].follows not in order[: order.index(name)]:
            raise bad_value("stages", order, f"{known[name].follows} before {name}, which uses what it makes")
    if order and set(order) <= set(PRETRAINING):
        # Subsets start as random images of full size.
        for field, only in (("factor", 1), ("start", "random")):
            if config[field] != only:
                raise bad_value(field, config[field], f"{only} where stages are {', '.join(PRETRAINING)}")
    if config.translate.ipcs and "distill" not in order:
        raise bad_value("translate.ipcs", config.translate.ipcs, "() unless the stage distill is run")


def _check_evaluated(config: Resolved, name: str) -> None:
    stage, at, step = name.partition("@")
    plain = step.isdecimal() and step == str(int(step))
    within = not at or (plain and stage in stages() and 0 < int(step) < steps_of(config, stage))
    if stage not in ("start", *config.stages) or (at and stage == "start") or not within:
        allowed = f"some of start, {', '.join(config.stages)}, or STAGE@STEP, its set after so many of its steps"
        raise bad_value("evaluate.stages", config.evaluate.stages, allowed)
