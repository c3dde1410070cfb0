"""A whole run, from a config and a workdir to a stored set, its accuracy and its pictures.

<workdir>/results.json           the config, and the figures of all stages and evaluations
<workdir>/<stage>[/ipcN]/        a stage's set.npz and result.json; while it runs, its checkpoints
<workdir>/translate/translator/  the adapted translator: an Orbax checkpoint with a card
<workdir>/evaluation/            one file for each network
<workdir>/whitening.npz          the whitening, fitted once
<workdir>/synthetic.*            the stored set; synthetic.png and curves.png show it and its way
"""

import pathlib
from typing import Any

import jax
import numpy as np

from fsdd import config as configs
from fsdd.config import Resolved
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.data.real_set import RealSet
from fsdd.distilling import context as contexts
from fsdd.distilling import estimate, records, scoring, starts
from fsdd.distilling.context import Context
from fsdd.io import notes, pictures, provenance, stored_files, workdir
from fsdd.io.stored_set import StoredSet


def run(config: Resolved, folder: pathlib.Path, given: RealSet | None = None) -> dict[str, Any]:
    """Do what is not done yet of a config's stages and evaluations, and store the set.

    Args:
        config: resolved.
        folder: the workdir; made if it is not there.
        given: the set to distil, where it is not to be read from what the config names.

    Returns:
        What `<workdir>/results.json` holds.

    Raises:
        UserError: the workdir or the data is bad; what was on disk is still there.
    """
    context = contexts.prepare(config, folder, given)
    if line := estimate.describe(context):
        notes.say(line)
    return complete(context, run_stages(context))


def complete(context: Context, sets: dict[str, SyntheticSet]) -> dict[str, Any]:
    """Store the last of the sets that a run's stages left, draw all, and score those that the config names.

    Returns:
        What `<workdir>/results.json` then holds.
    """
    config, folder, last = context.config, context.folder, list(sets)[-1]
    results = {
        "config": configs.flat(config),
        "seed": config.seed,
        **provenance.summary(),
        "stages": {stage: workdir.read(folder / stage / "result.json") for stage in config.stages},
        "stored_numbers": {"images": sets[last].images.size, "labels": sets[last].labels.size},
        "evaluations": [],
    }
    _store(context, sets[last], results)
    _draw(context, sets, results)
    scorer = scoring.Scorer(context)
    for name in config.evaluate.stages or (last,):
        if config.evaluate.networks:
            seconds = {"distilling_seconds": round(records.seconds_until(context, name), 2)}
            results["evaluations"].append(scorer.score(name, sets[name]) | seconds)
            workdir.write(folder / "results.json", results)
    stored_files.add_provenance(folder / stored_files.NAME, {"evaluations": results["evaluations"]})
    workdir.write(folder / "results.json", results)
    return results


def run_stages(context: Context, sets: dict[int, SyntheticSet] | None = None) -> dict[str, SyntheticSet]:
    """Run or load every stage: the set that each left at the config's IPC, by name, "start" first.

    `sets` is where they begin, by IPC, if not where the config says.
    """
    config = context.config
    if sets is None:
        ipcs = {config.ipc, *(config.translate.ipcs if "translate" in config.stages else ())}
        sets = {ipc: starts.choose_start(context, ipc) for ipc in sorted(ipcs)}
    left = {"start": sets[config.ipc]}
    for index, stage in enumerate(config.stages):
        folder = context.folder / stage
        if index:
            # Only the first stage has no file to come from: the start is made again in each run.
            records.check_came_from(folder, sets[config.ipc])
        if not (folder / "config.json").is_file():
            workdir.write(folder / "config.json", context.stage_fields(config.stages[: index + 1]))
        sets = configs.stages()[stage].run(context, sets)
        left |= records.read_kept(context, stage) | {stage: sets[config.ipc]}
    return left


def _store(context: Context, synthetic: SyntheticSet, results: dict[str, Any]) -> None:
    """Write the stored set, with what made it."""
    figures = {
        stage: {name: value for name, value in result.items() if name != "curve"}
        for stage, result in results["stages"].items()
    }
    facts = {name: results[name] for name in ("config", "seed", "device", "versions", "finished")}
    final = StoredSet(
        jax.tree.map(np.asarray, synthetic),
        context.whitening,
        context.data.class_names,
        scoring.classes_of_rows(context),
        facts | {"dataset": context.data.name, "stages": figures},
        factor=context.config.factor,
    )
    stored_files.save(final, context.folder / stored_files.NAME)


def _draw(context: Context, sets: dict[str, SyntheticSet], results: dict[str, Any]) -> None:
    """Draw the set as each stage left it, and the loss of each stage."""
    titles = {"start": context.config.start if context.config.start in ("noise", "grey") else "real start"} | {
        name: stage.title for name, stage in configs.stages().items() if stage.title
    }
    panels = {}
    for name, synthetic in sets.items():
        if name in titles:
            whitened = np.asarray(synthetic.decoded(context.config.factor).images)
            panels[titles[name]] = np.clip(context.whitening.invert(whitened), 0, 1)
    classes = scoring.classes_of_rows(context)
    bands = context.config.picture_bands
    pictures.grid(context.folder / "synthetic.png", panels, classes, context.data.class_names, bands=bands)
    # What is not regressed lowers a loss of its own.
    curves = {stage: result["curve"] for stage, result in results["stages"].items() if result["curve"]}
    regressed = all("nfr" in points[0] for points in curves.values())
    series = {
        stage: ([point["step"] + 1 for point in points], [point.get("nfr", point["loss"]) for point in points])
        for stage, points in curves.items()
    }
    if series:
        labels = {"xlabel": "step of the stage", "ylabel": "NFR loss" if regressed else "loss"}
        pictures.curve(context.folder / "curves.png", series, **labels, log_x=True)
