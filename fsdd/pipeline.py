"""A whole run, from a config and a workdir to a stored set, its accuracy and its pictures.

<workdir>/results.json           the config, and the figures of all stages and evaluations
<workdir>/<stage>[/ipcN]/        a stage's set.npz and result.json; while it runs, its checkpoints
<workdir>/translate/translator/  the adapted translator: an Orbax checkpoint with a card
<workdir>/evaluation/            one file a network
<workdir>/synthetic.*            the stored set; synthetic.png and curves.png show it and its way
"""

import dataclasses
import hashlib
import json
import pathlib
import shutil
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from fsdd import config as configs
from fsdd import estimate, provenance, rules, stage_files, stages
from fsdd import run as runs
from fsdd.core.synthetic import SyntheticSet
from fsdd.errors import UserError
from fsdd.evaluation import material, training
from fsdd.io import pictures, progress, stored, workdir
from fsdd.io.resumable import Resumable
from fsdd.networks import registry
from fsdd.pretraining import pipeline as pretraining


def run(config: ml_collections.ConfigDict, folder: pathlib.Path, stage: str | None = None) -> dict[str, Any]:
    """Do what is not done yet of a config's stages and evaluations, and store the set.

    Args:
        config: a delta on `fsdd.config.default()`.
        folder: the workdir; made if it is not there.
        stage: the one stage to run of a config that pre-trains; None for all.

    Returns:
        What `<workdir>/results.json` holds.

    Raises:
        UserError: the config, the data or the workdir is bad; what was on disk is still there.
    """
    config = configs.resolve(config)
    if config.stages and set(config.stages) <= set(rules.PRETRAINING):
        return pretraining.run(config, folder, stage)
    if stage is not None:
        raise UserError(f"--stage is {stage!r}; it is for configs that pre-train, such as configs/pretrain_cpu.py")
    if jax.process_count() > 1:
        raise UserError(
            f"this is one of {jax.process_count()} processes of a job; allowed: one, or a config that pre-trains, such "
            "as configs/pretrain_cpu.py"
        )
    context = runs.prepare(config, folder)
    if line := estimate.describe(context):
        print(line, flush=True)
    left = stages.run_all(context)
    last = list(left)[-1]
    results = {
        "config": configs.flat(config),
        "seed": config.seed,
        **provenance.summary(),
        "stages": {stage: workdir.read(folder / stage / "result.json") for stage in config.stages},
        "stored_numbers": {"images": left[last].images.size, "labels": left[last].labels.size},
        "evaluations": [],
    }
    _store(context, left, results)
    for name in config.evaluate.stages or (last,):
        if config.evaluate.networks:
            seconds = {"distilling_seconds": round(stage_files.seconds_until(context, name), 2)}
            results["evaluations"].append(evaluate(context, name, left[name]) | seconds)
            workdir.write(folder / "results.json", results)
    workdir.write(folder / "results.json", results)
    return results


def _store(context: runs.Run, left: dict[str, SyntheticSet], results: dict[str, Any]) -> None:
    """The stored set, and pictures of how it came about."""
    folder, data = context.folder, context.data
    factor = context.config.factor
    classes = _classes(context)
    figures = {
        stage: {name: value for name, value in result.items() if name != "curve"}
        for stage, result in results["stages"].items()
    }
    facts = {name: results[name] for name in ("config", "seed", "device", "versions", "finished")}
    final = stored.StoredSet(
        jax.tree.map(np.asarray, list(left.values())[-1]),
        context.whitening,
        data.class_names,
        classes,
        facts | {"dataset": data.name, "stages": figures},
        factor=factor,
    )
    stored.save(final, folder / "synthetic.npz")
    titles = {
        "start": "real start",
        "bilevel": "distilled for a few steps in the learned network",
        "distill": "distilled in one network",
        "translate": "translated",
        "refine": "refined",
        "frepo": "distilled in a pool of networks",
    }
    panels = {}
    for name, title in titles.items():
        if name in left:
            whitened = np.asarray(left[name].decoded(factor).images)
            panels[title] = np.clip(context.whitening.invert(whitened), 0, 1)
    pictures.grid(folder / "synthetic.png", panels, classes, data.class_names)
    series = {}
    for stage, result in results["stages"].items():
        curve = result["curve"]
        if not curve:
            continue
        series[stage] = ([point["step"] + 1 for point in curve], [point["nfr"] for point in curve])
    if series:
        pictures.curve(folder / "curves.png", series, xlabel="step of the stage", ylabel="NFR loss", log_x=True)


def _classes(context: runs.Run) -> np.ndarray:
    """The class that each image of the set was made for, int `[n]`."""
    return np.repeat(np.arange(context.data.num_classes), context.config.ipc * context.config.factor**2)


