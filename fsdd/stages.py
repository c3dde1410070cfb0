"""The stages of a run: what moves, on which stream, resumable, each leaving its set and its figures.

A stage is done when its result.json is there; it is then loaded instead of run.
"""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fsdd import config as configs
from fsdd import provenance, translators
from fsdd.core import synthetic
from fsdd.core.synthetic import SyntheticSet
from fsdd.errors import UserError
from fsdd.io import checkpoint, workdir
from fsdd.io.atomic import replacing
from fsdd.io.resumable import Resumable, clear
from fsdd.methods import distillation, optimisers, streams, translation
from fsdd.run import Run, fixed_key, relevant


def run_all(run: Run) -> dict[str, SyntheticSet]:
    """Run or load every stage: the set that each left at the config's IPC, by name, "start" first."""
    config = run.config
    ipcs = {config.ipc, *(config.translate.ipcs if "translate" in config.stages else ())}
    sets = {
        ipc: synthetic.from_real(run.real.images, run.data.train_labels, run.data.num_classes, ipc, config.seed)
        for ipc in sorted(ipcs)
    }
    left = {"start": sets[config.ipc]}
    for index, stage in enumerate(config.stages):
        if not (run.folder / stage / "config.json").is_file():
            workdir.write(run.folder / stage / "config.json", relevant(config, config.stages[: index + 1]))
        if stage == "translate":
            sets = {config.ipc: translate(run, sets)}
        else:
            sets = {ipc: move_images(run, stage, ipc, start) for ipc, start in sets.items()}
        left[stage] = sets[config.ipc]
    return left


def _stream(run: Run, stage: str) -> streams.Stream:
    settings = run.config[stage]
    return streams.Stream(
        settings.networks,
        settings.uses,
        settings.group,
        settings.real_images,
        settings.batch,
        run.config.compute.chunk,
        run.config.network.cache_dtype,
    )


def _keys(run: Run, stage: str) -> tuple[jax.Array, jax.Array]:
    """Keys of a stage's networks and of its minibatches."""
    root = run.key(stage)
    return fixed_key(run.config) if stage == "distill" else jax.random.fold_in(root, 0), jax.random.fold_in(root, 1)


def _follow(run: Run, stage: str, folder: pathlib.Path, label: str, step, state):
    """Drive a moving part over its stage's stream; returns the last state and the record of the way."""
    stream = _stream(run, stage)
    resumable = Resumable(folder, label, stream.steps, run.config.compute.checkpoint_seconds)
    start, state = resumable.restore(state)
    network, dispatch = run.objective.network, run.config.compute.dispatch
    steps = streams.run(stream, network, run.real, _keys(run, stage), step, state, start=start, dispatch=dispatch)
    return resumable.follow(steps) if stream.steps else state, resumable


def _finish(folder: pathlib.Path, made: SyntheticSet, resumable: Resumable, **facts: Any) -> SyntheticSet:
    """Store a stage's set and figures, result.json last, and drop its checkpoints."""
    with replacing(folder / "set.npz") as path, path.open("wb") as file:
        np.savez(file, images=np.asarray(made.images), labels=np.asarray(made.labels))
    workdir.write(folder / "result.json", facts | {"images": len(made)} | resumable.figures() | provenance.summary())
    resumable.discard()
    return made


def _stored(folder: pathlib.Path) -> SyntheticSet | None:
    """The set of a stage that is done."""
    if not (folder / "result.json").is_file():
        return None
    clear(folder)
    try:
        with np.load(folder / "set.npz") as arrays:
            return SyntheticSet(jnp.asarray(arrays["images"]), jnp.asarray(arrays["labels"]))
    except Exception as error:
        raise UserError(f"{folder / 'set.npz'} cannot be read ({error}); delete {folder} to run it again") from error


def move_images(run: Run, stage: str, ipc: int, start: SyntheticSet) -> SyntheticSet:
    """`distill` or `refine`: images and labels move on the stage's stream."""
    folder = run.stage_folder(stage, ipc)
    if (done := _stored(folder)) is not None:
        return done
    settings, stream = run.config[stage], _stream(run, stage)
    rate = optimisers.cosine(settings.rate, stream.steps, settings.final)
    optimiser = optimisers.build(settings.optimiser, rate)
    step = functools.partial(distillation.step, objective=run.objective, optimiser=optimiser)
    state = distillation.init(jax.tree.map(jnp.copy, start), optimiser)
    state, record = _follow(run, stage, folder, f"{stage} ipc {ipc}", step, state)
    return _finish(folder, state.synthetic, record, stage=stage, ipc=ipc, networks=stream.networks)


def translate(run: Run, sources: dict[int, SyntheticSet]) -> SyntheticSet:
    """The translator moves, on the sets of one or several IPCs; returns the config's IPC translated."""
    config, folder = run.config, run.folder / "translate"
    if (done := _stored(folder)) is not None:
        return done
    settings, stream = config.translate, _stream(run, "translate")
    ipcs = settings.ipcs or (config.ipc,)
    shape = run.data.image_shape
    translator = translators.build(config, settings.init, shape[-1])
    variables = translators.start(
        config,
        settings.init,
        translator,
        shape,
        run.key("autoencoder"),
        lambda: run.real.images,
        folder / "autoencoder",
    )
    labels = optimisers.build(settings.optimiser, settings.label_rate) if settings.labels else None
    rate = optimisers.cosine(settings.rate, stream.steps, settings.final, settings.warmup)
    optimiser = translation.optimiser(optimisers.build(settings.optimiser, rate), labels)
    moving = tuple(sources[ipc] for ipc in ipcs)
    step = functools.partial(
        translation.step, sources=moving, translator=translator, objective=run.objective, optimiser=optimiser
    )
    state = translation.init(*jax.tree.map(jnp.copy, (variables, moving)), optimiser)
    state, record = _follow(run, "translate", folder, f"translate ipc {', '.join(map(str, ipcs))}", step, state)
    variables = {"params": state.moving.params, "batch_stats": state.batch_stats}
    source = sources[config.ipc]
    if config.ipc in ipcs:
        source = source.replace(labels=state.moving.labels[ipcs.index(config.ipc)])
    made = translation.translate(translator, variables, source, config.translator.statistics)
    card = {"config": configs.flat(config), "channels": translator.channels}
    card |= {"steps": stream.steps, "networks": stream.networks} | provenance.summary()
    checkpoint.save_translator(folder / "translator", variables, card)
    return _finish(folder, made, record, stage="translate", ipc=config.ipc, ipcs=list(ipcs), networks=stream.networks)
