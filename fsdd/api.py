"""The public API: what the command line does, for a program."""

import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np

from fsdd import config as configs
from fsdd import pipeline, rules
from fsdd.errors import UserError
from fsdd.evaluation import training
from fsdd.io import stored as storage
from fsdd.networks import registry


def distill(
    dataset: str | pathlib.Path, workdir: str | pathlib.Path, fields: dict[str, Any] | None = None
) -> storage.StoredSet:
    """Distil a dataset; a call that was interrupted continues from its workdir.

    Args:
        dataset: a TFDS name, an image folder, an .npz of arrays, or "digits" (README, "Your own data").
        workdir: the folder that keeps the run: results.json, pictures, checkpoints and the stored set.
        fields: config fields by dotted name, such as `{"ipc": 10, "refine.uses": 4}`; the rest are those of the CIFAR
            configs, which distil in one network and refine over 125 (`fsdd.config.few_networks`).

    Returns:
        The stored set, as `fsdd.load` gives it.

    Raises:
        UserError: a field, the data or the workdir is bad; one line says which and what is allowed.
    """
    folder = pathlib.Path(workdir).expanduser()
    pipeline.run(_changed(configs.few_networks(configs.default()), dataset, fields or {}), folder)
    return storage.load(folder / "synthetic.npz")


def pretrain(
    dataset: str | pathlib.Path, workdir: str | pathlib.Path, fields: dict[str, Any] | None = None
) -> pathlib.Path:
    """Pre-train a translator on cached subsets of a big set; a call that was interrupted continues from its workdir.

    Args:
        dataset: as in `distill`.
        workdir: the folder that keeps the store, the record and the translator.
        fields: config fields by dotted name, such as `{"subsets.count": 100, "pretrain.steps": 5000}`.

    Returns:
        The translator's folder: the value of `translate.init` with which `distill` adapts it.

    Raises:
        UserError: a field, the data or the workdir is bad; one line says which and what is allowed.
    """
    folder = pathlib.Path(workdir).expanduser()
    pipeline.run(_changed(configs.default(), dataset, {"stages": rules.PRETRAINING} | (fields or {})), folder)
    return folder / "translator"


def _changed(
    config: ml_collections.ConfigDict, dataset: str | pathlib.Path, fields: dict[str, Any]
) -> ml_collections.ConfigDict:
    """A config with another dataset and some fields changed."""
    config.dataset = str(dataset)
    known = configs.flat(config)
    for name, value in fields.items():
        if name not in known:
            raise UserError(f"config.{name} is not a field; see fsdd/config.py for all of them")
        try:
            config.update_from_flattened_dict({name: value})
        except TypeError as error:
            allowed = f"a value like {known[name]!r}" if known[name] is not None else rules.RULES[name][1]
            raise UserError(f"config.{name} is {value!r}; allowed: {allowed}") from error
    return config


def evaluate(
    stored: storage.StoredSet,
    test_images: np.ndarray,
    test_labels: np.ndarray,
    *,
    networks: int = 3,
    architecture: str = "convnet",
    width: int = 0,
    norm: str = "none",
    recipe: training.Recipe | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Train fresh networks on a stored set and score them.

    Args:
        stored: a set with its whitening, as `fsdd.load` gives it.
        test_images: pixels `[n, h, w, c]`, uint8 or floats in [0, 1].
        test_labels: int `[n]`, in the order of `stored.class_names`.
        networks: how many.
        architecture: one of `fsdd.networks.registry.ARCHITECTURES`.
        width: channels of the first block; 0 is the architecture's default.
        norm: one of `fsdd.networks.layers.NORMS`.
        recipe: how to train; default: FRePo's.
        seed: determines the networks, batches and augmentations.

    Returns:
        float64 `[networks]`: the share of test images that each classifies right after its last step.

    Raises:
        UserError: the set was loaded without its whitening.
    """
    if stored.whitening is None:
        raise UserError("the stored set has no whitening; load it from where its .whitening.npz is")
    recipe = recipe or training.Recipe()
    network = registry.build(architecture, len(stored.class_names), width=width, norm=norm)
    whitened, shares = stored.whitening.apply(test_images), []
    dispatch = configs.resolve(configs.default()).compute.dispatch
    for index in range(networks):
        keys = jax.random.fold_in(jax.random.key(seed), index)[None]
        state = training.train(network, recipe, stored.decoded, keys, dispatch)
        shares.append(training.score(network, state.variables, whitened, test_labels))
    return np.concatenate(shares)
