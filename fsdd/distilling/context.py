"""What the stages of one run share: the resolved config, the data on the device, and where files go."""

import dataclasses
import pathlib
from typing import Any

import jax
import jax.numpy as jnp

from fsdd import config as configs
from fsdd.assembly import keys, objectives, real_sets, translators
from fsdd.config import Resolved
from fsdd.core import synthetic_set
from fsdd.core.whitening import Whitening
from fsdd.data.real_set import RealSet
from fsdd.distilling import memory
from fsdd.io import whitening_files, workdir
from fsdd.methods import streams
from fsdd.methods.nfr import Objective

# The sections that no stage's result depends on, or only the result of stages that say so. What a stage feels of
# `mirror` is `objective.flip`.
_APART = {"evaluate", "compute", "data_dir", "stages", "method", "mirror"}
_APART |= {"subsets", "pretrain", "translator", "autoencoder"}


@dataclasses.dataclass(frozen=True)
class Context:
    """What all stages share.

    Attributes:
        config: resolved.
        folder: the workdir.
        data: the real set in host memory.
        whitening: fitted on its training split.
        real: the training split on the device, whitened.
        objective: the NFR loss in the networks of Theta.
    """

    config: Resolved
    folder: pathlib.Path
    data: RealSet
    whitening: Whitening
    real: streams.Real
    objective: Objective

    def key(self, purpose: str) -> jax.Array:
        """The root of one purpose's randomness."""
        return keys.purpose_key(self.config.seed, purpose)

    def stage_folder(self, stage: str, ipc: int) -> pathlib.Path:
        """Where a stage's files for one IPC are; the config's own IPC needs no folder of its own."""
        return self.folder / stage if ipc == self.config.ipc else self.folder / stage / f"ipc{ipc}"


def prepare(config: Resolved, folder: pathlib.Path) -> Context:
    """Check a config against the workdir and the data, and whiten the data.

    Raises:
        UserError: something does not fit; nothing on disk has changed then.
    """
    workdir.check_place(folder)
    check_stages(config, folder)
    translates = "translate" in config.stages and not (folder / "translate" / "result.json").is_file()
    if translates:
        translators.check(config, "translate.init", distilled_here="distill" in config.stages)
    data = real_sets.load_target_set(config)
    _check_data(config, folder, data)
    memory.check(config, data)
    if translates:
        translators.check_fit(config, config.translate.init, data.image_shape)
        line = translators.describe_mismatch(config, config.translate.init) if "distill" in config.stages else None
        if line:
            print(line, flush=True)
    elif config.translate.init != "fresh" and "translate" not in config.stages:
        unused = f"config.translate.init is {config.translate.init!r}, and is not used: no stage translates"
        print(f"{unused}, as it does with config.method='translate'", flush=True)
    workdir.create(folder)
    identity = data.identity()
    workdir.write(folder / "data.json", identity)
    settings = config.whitening
    fitted = whitening_files.fit_once(
        folder / "whitening.npz", data.train_images, identity, settings.kind, settings.regularisation
    )
    labels = synthetic_set.centred_labels(data.train_labels, data.num_classes)
    real = streams.Real(jnp.asarray(fitted.apply(data.train_images)), jnp.asarray(labels))
    return Context(config, folder, data, fitted, real, objectives.build_objective(config, data.num_classes))


def check_stages(config: Resolved, folder: pathlib.Path) -> None:
    """Check that what the stages of a config left in a workdir was made with these very fields.

    Raises:
        UserError: a field differs.
    """
    for index, stage in enumerate(config.stages):
        fields = stage_fields(config, config.stages[: index + 1])
        workdir.check(folder / stage, configs.compatible(workdir.read(folder / stage / "config.json"), fields), fields)


def stage_fields(config: Resolved, stages: tuple[str, ...]) -> dict[str, Any]:
    """The fields that the last of some stages depends on: the common ones, its own and its predecessors'."""
    known = configs.stages()
    common = {name.partition(".")[0] for name in configs.table()} - _APART - set(known)
    own = {section for stage in stages for section in (stage, *known[stage].sections)}
    return configs.select(config, common | own) | {"stages": list(stages)}


def _check_data(config: Resolved, folder: pathlib.Path, data: RealSet) -> None:
    """Check that what stages left in a workdir, these or others, was made of this very data."""
    if any((folder / stage / "config.json").is_file() for stage in configs.stages()):
        stored = workdir.read(folder / "data.json")
        workdir.compare(folder, stored, data.identity(), f"another {config.dataset}: its ")
