"""The public API: what the command line does, for a program."""

import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from fsdd import config as configs
from fsdd.assembly import classifiers, environment, keys, scorers
from fsdd.assembly.classifiers import Classifier
from fsdd.config import Resolved, arguments, legacy
from fsdd.config.fields import ByProtocol
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.data import arrays, handed_in
from fsdd.data.images import resize
from fsdd.data.real_set import RealSet
from fsdd.distilling import pipeline, seeds
from fsdd.errors import UserError
from fsdd.evaluation import training, training_recipes, training_sets
from fsdd.evaluation.accuracies import Accuracies
from fsdd.io import notes, paths, progress, stored_files
from fsdd.io.stored_set import StoredSet

# The config fields that are arguments of `distill`, and what these are called.
_ARGUMENTS = {name: name for name in ("ipc", "method", "image_size", "budget", "seed")} | {"dataset": "data"}

# The config fields that say how images are read.
_READING = ("image_size", "pixel_range", "alpha_background", "picture_bands")


def run(
    config: Resolved, folder: pathlib.Path, stage: str | None = None, given: RealSet | None = None
) -> dict[str, Any]:
    """Do what is not done yet of what a config asks for: distil a set and score it, or pre-train a translator.

    Args:
        config: what `fsdd.config.resolve` returns.
        folder: the workdir; made if it is not there.
        stage: the one stage to run of a config that pre-trains; None for all.
        given: the set to distil, where it is not to be read from what the config names.

    Returns:
        What `<workdir>/results.json` holds.

    Raises:
        UserError: the config, the data or the workdir is bad; what was on disk is still there.
    """
    with environment.prepared():
        if config.stages and set(config.stages) <= set(configs.PRETRAINING):
            from fsdd.pretraining import job  # of an extra

            return job.run(config, folder, stage)
        if stage is not None:
            raise UserError(f"--stage is {stage!r}; it is for configs that pre-train, such as configs/pretrain_cpu.py")
        if jax.process_count() > 1:
            raise UserError(
                f"this is one of {jax.process_count()} processes of a job; allowed: one, or a config that pre-trains, "
                "such as configs/pretrain_cpu.py"
            )
        return (seeds if config.seeds else pipeline).run(config, folder, given)


def fields() -> dict[str, str]:
    """Every config field by dotted name: its default, what it may be, and what it means, in one text each."""
    table = configs.table()
    return {
        name: f"{default!r}; allowed: {table[name].values.words}. {table[name].meaning}"
        for name, default in configs.defaults().items()
    }


def distill(
    data: Any,
    workdir: str | pathlib.Path | None = None,
    fields: Mapping[str, Any] | None = None,
    *,
    ipc: int | None = None,
    method: str | None = None,
    image_size: int | None = None,
    budget: str | None = None,
    seed: int | None = None,
) -> StoredSet:
    """Distil a dataset; a call that was interrupted continues from its workdir.

    Args:
        data: what to distil. By name: a folder of images, an .npz of arrays, a TFDS set, a Hugging Face set "hf:NAME",
            or "digits" (README, "Your own data"). Or what a program has: a `fsdd.RealSet`; arrays `(images, labels)` or
            `(images, labels, test_images, test_labels)`, images `[n, h, w, c]` or `[n, h, w]`, uint8 or floats in
            [0, 1]; a map-style dataset of PyTorch's kind, or two of them `(train, test)`, whose items are pairs of an
            image (Pillow's, an array or a tensor) and a label; a Hugging Face split, or a dict of splits. Without a
            test split a part is held out.
        workdir: the folder that keeps the run: results.json, pictures, checkpoints and the stored set. None makes a
            temporary one, which is named.
        fields: config fields by dotted name, such as `{"refine.uses": 4}` or `{"refine": {"uses": 4}}`
            (`fsdd.fields()` has all); the rest are those of the CIFAR configs (`fsdd.config.few_networks`).
        ipc: synthetic images per class; 1 unless given here or in `fields`, as the following are.
        method: "distill", "translate", "refine" or another of README's table; "baseline".
        image_size: side in pixels to which images are cropped and resized; 0 keeps images that are squares of one size.
        budget: how long it may take, "fast", "default" or "long" (README, "CIFAR-10 and results"); "default".
        seed: determines the whole run; 0.

    Returns:
        The stored set, as `fsdd.load` gives it.

    Raises:
        UserError: a field, the data or the workdir is bad; one line says which and what is allowed.
    """
    with arguments.named(**_ARGUMENTS):
        given = arguments.gather(fields, ipc=ipc, method=method, image_size=image_size, budget=budget, seed=seed)
        if "dataset" in given:
            raise UserError(f"fields['dataset'] is {given['dataset']!r:.80}; allowed: the argument data in its place")
        is_name = isinstance(data, str | pathlib.PurePath)
        given["dataset"] = str(data) if is_name else handed_in.name_of(data)
        config = configs.resolve(arguments.change(configs.few_networks(configs.default()), given))
        if config.seeds:
            raise UserError(f"seeds is {config.seeds}; allowed: () from Python; the command line distils several sets")
        if pretraining := [stage for stage in config.stages if stage in configs.PRETRAINING]:
            raise UserError(f"stages has {pretraining[0]!r}, which distils no set; call fsdd.pretrain for it")
        if workdir is not None:
            folder = _folder(workdir)
        read_by = (config.image_size, config.pixel_range, config.alpha_background)
        real = None if is_name else handed_in.read(data, *read_by)
        if workdir is None:
            folder = pathlib.Path(tempfile.mkdtemp(prefix="fsdd-"))
            notes.say(f"workdir: {folder}, a temporary folder; name a workdir to keep and to resume the run")
        run(config, folder, given=real)
        return stored_files.load(folder)


