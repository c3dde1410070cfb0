"""What one run shares: the resolved config, the data on the device, and where its files go."""

import dataclasses
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from fsdd import config as configs
from fsdd import translators
from fsdd.core import synthetic, whitening
from fsdd.data import sources
from fsdd.data.real import RealSet
from fsdd.errors import UserError
from fsdd.io import workdir
from fsdd.methods import nfr, streams
from fsdd.networks.convnet import ConvNet

# Every use of randomness has a number of its own; what it draws depends on that, the seed and the step alone.
_PURPOSES = ("distill", "translate", "refine", "autoencoder", "evaluate", "cache", "pretrain", "bilevel", "frepo")


def purpose_key(seed: int, purpose: str) -> jax.Array:
    """The root of one purpose's randomness."""
    return jax.random.fold_in(jax.random.key(seed), _PURPOSES.index(purpose))


def fixed_key(config: ml_collections.ConfigDict) -> jax.Array:
    """What determines the one fixed network, whatever the seed of the images: translators are tied to it."""
    return jax.random.fold_in(purpose_key(config.network.seed, "distill"), 0)


@dataclasses.dataclass(frozen=True)
class Run:
    """What all stages share.

    Attributes:
        config: resolved.
        folder: the workdir.
        data: the real set in host memory.
        whitening: fitted on its training split.
        real: the training split on the device, whitened.
        objective: the NFR loss in the networks of Theta.
    """

    config: ml_collections.ConfigDict
    folder: pathlib.Path
    data: RealSet
    whitening: whitening.Whitening
    real: streams.Real
    objective: nfr.Objective

    def key(self, purpose: str) -> jax.Array:
        """The root of one purpose's randomness."""
        return purpose_key(self.config.seed, purpose)

    def stage_folder(self, stage: str, ipc: int) -> pathlib.Path:
        """Where a stage's files for one IPC are; the config's own IPC needs no folder of its own."""
        return self.folder / stage if ipc == self.config.ipc else self.folder / stage / f"ipc{ipc}"


def prepare(config: ml_collections.ConfigDict, folder: pathlib.Path) -> Run:
    """Check the config against itself, the workdir and the data, and whiten the data.

    Raises:
        UserError: something does not fit; nothing on disk has changed then.
    """
    config = configs.resolve(config)
    workdir.check_place(folder)
    defaults = configs.defaults()
    for index, stage in enumerate(config.stages):
        workdir.check(folder / stage, relevant(config, config.stages[: index + 1]), defaults)
    translates = "translate" in config.stages and not (folder / "translate" / "result.json").is_file()
    if translates:
        translators.check(config, "translate.init", distilled_here="distill" in config.stages)
    data = _load_target(config)
    _check_data(config, folder, data)
    if translates:
        translators.check_fit(config, config.translate.init, data.image_shape)
        line = translators.note(config, config.translate.init) if "distill" in config.stages else None
        if line:
            print(line, flush=True)
    elif config.translate.init != "fresh" and "translate" not in config.stages:
        unused = f"config.translate.init is {config.translate.init!r}, and is not used: no stage translates"
        print(f"{unused}, as it does with config.method='translate'", flush=True)
    workdir.create(folder)
    workdir.write(folder / "data.json", data.identity())
    fitted = whitening.fit(data.train_images, config.whitening.kind, config.whitening.regularisation)
    labels = synthetic.centred_labels(data.train_labels, data.num_classes)
    real = streams.Real(jnp.asarray(fitted.apply(data.train_images)), jnp.asarray(labels))
    return Run(config, folder, data, fitted, real, build_objective(config, data.num_classes))


def _check_data(config: ml_collections.ConfigDict, folder: pathlib.Path, data: RealSet) -> None:
    """See that what stages left in a workdir, these or others, was made of this very data."""
    if any((folder / stage / "config.json").is_file() for stage in configs.STAGES):
        found = workdir.read(folder / "data.json")
        workdir.compare(folder, found, data.identity(), f"another {config.dataset}: its ")


