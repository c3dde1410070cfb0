"""The public API: what the command line does, for a program."""

import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np

from fsdd import config as configs
from fsdd.assembly import environment, keys, scorers
from fsdd.config import Resolved, legacy
from fsdd.data import sources
from fsdd.distilling import pipeline
from fsdd.errors import UserError
from fsdd.evaluation import training, training_sets
from fsdd.io import progress
from fsdd.io import stored_set as storage
from fsdd.pretraining import job


def run(config: Resolved, folder: pathlib.Path, stage: str | None = None) -> dict[str, Any]:
    """Do what is not done yet of what a config asks for: distil a set and score it, or pre-train a translator.

    Args:
        config: what `fsdd.config.resolve` returns.
        folder: the workdir; made if it is not there.
        stage: the one stage to run of a config that pre-trains; None for all.

    Returns:
        What `<workdir>/results.json` holds.

    Raises:
        UserError: the config, the data or the workdir is bad; what was on disk is still there.
    """
    environment.prepare()
    if config.stages and set(config.stages) <= set(configs.PRETRAINING):
        return job.run(config, folder, stage)
    if stage is not None:
        raise UserError(f"--stage is {stage!r}; it is for configs that pre-train, such as configs/pretrain_cpu.py")
    if jax.process_count() > 1:
        raise UserError(
            f"this is one of {jax.process_count()} processes of a job; allowed: one, or a config that pre-trains, such "
            "as configs/pretrain_cpu.py"
        )
    return pipeline.run(config, folder)


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
    config = _change(configs.few_networks(configs.default()), {"dataset": str(dataset)} | (fields or {}))
    resolved = configs.resolve(config)
    if pretraining := [stage for stage in resolved.stages if stage in configs.PRETRAINING]:
        raise UserError(f"stages has {pretraining[0]!r}, which distils no set; call fsdd.pretrain for it")
    run(resolved, folder)
    return storage.load(folder / "synthetic.npz")


def pretrain(
    dataset: str | pathlib.Path, workdir: str | pathlib.Path, fields: dict[str, Any] | None = None
) -> pathlib.Path:
    """Pre-train a translator on cached subsets of a big set; a call that was interrupted continues from its workdir.

    Args:
        dataset: as in `distill`.
        workdir: the folder that keeps the store, the record and the translator.
        fields: config fields by dotted name, such as `{"subsets.count": 100, "pretrain.steps": 5000}`. The rest are the
            paper's Table 1, hours of eight GPUs; `configs/pretrain_cpu.py` has values for 2 cores.

    Returns:
        The translator's folder: the value of `translate.init` with which `distill`, by `{"method": "translate"}`,
        adapts it.

    Raises:
        UserError: a field, the data or the workdir is bad; one line says which and what is allowed.
    """
    folder = pathlib.Path(workdir).expanduser()
    given = {"dataset": str(dataset), "stages": configs.PRETRAINING} | (fields or {})
    run(configs.resolve(_change(configs.default(), given)), folder)
    return folder / "translator"


def _change(config: ml_collections.ConfigDict, fields: dict[str, Any]) -> ml_collections.ConfigDict:
    """A config with some fields changed."""
    table = configs.table()
    for name, value in fields.items():
        value = str(value) if isinstance(value, pathlib.PurePath) else value
        if name not in table:
            raise configs.unknown_field(name)
        # Before the config makes a number of it: it takes False for 0.0.
        configs.check_value(name, value)
        config.update_from_flattened_dict({name: value})
    return config


def evaluate(
    stored: storage.StoredSet,
    test_images: np.ndarray,
    test_labels: np.ndarray,
    fields: dict[str, Any] | None = None,
) -> np.ndarray:
    """Train fresh networks on a stored set and score them, as the run that made it did.

    Args:
        stored: a set with its whitening, as `fsdd.load` gives it.
        test_images: pixels `[n, h, w, c]`, uint8 or floats in [0, 1].
        test_labels: int `[n]`, in the order of `stored.class_names`.
        fields: config fields by dotted name, such as `{"evaluate.networks": 5, "evaluate.architecture": "alexnet"}`;
            the rest are those of the run that made the set (3 networks, if it scored none).

    Returns:
        float64 `[networks]`: the share of test images that each classifies right after its last step.

    Raises:
        UserError: the set was loaded without its whitening, or images, labels or a field do not fit.
    """
    images, labels = _accept_test_split(stored, test_images, test_labels)
    config = configs.resolve(_change(_scored_as(stored), fields or {}))
    if not config.evaluate.networks:
        raise UserError("config.evaluate.networks is 0; allowed: at least 1")
    environment.prepare()
    network, recipe = scorers.build_scorer(config, len(stored.class_names))
    settings, shares = config.evaluate, []
    synthetic = training_sets.prepare(
        stored.decoded, stored.classes, stored.whitening, settings.images, settings.labels
    )
    seen = training_sets.matching_whitening(stored.whitening, settings.images).apply(images)
    steps = training.steps_of(recipe, len(synthetic))
    with progress.bar(f"networks trained: {settings.networks}", settings.networks * steps) as bar:
        for index in range(settings.networks):
            key = keys.scoring_key(config.seed, index)[None]
            state = training.train(network, recipe, synthetic, key, config.compute.dispatch, bar.update)
            shares.append(training.score(network, training.variables(state), seen, labels))
    return np.concatenate(shares)


def _accept_test_split(
    stored: storage.StoredSet, test_images: np.ndarray, test_labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Test images as uint8 `[n, h, w, c]` and labels as int32 `[n]`, found fit for a stored set."""
    if stored.whitening is None:
        raise UserError("the stored set has no whitening; load it from where its .whitening.npz is")
    images = sources.accepted_images("test_images", np.asarray(test_images))
    labels = sources.accepted_labels("test_labels", np.asarray(test_labels))
    if images.shape[1:] != stored.pixels.shape[1:]:
        raise UserError(f"test_images: of shape {list(images.shape[1:])}; allowed: {list(stored.pixels.shape[1:])}")
    if len(images) != len(labels) or not len(labels):
        raise UserError(f"test_labels: {len(labels)} for {len(images)} images; allowed: one for each, and at least one")
    if labels.max() >= len(stored.class_names):
        raise UserError(f"test_labels: label {labels.max()}; allowed: 0 to {len(stored.class_names) - 1}")
    return images, labels


def _scored_as(stored: storage.StoredSet) -> ml_collections.ConfigDict:
    """The default config with what the run that made a set scored it by."""
    config, made_by = configs.default(), legacy.modernise(stored.provenance.get("config", {}))
    wanted = {name for name in configs.table() if name.startswith("evaluate.")} - {"evaluate.stages"}
    wanted |= {"dataset", "seed", "mirror", "network.width"}
    if not made_by.get("evaluate.networks"):
        # It scored none: as many as the default then.
        wanted -= {"evaluate.networks"}
    config.update_from_flattened_dict({name: made_by[name] for name in wanted if name in made_by})
    return config