def pretrain(
    dataset: str | pathlib.Path, workdir: str | pathlib.Path, fields: Mapping[str, Any] | None = None
) -> pathlib.Path:
    """Pre-train a translator on cached subsets of a big set; a call that was interrupted continues from its workdir.

    Args:
        dataset: a folder of images, an .npz of arrays, a TFDS set, "hf:NAME", or "digits".
        workdir: the folder that keeps the store, the record and the translator.
        fields: config fields by dotted name, such as `{"subsets.count": 100, "pretrain.steps": 5000}`. The rest are the
            paper's Table 1, hours of eight GPUs; `configs/pretrain_cpu.py` has values for 2 cores.

    Returns:
        The translator's folder: the value of `translate.init` with which `distill`, by `method="translate"`, adapts it.

    Raises:
        UserError: a field, the data or the workdir is bad; one line says which and what is allowed.
    """
    with arguments.named(dataset="dataset"):
        if not isinstance(dataset, str | pathlib.PurePath):
            raise UserError(f"dataset is {dataset!r:.80}; allowed: a path, a TFDS name, hf:NAME or 'digits'")
        folder = _folder(workdir)
        given = {"dataset": str(dataset), "stages": configs.PRETRAINING} | arguments.flatten(fields)
        run(configs.resolve(arguments.change(configs.default(), given)), folder)
        return folder / "translator"


def evaluate(
    stored: StoredSet | str | pathlib.Path,
    test_images: np.ndarray,
    test_labels: np.ndarray,
    fields: Mapping[str, Any] | None = None,
) -> Accuracies:
    """Train fresh networks on a stored set and score them, as the run that made it did.

    Args:
        stored: a set with its whitening, as `fsdd.load` gives it, or what `fsdd.load` takes.
        test_images: pixels `[n, h, w, c]`, as those that the set was distilled from: they are read with the same
            fields, `pixel_range` and `image_size`. Without a `pixel_range` they are uint8 or floats in [0, 1].
        test_labels: int `[n]`, in the order of `stored.class_names`.
        fields: config fields by dotted name, such as `{"evaluate.networks": 5, "evaluate.architecture": "alexnet"}`;
            the rest, also those of how data are read, are those of the run that made the set (3 networks, if it scored
            none). With a `protocol` among them, what that decides is no longer the run's: `{"protocol":
            "plain_pixels"}` scores what 8-bit pixels and hard labels are worth.

    Returns:
        For each network, the percentage of test images that it classifies right after its last step; their mean and
        standard deviation.

    Raises:
        UserError: the set was loaded without its whitening, or images, labels or a field do not fit.
    """
    with arguments.named():
        stored = _accept_set(stored)
        given = arguments.flatten(fields)
        config = configs.resolve(_scored_as(stored, given))
        _tell_of_range(config, given)
        images, labels = _accept_test_split(stored, test_images, test_labels, config)
        if not config.evaluate.networks:
            raise UserError("config.evaluate.networks is 0; allowed: at least 1")
        with environment.prepared():
            synthetic, whitening = _prepare(stored, config)
            seen, shares = whitening.apply(images), []
            network, recipe = scorers.build_scorer(config, len(stored.class_names), stored.step_size)
            networks, steps = config.evaluate.networks, training_recipes.steps_of(recipe, len(synthetic))
            with progress.bar(f"networks trained: {networks}", networks * steps) as bar:
                for index in range(networks):
                    key = keys.scoring_key(config.seed, index)[None]
                    state = training.train(network, recipe, synthetic, key, config.compute.dispatch, bar.update)
                    watch = progress.counting("test images", len(labels))
                    shares.append(training.score(network, training.variables(state), seen, labels, watch=watch))
            return Accuracies(100 * np.concatenate(shares), dict(config.evaluate.items()))


