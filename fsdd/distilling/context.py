"""What the stages of one run share: the resolved config, the data on the device, and where files go."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fsdd import config as configs
from fsdd.assembly import keys, objectives, real_sets, translators
from fsdd.config import Resolved
from fsdd.core import synthetic_set
from fsdd.core.whitening import Whitening
from fsdd.data import real_set
from fsdd.data.real_set import RealSet
from fsdd.distilling import memory
from fsdd.io import notes, whitening_files, workdir
from fsdd.methods import streams
from fsdd.methods.nfr import Objective

# The sections that no stage's result depends on, or only the result of stages that say so. What a stage feels of
# `mirror` is `objective.flip`.
_APART = {"evaluate", "compute", "data_dir", "stages", "method", "budget", "mirror", "picture_bands"}
# What the data are shows whether these are the same.
_APART |= {"pixel_range", "alpha_background"}
_APART |= {"subsets", "pretrain", "translator", "autoencoder"}


@dataclasses.dataclass(frozen=True)
class Origin:
    """The data of a workdir as it first knew them: the same images may lie elsewhere now.

    Attributes:
        dataset: `config.dataset` then.
        identity: of the real set then; but for its name it is today's.
    """

    dataset: str
    identity: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Context:
    """What all stages share.

    Attributes:
        config: resolved.
        folder: the workdir.
        origin: what the workdir first knew the data as.
        data: the real set in host memory.
        whitening: fitted on its training split.
        real: the training split on the device, whitened.
        objective: the NFR loss in the networks of Theta.
        watch: is told a stage's name and how many of its steps are done, whenever it has taken some.
    """

    config: Resolved
    folder: pathlib.Path
    origin: Origin
    data: RealSet
    whitening: Whitening
    real: streams.Real
    objective: Objective
    watch: Callable[[str, int], object] = lambda stage, step: None

    @property
    def is_balanced(self) -> bool:
        """Whether real images are drawn so that classes count alike."""
        return real_sets.draws_balanced(self.config, self.data)

    def key(self, purpose: str) -> jax.Array:
        """The root of one purpose's randomness."""
        return keys.purpose_key(keys.shared_seed(self.config), purpose)

    def stage_fields(self, stages: tuple[str, ...]) -> dict[str, Any]:
        """The fields that the last of some stages depends on, the data as the workdir first knew them."""
        return stage_fields(self.config, stages) | {"dataset": self.origin.dataset}

    def stage_folder(self, stage: str, ipc: int) -> pathlib.Path:
        """Where a stage's files for one IPC are; the config's own IPC needs no folder of its own."""
        return self.folder / stage if ipc == self.config.ipc else self.folder / stage / f"ipc{ipc}"


def prepare(config: Resolved, folder: pathlib.Path, given: RealSet | None = None) -> Context:
    """Check a config against the workdir and the data, and whiten the data; `given` is taken for the data, if any.

    Raises:
        UserError: something does not fit; nothing on disk has changed then.
    """
    workdir.check_place(folder)
    check_stages(config, folder)
    translates = "translate" in config.stages and not (folder / "translate" / "result.json").is_file()
    if translates:
        translators.check(config, "translate.init", distilled_here="distill" in config.stages)
    data = real_sets.load_target_set(config, given)
    origin = _find_origin(config, folder, data)
    memory.check(config, data)
    for stage in config.stages:
        configs.stages()[stage].check(config, data)
    if translates:
        translators.check_fit(config, config.translate.init, data.image_shape)
        line = translators.describe_mismatch(config, config.translate.init) if "distill" in config.stages else None
        if line:
            notes.say(line)
    elif config.translate.init != "fresh" and "translate" not in config.stages:
        unused = f"config.translate.init is {config.translate.init!r}, and is not used: no stage translates"
        notes.say(f"{unused}, as it does with config.method='translate'")
    workdir.create(folder)
    workdir.write(folder / "data.json", origin.identity | {"dataset": origin.dataset})
    settings = config.whitening
    fitted = whitening_files.fit_once(
        folder / "whitening.npz", data.train_images, origin.identity, settings.kind, settings.regularisation
    )
    labels = synthetic_set.centred_labels(data.train_labels, data.num_classes)
    real = streams.Real(jnp.asarray(fitted.apply(data.train_images)), jnp.asarray(labels))
    return Context(config, folder, origin, data, fitted, real, objectives.build_objective(config, data.num_classes))


def check_stages(config: Resolved, folder: pathlib.Path) -> None:
    """Check that what the stages of a config left in a workdir was made with these very fields.

    Of `dataset` the data themselves show later whether it is the same, wherever they lie.

    Raises:
        UserError: a field differs.
    """
    for index, stage in enumerate(config.stages):
        fields = stage_fields(config, config.stages[: index + 1])
        made_with = configs.compatible(workdir.read(folder / stage / "config.json"), fields)
        workdir.check(folder / stage, made_with and made_with | {"dataset": config.dataset}, fields)


def stage_fields(config: Resolved, stages: tuple[str, ...]) -> dict[str, Any]:
    """The fields that the last of some stages depends on: the common ones, its own and its predecessors'."""
    known = configs.stages()
    common = {name.partition(".")[0] for name in configs.table()} - _APART - set(known)
    own = {section for stage in stages for section in (stage, *known[stage].sections)}
    return configs.select(config, common | own) | {"stages": list(stages)}


def _find_origin(config: Resolved, folder: pathlib.Path, data: RealSet) -> Origin:
    """What a workdir first knew its data as.

    Raises:
        UserError: what stages left there, these or others, was made of other data.
    """
    identity, stored = data.identity(), workdir.read(folder / "data.json")
    made = [fields for stage in configs.stages() if (fields := workdir.read(folder / stage / "config.json"))]
    dataset = (stored or {}).get("dataset") or next((fields.get("dataset") for fields in made), None) or config.dataset
    if stored and real_set.are_same(stored, identity):
        if dataset != config.dataset:
            print(f"{folder} was made of {dataset}; {config.dataset} has the same images and labels", flush=True)
        return Origin(dataset, {name: stored[name] for name in identity})
    if made:
        workdir.compare(folder, {"dataset": dataset}, {"dataset": config.dataset})
        same_name = stored and {name: value for name, value in stored.items() if name != "dataset"}
        workdir.compare(folder, same_name, identity, f"another {config.dataset}: its ")
    return Origin(config.dataset, identity)
