"""What a stage of a run is, and which there are.

A stage is one file in `fsdd/distilling/stages` that defines `STAGE`; there it is found, and nothing else names it. Its
fields join the table of fields, its name becomes a method of its own, and the estimate, the pictures and the pipeline
use what it says here. What computes is imported where a stage runs, so that a mistyped flag need not wait for JAX.
"""

import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from typing import Any

from fsdd.config.fields import Field
from fsdd.config.resolved import Resolved

# The stages of a config that pre-trains a translator: fsdd/pretraining.
PRETRAINING = ("cache", "pretrain")
_PACKAGE = "fsdd.distilling.stages"
# A pass back to the images costs about as much as the pass forward, one to the weights twice as much. The gradient of
# a distance of gradients to the images equals seven passes forward; a step of training, that step again, and back
# through its gradient to images and weights twelve.
THERE_AND_BACK, TRAINING, MATCHING, UNROLLED = 2, 3, 7, 12


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a run: what moves, on which stream.

    Attributes:
        name: what configs call it; also the section of its fields, its folder and its method.
        summary: what it does, for people.
        title: of its panel in `synthetic.png`; empty where it leaves the set as it was.
        fields: those of its section, by name.
        steps: how many steps it takes, of its section.
        passes: `(config, images, real) -> passes`: the passes of one image forward through a network that its work
            equals, for sets of so many synthetic images each and so many real ones.
        run: `(context, sets by IPC) -> sets by IPC`, a `Context` and `SyntheticSet`s; what is done is loaded.
        sections: others that its result depends on.
        comes_first: whether no stage may come before it.
        follows: the stage that has to come before it, if any.
        moves_labels: whether it cannot hold labels.
        moves_pixels: whether images must be whitened channel by channel.
        side_by_side: whether it moves the sets of several seeds in the same networks.
        moves_all_ipcs: whether it moves the sets of all IPCs together, so that a step counts once.
        protocol: what fills the fields of a run that begins with it, unless the config says.
        check: `(config, data)`, a `RealSet`: raises a `UserError` where they do not fit, before anything is written.
    """

    name: str
    summary: str
    title: str
    fields: dict[str, Field]
    steps: Callable[[Any], int]
    passes: Callable[[Resolved, Sequence[int], int], float]
    run: Callable[[Any, dict[int, Any]], dict[int, Any]]
    sections: tuple[str, ...] = ()
    comes_first: bool = False
    follows: str = ""
    moves_labels: bool = False
    moves_pixels: bool = False
    side_by_side: bool = False
    moves_all_ipcs: bool = False
    protocol: str = "recommended"
    check: Callable[[Resolved, Any], None] = lambda config, data: None


@functools.cache
def stages() -> dict[str, Stage]:
    """All stages by name."""
    package = importlib.import_module(_PACKAGE)
    modules = [
        importlib.import_module(f"{_PACKAGE}.{module.name}") for module in pkgutil.iter_modules(package.__path__)
    ]
    return {module.STAGE.name: module.STAGE for module in modules}


@functools.cache
def methods() -> dict[str, tuple[str, ...]]:
    """The stages of each method: those that combine some, and each stage on its own."""
    combined = {
        "real": (),
        "translate": ("distill", "translate"),
        "refine": ("distill", "refine"),
        "translate_refine": ("distill", "translate", "refine"),
        "baseline": ("refine",),
        "bilevel": ("bilevel", "distill"),
        "bilevel_inner": ("bilevel",),
        "mtt": ("experts", "mtt"),
    }
    return {name: (name,) for name in stages()} | combined


def protocol_of(order: Sequence[str]) -> str:
    """The protocol of a run of some stages, that of the first, unless a config names another."""
    return next((stages()[name].protocol for name in order if name in stages()), "recommended")


def count_classes(config: Resolved, images: Sequence[int]) -> int:
    """Classes of the sets whose numbers of images the `passes` of a stage is given."""
    largest = max(config.ipc, *config.translate.ipcs) if len(images) > 1 else config.ipc
    return max(images) // (largest * config.factor**2)


def count_stream_steps(settings: Any) -> int:
    """The `steps` of a stage with the fields of `stream_fields`."""
    return settings.networks * settings.uses // settings.networks_per_step


def stream_passes(config: Resolved, stage: str, images: Sequence[int], real: int, times: int) -> float:
    """The `passes` of a stage with the fields of `stream_fields`; features are computed `times` times."""
    settings = config[stage]
    synthetic = THERE_AND_BACK * (1 + config.objective.flip) * sum(images)
    features = times * settings.networks * (settings.real_images or real)
    return features + settings.networks * settings.uses * synthetic
