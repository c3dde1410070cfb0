"""What one run shares: the resolved config, the data on the device, and where its files go."""

import dataclasses
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from fsdd import config as configs
from fsdd.core import synthetic, whitening
from fsdd.data import sources
from fsdd.data.real import RealSet
from fsdd.errors import UserError
from fsdd.io import checkpoint, workdir
from fsdd.methods import nfr, streams, translation
from fsdd.networks.convnet import ConvNet
from fsdd.networks.translator import Translator

# Every use of randomness has a number of its own; what it draws depends on that, the seed and the step alone.
_PURPOSES = ("distill", "translate", "refine", "autoencoder", "evaluate", "cache", "pretrain")


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
    for index, stage in enumerate(config.stages):
        workdir.check(folder / stage, relevant(config, config.stages[: index + 1]))
    translator = _translator_to_load(config, folder)
    if translator is not None:
        checkpoint.check_translator(translator)
    data = _load_target(config)
    if translator is not None:
        checkpoint.load_translator(translator, _translator_shapes(config, data.image_shape))
    workdir.create(folder)
    fitted = whitening.fit(data.train_images, config.whitening.kind, config.whitening.regularisation)
    labels = synthetic.centred_labels(data.train_labels, data.num_classes)
    real = streams.Real(jnp.asarray(fitted.apply(data.train_images)), jnp.asarray(labels))
    return Run(config, folder, data, fitted, real, build_objective(config, data.num_classes))


def build_objective(config: ml_collections.ConfigDict, num_classes: int) -> nfr.Objective:
    """The NFR loss in the networks of Theta that a config describes."""
    network = ConvNet(
        num_classes,
        width=config.network.width,
        depth=config.network.depth,
        norm=config.network.norm,
        initialisation=config.network.initialisation,
        dtype=jnp.dtype(config.network.dtype),
    )
    return nfr.Objective(network, **config.objective)


def _translator_to_load(config: ml_collections.ConfigDict, folder: pathlib.Path) -> pathlib.Path | None:
    """The stored translator that is yet to be adapted, if that is how translation starts."""
    done = (folder / "translate" / "result.json").is_file()
    init = config.translate.init
    if done or "translate" not in config.stages or init in ("fresh", "autoencoder"):
        return None
    translator = pathlib.Path(init).expanduser()
    if "distill" in config.stages:
        _check_network(config, translator)
    return translator


def _check_network(config: ml_collections.ConfigDict, translator: pathlib.Path) -> None:
    """A pre-trained translator knows only images distilled in the network of its store."""
    card = workdir.read(translator / "card.json") or {}
    fields = configs.flat(config)
    for name, value in card.get("made_in", {}).items():
        part, _, field = name.partition(".")
        tied = part == "whitening" or (part == "network" and field not in ("dtype", "cache_dtype"))
        if tied and fields[name] != value:
            raise UserError(
                f"config.{name} is {fields[name]!r}; allowed: {value!r}, with which the images were distilled that the "
                f"translator in {translator} was trained on"
            )


def build_translator(config: ml_collections.ConfigDict, channels: int) -> Translator:
    """The translator that a config describes, for images of so many channels."""
    settings = config.translator
    return Translator(channels, settings.widths, settings.stride, settings.residual)


def _translator_shapes(config: ml_collections.ConfigDict, image_shape: tuple[int, int, int]) -> dict:
    translator = build_translator(config, image_shape[-1])
    return jax.eval_shape(lambda: translation.fresh(translator, jax.random.key(0), image_shape))


def load(config: ml_collections.ConfigDict, test_fraction: float = 0.0) -> RealSet:
    """The real set that a config names; what is worth telling about it is printed."""
    data = sources.load(
        config.dataset,
        data_dir=config.data_dir,
        image_size=config.image_size,
        test_fraction=test_fraction,
        seed=config.seed,
    )
    for note in data.notes:
        print(note, flush=True)
    return data


def _load_target(config: ml_collections.ConfigDict) -> RealSet:
    """The set to distil, found fit for the config."""
    data = load(config, config.test_fraction)
    fewest = np.bincount(data.train_labels, minlength=data.num_classes).min()
    for field, ipcs in {"ipc": (config.ipc,), "translate.ipcs": config.translate.ipcs}.items():
        if max(ipcs, default=0) > fewest:
            raise UserError(
                f"config.{field} is {config[field] if field == 'ipc' else ipcs}; allowed: at most {fewest}, the images "
                f"of the smallest class of {data.name}"
            )
    if data.image_shape[0] % config.translator.stride:
        raise UserError(
            f"config.translator.stride is {config.translator.stride}; allowed: a divisor of the images' side, "
            f"{data.image_shape[0]}"
        )
    return data


def relevant(config: ml_collections.ConfigDict, stages: tuple[str, ...]) -> dict[str, Any]:
    """The fields that the last of `stages` depends on: the common ones, its own and its predecessors'."""
    skip = {
        "evaluate",
        "compute",
        "data_dir",
        "stages",
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