def train(
    stored: StoredSet | str | pathlib.Path, fields: Mapping[str, Any] | None = None, *, seed: int | None = None
) -> Classifier:
    """Train a network on a stored set: the first of those that `evaluate` trains and scores.

    Args:
        stored: a set with its whitening, as `fsdd.load` gives it, or what `fsdd.load` takes.
        fields: as for `evaluate`.
        seed: determines the network; that of the run that made the set unless given.

    Returns:
        The network, which takes pixels: `predict`, `logits`, `save`.

    Raises:
        UserError: the set was loaded without its whitening, or a field does not fit.
    """
    with arguments.named(seed="seed"):
        stored = _accept_set(stored)
        config = configs.resolve(_scored_as(stored, arguments.gather(fields, seed=seed)))
        with environment.prepared():
            synthetic, whitening = _prepare(stored, config)
            network, recipe = scorers.build_scorer(config, len(stored.class_names), stored.step_size)
            key = keys.scoring_key(config.seed, 0)[None]
            with progress.bar("training", training_recipes.steps_of(recipe, len(synthetic))) as bar:
                state = training.train(network, recipe, synthetic, key, config.compute.dispatch, bar.update)
            variables = jax.tree.map(lambda leaf: leaf[0], training.variables(state))
            architecture = classifiers.describe_network(config.evaluate, network)
            return Classifier(stored.class_names, stored.image_shape, whitening, architecture, variables)


def _folder(workdir: Any) -> pathlib.Path:
    if not isinstance(workdir, str | pathlib.PurePath) or not str(workdir):
        raise UserError(f"workdir is {workdir!r:.80}; allowed: the path of a folder")
    return paths.expand(workdir, "workdir")


def _accept_set(stored: Any) -> StoredSet:
    """A stored set that has its whitening."""
    if isinstance(stored, str | pathlib.PurePath):
        return stored_files.load(stored, need_whitening=True)
    if not isinstance(stored, StoredSet):
        raise UserError(f"stored is {stored!r:.80}; allowed: a fsdd.StoredSet, the folder of a run or a .npz of a set")
    if stored.whitening is None:
        raise UserError("the stored set has no whitening; load it from where its .whitening.npz is")
    return stored


def _prepare(stored: StoredSet, config: Resolved) -> tuple[SyntheticSet, Any]:
    """What the networks of a config learn from, on the device, and what test images pass through."""
    settings, synthetic = config.evaluate, jax.tree.map(jnp.asarray, stored.synthetic.decoded(stored.factor))
    prepared = training_sets.prepare(synthetic, stored.classes, stored.whitening, settings.images, settings.labels)
    return prepared, training_sets.matching_whitening(stored.whitening, settings.images)


def _accept_test_split(
    stored: StoredSet, test_images: Any, test_labels: Any, config: Resolved
) -> tuple[np.ndarray, np.ndarray]:
    """Test images as uint8 `[n, h, w, c]` and labels as int32 `[n]`, found fit for a stored set."""
    images = arrays.accepted_images("test_images", _array("test_images", test_images), config.pixel_range)
    images = resize(images, config.image_size)
    labels = arrays.accepted_labels("test_labels", _array("test_labels", test_labels))
    if images.shape[1:] != stored.image_shape:
        raise UserError(f"test_images: of shape {list(images.shape[1:])}; allowed: {list(stored.image_shape)}")
    if len(images) != len(labels) or not len(labels):
        raise UserError(f"test_labels: {len(labels)} for {len(images)} images; allowed: one for each, and at least one")
    if labels.max() >= len(stored.class_names):
        raise UserError(f"test_labels: label {labels.max()}; allowed: 0 to {len(stored.class_names) - 1}")
    return images, labels


def _tell_of_range(config: Resolved, given: Mapping[str, Any]) -> None:
    """Say which numbers are black and white where the run that made the set says it, and the caller does not."""
    if config.pixel_range and "pixel_range" not in given:
        black, white = config.pixel_range
        notes.say(
            f"test_images are read with pixel_range=({black:g}, {white:g}), as the set was; the field pixel_range=() "
            "is for uint8 and floats in [0, 1]"
        )


def _array(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{name} is no array, or has rows of several shapes; allowed: an array") from error


def _scored_as(stored: StoredSet, given: dict[str, Any]) -> ml_collections.ConfigDict:
    """The default config with what the run that made a set scored it by, and with some fields given."""
    made_by = stored.provenance.get("config", {})
    config, made_by = configs.default(), legacy.modernise(made_by if isinstance(made_by, dict) else {})
    table = configs.table()
    wanted = {name for name in table if name.startswith("evaluate.")} - {"evaluate.stages"}
    wanted |= {"dataset", "seed", "mirror", "network.width", *_READING}
    if {"protocol", "evaluate.protocol"} & set(given):
        # A run's config holds what its own protocol filled in, which the one that is given replaces.
        wanted -= {name for name in wanted if isinstance(table[name].default, ByProtocol)} | {"evaluate.protocol"}
    if not made_by.get("evaluate.networks"):
        # It scored none: as many as the default then.
        wanted -= {"evaluate.networks"}
    config.update_from_flattened_dict({name: made_by[name] for name in wanted if name in made_by})
    return arguments.change(config, given)