def build_objective(
    config: ml_collections.ConfigDict, num_classes: int, width: int = 0, scaled: bool = False
) -> nfr.Objective:
    """The NFR loss in the networks of Theta that a config describes, of another width if one is given."""
    network = ConvNet(
        num_classes,
        width=width or config.network.width,
        depth=config.network.depth,
        norm=config.network.norm,
        initialisation=config.network.initialisation,
        dtype=jnp.dtype(config.network.dtype),
    )
    return nfr.Objective(network, **config.objective, scaled=scaled, factor=config.factor)


def load(config: ml_collections.ConfigDict, test_fraction: float = 0.0, validation_fraction: float = 0.0) -> RealSet:
    """The real set that a config names; what is worth telling about it is printed."""
    data = sources.load(
        config.dataset,
        data_dir=config.data_dir,
        image_size=config.image_size,
        test_fraction=test_fraction,
        validation_fraction=validation_fraction,
        seed=config.seed,
    )
    for note in data.notes:
        print(note, flush=True)
    if not config.classes:
        return data
    if max(config.classes) >= data.num_classes:
        raise UserError(
            f"config.classes is {config.classes}; allowed: some of 0 to {data.num_classes - 1}, the classes of "
            f"{data.name}"
        )
    return data.only(config.classes)


def _load_target(config: ml_collections.ConfigDict) -> RealSet:
    """The set to distil, found fit for the config."""
    data = load(config, config.test_fraction, config.validation_fraction)
    if not len(data.test_images) and config.evaluate.networks:
        raise UserError(
            f"config.test_fraction is {config.test_fraction}, which leaves {data.name} no test images; allowed: a "
            "number above 0, or config.evaluate.networks=0"
        )
    check_images(config, data)
    fewest = np.bincount(data.train_labels, minlength=data.num_classes).min()
    for field, ipcs in {"ipc": (config.ipc,), "translate.ipcs": config.translate.ipcs}.items():
        most = fewest // config.factor**2
        if max(ipcs, default=0) > most:
            raise UserError(
                f"config.{field} is {config[field] if field == 'ipc' else ipcs}; allowed: at most {most}, the images "
                f"of the smallest class of {data.name}{' over the square of config.factor' * (config.factor > 1)}"
            )
    return data


def check_images(config: ml_collections.ConfigDict, data: RealSet) -> None:
    """See that a set's images can be whitened, told apart, and pass what the config sends them through.

    Raises:
        UserError: they cannot.
    """
    if data.num_classes < 2:
        raise UserError(f"{data.name} has one class, {data.class_names[0]!r}; allowed: a set of two or more")
    if all(np.array_equal(image, data.train_images[0]) for image in data.train_images):
        raise UserError(f"{data.name}: all training images are the same; allowed: a set of which two differ")
    side = data.image_shape[0]
    for field, value in (("translator.stride", config.translator.stride), ("factor", config.factor)):
        if side % value:
            raise UserError(f"config.{field} is {value}; allowed: a divisor of the images' side, {side}")
    needed = whitening.fitting_bytes(data.train_images, config.whitening.kind)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise UserError(
            f"config.whitening.kind is {config.whitening.kind!r}, which takes {needed / 1e9:.0f} GB for images of "
            f"{side}x{side}, and this machine has {memory / 1e9:.0f}; allowed: 'standardize', or a smaller "
            "config.image_size"
        )


def relevant(config: ml_collections.ConfigDict, stages: tuple[str, ...]) -> dict[str, Any]:
    """The fields that the last of `stages` depends on: the common ones, its own and its predecessors'."""
    skip = {
        "evaluate",
        "compute",
        "data_dir",
        "stages",
        "method",
        # What a stage feels of it is objective.flip.
        "mirror",
        *configs.STAGES,
        "subsets",
        "pretrain",
        "translator",
        "autoencoder",
    }
    skip -= set(stages)
    if "translate" in stages:
        skip -= {"translator", "autoencoder"}
    fields = {name: value for name, value in configs.flat(config).items() if name.split(".")[0] not in skip}
    return fields | {"stages": list(stages)}
