"""Fields and values of earlier versions: what stored configs that have them mean, and what to write instead."""

from typing import Any

_RENAMED = {"distill.uses": "distill.steps"}
# Fields that could only contradict the one fixed network of `distill`.
_REMOVED = ("distill.networks", "distill.group", "distill.real_images")
_PROTOCOLS = {"torch": "frepo_torch", "jax": "frepo_jax", "best": "recommended", "plain": "plain_pixels"}
# Fields that earlier versions lacked, each with the value by which those did what it says.
_LATER = {
    "shared_seed": None,
    "seeds": (),
    "network.architecture": "convnet",
    "evaluate.length": "steps",
    "evaluate.epochs": 0,
    "evaluate.cutmix": 0.0,
    "evaluate.fit": "train",
}


def modernise(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a stored config, by dotted name, as today's version has them."""
    known = {_RENAMED.get(name, name): value for name, value in fields.items() if name not in _REMOVED}
    if isinstance(known.get("protocol"), str):
        known["protocol"] = _PROTOCOLS.get(known["protocol"], known["protocol"])
    return known


def without_later(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields without those that change nothing to what earlier versions did, for digests that they would change."""
    return {name: value for name, value in fields.items() if name not in _LATER or value != _LATER[name]}


def describe_change(name: str, value: Any = None) -> str | None:
    """What has become of a field, or of one of its values: the end of an error message, or None."""
    if name in _RENAMED:
        return f"it is called config.{_RENAMED[name]} now"
    if name in _REMOVED:
        return "distill uses one fixed network and all real images, and has config.distill.steps and batch"
    if name == "protocol" and isinstance(value, str) and value in _PROTOCOLS:
        return f"it is called {_PROTOCOLS[value]!r} now"
    return None
