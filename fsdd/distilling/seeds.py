"""Sets of several seeds, distilled side by side: networks are drawn, and real images pass through them, once for all.

<workdir>/results.json    the figures of all
<workdir>/<stage>/        a stage's sets, stacked in set.npz; while it runs, its checkpoints
<workdir>/seedN/          the workdir of a run with `seed` N and this one's `shared_seed`, which is done
"""

import dataclasses
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fsdd import config as configs
from fsdd.assembly import keys
from fsdd.config import Resolved
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.data.real_set import RealSet
from fsdd.distilling import context as contexts
from fsdd.distilling import estimate, pipeline, records, starts
from fsdd.distilling.context import Context
from fsdd.io import notes, provenance, workdir
from fsdd.io.synthetic_files import read_set, write_set


def run(config: Resolved, folder: pathlib.Path, given: RealSet | None = None) -> dict[str, Any]:
    """Do what is not done yet of a config with `seeds`: arguments, files and errors are those of `pipeline.run`.

    Returns:
        What `<workdir>/results.json` holds: accuracies are means over seeds, with their spread.
    """
    context = contexts.prepare(config, folder, given)
    if line := estimate.describe(context):
        notes.say(line)
    each = [_prepare_one(context, seed) for seed in config.seeds]
    begun = [starts.choose_start(one, config.ipc) for one in each]
    sets = pipeline.run_stages(context, {config.ipc: jax.tree.map(lambda *leaves: jnp.stack(leaves), *begun)})
    found = []
    for index, one in enumerate(each):
        own = {name: _pick(stacked, index) for name, stacked in sets.items()}
        _hand_out(context, one, own, index)
        found.append(pipeline.complete(one, own))
    results = {
        "config": configs.flat(config),
        **provenance.summary(),
        "stages": {stage: workdir.read(folder / stage / "result.json") for stage in config.stages},
        "evaluations": [_summarise(same) for same in zip(*(one["evaluations"] for one in found), strict=True)],
    }
    workdir.write(folder / "results.json", results)
    return results


def _prepare_one(context: Context, seed: int) -> Context:
    """What the run of one seed has, in a folder of its own."""
    own = {"seed": seed, "shared_seed": keys.shared_seed(context.config), "seeds": ()}
    config, folder = configs.replace(context.config, own), context.folder / f"seed{seed}"
    workdir.check_place(folder)
    contexts.check_stages(config, folder)
    workdir.create(folder)
    workdir.write(folder / "data.json", context.origin.identity | {"dataset": context.origin.dataset})
    return dataclasses.replace(context, config=config, folder=folder)


def _hand_out(context: Context, one: Context, sets: dict[str, SyntheticSet], index: int) -> None:
    """Leave in the workdir of one seed what its stages would have left there; seconds are its share."""
    before, config = sets["start"], one.config
    for position, stage in enumerate(config.stages):
        folder, source = one.folder / stage, context.folder / stage
        if position:
            records.check_came_from(folder, before)
        before = sets[stage]
        if (folder / "result.json").is_file():
            continue
        workdir.write(folder / "config.json", one.stage_fields(config.stages[: position + 1]))
        for path in source.glob("kept/*.npz"):
            with np.load(path) as arrays:
                seconds = float(arrays["seconds"]) / len(context.config.seeds)
            write_set(folder / "kept" / path.name, _pick(read_set(path), index), seconds=seconds)
        write_set(folder / "set.npz", sets[stage])
        result = workdir.read(source / "result.json")
        shared = {
            name: round(result[name] / len(context.config.seeds), 2) for name in ("wall_seconds", "compile_seconds")
        }
        workdir.write(folder / "result.json", result | shared)


def _pick(stacked: SyntheticSet, index: int) -> SyntheticSet:
    return jax.tree.map(lambda leaf: leaf[index], stacked)


def _summarise(evaluations: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """The accuracy of a stage's sets over seeds: that of each is a mean over networks."""
    same = ("stage", "architecture", "width", "norm", "steps", "networks", "recipe")
    means = np.array([one["mean"] for one in evaluations])
    return {name: evaluations[0][name] for name in same} | {
        "seeds": len(means),
        "means": means.tolist(),
        "mean": round(float(means.mean()), 2),
        "std": round(float(means.std(ddof=1)), 2),
    }