def evaluate(context: runs.Run, name: str, synthetic: SyntheticSet) -> dict[str, Any]:
    """Train fresh networks on one stage's set and score them on the test split; done ones are not repeated."""
    config, data = context.config, context.data
    settings, folder = config.evaluate, _evaluation_folder(context, name, synthetic)
    network, recipe = scorer(config, data.num_classes)
    whole, classes = synthetic.decoded(config.factor), _classes(context)
    seen, seen_by = material.of(whole, classes, context.whitening, settings.images, settings.labels)
    networks = [
        result
        for start in range(0, settings.networks, config.compute.networks_at_once)
        for result in _train_some(
            context, name, folder, network, recipe, seen, seen_by,
            range(start, min(start + config.compute.networks_at_once, settings.networks)),
        )
    ]  # fmt: skip
    accuracies = np.array([result["accuracy"] for result in networks])
    return {
        "stage": name,
        "architecture": settings.architecture,
        "width": network.width,
        "norm": settings.norm,
        "parameters": networks[0]["parameters"],
        "steps": networks[0]["steps"],
        "networks": len(networks),
        "test_images": len(data.test_labels),
        "accuracies": accuracies.round(2).tolist(),
        "mean": round(float(accuracies.mean()), 2),
        "std": round(float(accuracies.std(ddof=1)), 2) if len(networks) > 1 else 0.0,
        "wall_seconds": round(sum(result["wall_seconds"] for result in networks), 2),
        "recipe": {field: value for field, value in settings.items() if field not in ("stages", "networks")},
    }


def scorer(config: ml_collections.ConfigDict, num_classes: int) -> tuple[nn.Module, training.Recipe]:
    """The networks that score a resolved config's sets, and how they are trained."""
    settings = config.evaluate
    network = registry.build(
        settings.architecture,
        num_classes,
        width=settings.width or (config.network.width if settings.architecture == "convnet" else 0),
        depth=settings.depth,
        norm=settings.norm,
        initialisation=settings.initialisation,
    )
    fields = {field.name for field in dataclasses.fields(training.Recipe)} - {"mirror"}
    return network, training.Recipe(**{name: settings[name] for name in fields}, mirror=config.mirror)


def scoring_key(seed: int, index: int) -> jax.Array:
    """What determines the network number `index` that scores, and its training."""
    return jax.random.fold_in(runs.purpose_key(seed, "evaluate"), index)


def _evaluation_folder(context: runs.Run, name: str, synthetic: SyntheticSet) -> pathlib.Path:
    """One folder for each (set, way of evaluating); its name ends in a hash of both."""
    config, stage = context.config, name.partition("@")[0]
    stages_until = config.stages[: config.stages.index(stage) + 1] if stage in config.stages else ()
    fields = runs.relevant(config, stages_until) | {
        f"evaluate.{field}": value for field, value in config.evaluate.items() if field not in ("stages", "networks")
    }
    fields |= {"mirror": config.mirror, "data": context.data.identity(), "set": stage_files.digest(synthetic)}
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]
    return context.folder / "evaluation" / f"{name}-{config.evaluate.architecture}-{digest}"


def _train_some(context, name, folder, network, recipe, synthetic, seen_by, indices) -> list[dict[str, Any]]:
    """Results of the networks `indices`, trained at once unless all of them are there already."""
    files = [folder / f"network{index}.json" for index in indices]
    scratch = folder / f"training{indices[0]}"
    if all(file.is_file() for file in files):
        # Left by a run that was killed between its last result and this.
        shutil.rmtree(scratch, ignore_errors=True)
        return [workdir.read(file) for file in files]
    config, data = context.config, context.data
    keys = jnp.stack([scoring_key(config.seed, index) for index in indices])
    steps = training.steps_of(recipe, len(synthetic))
    label = f"evaluate {name}, network {', '.join(str(index + 1) for index in indices)} of {config.evaluate.networks}"
    resumable = Resumable(scratch, label, steps, config.compute.checkpoint_seconds)
    start, state = resumable.restore(training.init(network, recipe, synthetic, keys))
    dispatch = config.compute.dispatch
    state = resumable.follow(training.run(network, recipe, synthetic, keys, state, start=start, dispatch=dispatch))
    images = seen_by.apply(data.test_images)
    with progress.bar("test images", len(images), unit="image") as bar:
        accuracies = training.score(network, state.variables, images, data.test_labels, watch=bar.update)
    parameters = sum(leaf[0].size for leaf in jax.tree.leaves(state.variables["params"]))
    figures = resumable.figures()
    del figures["curve"]
    figures["wall_seconds"] = round(figures["wall_seconds"] / len(files), 2)
    results = [
        {"accuracy": round(100 * float(accuracy), 2), "parameters": parameters} | figures | provenance.summary()
        for accuracy in accuracies
    ]
    for file, result in zip(files, results, strict=True):
        workdir.write(file, result)
    resumable.discard()
    scratch.rmdir()
    return results
