"""The stages of a run: what moves, on which stream, resumable, each leaving its set and its figures.

A stage is done when its result.json is there; it is then loaded instead of run.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fsdd import config as configs
from fsdd import provenance, stage_files, starts, translators
from fsdd.core import compiling, loop
from fsdd.core.synthetic import SyntheticSet
from fsdd.io import checkpoint, progress, workdir
from fsdd.io.resumable import Resumable
from fsdd.methods import bilevel, distillation, frepo, optimisers, streams, translation
from fsdd.networks import sampling
from fsdd.run import Run, fixed_key, relevant


def run_all(run: Run) -> dict[str, SyntheticSet]:
    """Run or load every stage: the set that each left at the config's IPC, by name, "start" first."""
    config = run.config
    ipcs = {config.ipc, *(config.translate.ipcs if "translate" in config.stages else ())}
    sets = {ipc: starts.start(run, ipc) for ipc in sorted(ipcs)}
    left = {"start": sets[config.ipc]}
    for index, stage in enumerate(config.stages):
        if index:
            # The start is made anew each time, to the machine's rounding.
            stage_files.check_came_from(run.folder / stage, sets[config.ipc])
        if not (run.folder / stage / "config.json").is_file():
            workdir.write(run.folder / stage / "config.json", relevant(config, config.stages[: index + 1]))
        if stage == "translate":
            sets = {config.ipc: translate(run, sets)}
        else:
            move = {"bilevel": learn_space, "frepo": follow_pool}.get(stage, move_images)
            sets = {ipc: move(run, stage, ipc, before) for ipc, before in sets.items()}
        left |= stage_files.kept(run, stage) | {stage: sets[config.ipc]}
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


def _follow(run: Run, stage: str, ipc: int, steps_from: Callable, state, set_of: Callable, spent: float = 0.0):
    """Take all steps of a stage; returns the last state and the record of the way.

    Args:
        run: what all stages share.
        stage: its name.
        ipc: of the set that moves; only the config's own is kept on the way.
        steps_from: `(state, start=.., dispatch=..) -> Iterator`, as `streams.run` yields.
        state: where to begin.
        set_of: the synthetic set of a state.
        spent: seconds that the stage took before them.
    """
    config, folder = run.config, run.stage_folder(stage, ipc)
    total, marks = configs.steps_of(config, stage), configs.marks(config, stage) if ipc == config.ipc else ()
    label = f"{stage} ipc {', '.join(map(str, config.translate.ipcs or (ipc,))) if stage == 'translate' else ipc}"
    resumable = Resumable(folder, label, total, config.compute.checkpoint_seconds)
    begin, state = resumable.restore(state)
    stage_files.check_marks(folder, stage, [mark for mark in marks if mark <= begin])
    if not total:
        resumable.seconds = spent
        return state, resumable
    # A dispatch ends at each mark, and where a group of networks does.
    together = _stream(run, stage).group_steps if stage in configs.STREAMED else total
    dispatch = loop.steps_per_dispatch(config.compute.dispatch, total, begin, together, *marks)
    steps = steps_from(state, start=begin, dispatch=dispatch)

    def keeping():
        """Pass steps on; at marks, store the set as it then is."""
        for position, state, metrics in steps:
            if position in marks:
                path, seconds = folder / "kept" / f"{position}.npz", spent + resumable.elapsed
                stage_files.write_set(path, set_of(state), seconds=seconds)
            yield position, state, metrics

    state = resumable.follow(keeping())
    resumable.seconds += spent
    return state, resumable


def _on_stream(run: Run, stage: str, step: Callable, fixed: sampling.Variables | None = None) -> Callable:
    """What `_follow` takes: `step` on the stage's stream."""
    return functools.partial(
        streams.run, _stream(run, stage), run.objective.network, run.real, _keys(run, stage), step, fixed=fixed,
        watch=functools.partial(progress.waiting, "real images"),
    )  # fmt: skip


def _optimiser(run: Run, stage: str):
    settings = run.config[stage]
    rate = optimisers.cosine(settings.rate, configs.steps_of(run.config, stage), settings.final)
    moving = optimisers.build(settings.optimiser, rate)
    return optimisers.of_images(moving) if run.config.labels == "hard" else moving


def move_images(run: Run, stage: str, ipc: int, before: SyntheticSet) -> SyntheticSet:
    """`distill` or `refine`: images and labels move on the stage's stream."""
    folder = run.stage_folder(stage, ipc)
    if (done := stage_files.stored(folder)) is not None:
        return done
    optimiser = _optimiser(run, stage)
    step = functools.partial(distillation.step, objective=run.objective, optimiser=optimiser)
    state = distillation.init(jax.tree.map(jnp.copy, before), optimiser)
    fixed = _space(run, ipc) if stage == "distill" and "bilevel" in run.config.stages else None
    state, record = _follow(run, stage, ipc, _on_stream(run, stage, step, fixed), state, lambda state: state.synthetic)
    return stage_files.finish(
        folder, state.synthetic, record, stage=stage, ipc=ipc, networks=run.config[stage].networks
    )


def follow_pool(run: Run, stage: str, ipc: int, before: SyntheticSet) -> SyntheticSet:
    """`frepo`: images and labels move in a pool of networks that are trained on them."""
    folder = run.stage_folder(stage, ipc)
    if (done := stage_files.stored(folder)) is not None:
        return done
    settings, root = run.config.frepo, run.key("frepo")
    optimiser = _optimiser(run, stage)
    pool = frepo.Pool(settings.pool, settings.updates, settings.network_rate, settings.network_batch)
    start_key, step_key = jax.random.split(root)
    shape = run.data.image_shape
    state = frepo.init(jax.tree.map(jnp.copy, before), optimiser, run.objective, pool, start_key, shape)
    fixed = {"objective": run.objective, "optimiser": optimiser, "pool": pool}
    fixed |= {"batch": settings.batch, "chunk": run.config.compute.chunk}

    def steps(state, **where):
        return frepo.run(state, step_key, run.real, settings.steps, **where, **fixed)

    state, record = _follow(run, stage, ipc, steps, state, lambda state: state.moving.synthetic)
    # Ages count from where they started up to `updates`, then from nought again: this is how often they did.
    given_way = (int(pool.ages().sum()) + settings.steps - int(state.ages.sum())) // settings.updates
    networks = settings.pool + given_way
    return stage_files.finish(folder, state.moving.synthetic, record, stage=stage, ipc=ipc, networks=networks)


def learn_space(run: Run, stage: str, ipc: int, before: SyntheticSet) -> SyntheticSet:
    """`bilevel`: the one network moves, and leaves what T inner steps make of the start in it; `distill` uses it."""
    folder = run.stage_folder(stage, ipc)
    if (done := stage_files.stored(folder)) is not None:
        return done
    settings, config, optimiser = run.config.bilevel, run.config, _optimiser(run, stage)
    unroll = settings.inner if config.compute.dispatch == 1 else 1
    inner = bilevel.Inner(
        settings.inner, settings.inner_optimiser, settings.inner_rate, settings.batch, settings.remat, unroll
    )
    classes = bilevel.by_class(run.data.train_labels, run.data.num_classes)
    state = bilevel.init(starts.fixed_network(run), optimiser)
    fixed = {"objective": run.objective, "optimiser": optimiser, "inner": inner, "ipc": ipc * config.factor**2}
    step_key, last_key = jax.random.split(run.key("bilevel"))

    def steps(state, **where):
        return bilevel.run(state, step_key, run.real, classes, settings.steps, **where, **fixed)

    near = bilevel.some(run.real, settings.batch, last_key)
    distil = compiling.jit(functools.partial(bilevel.distil, objective=run.objective, inner=inner))

    def made(state):
        return distil(state.variables, before, near)

    state, record = _follow(run, stage, ipc, steps, state, made)
    checkpoint.save_variables(folder / "network", state.variables, provenance.summary())
    return stage_files.finish(folder, made(state), record, stage=stage, ipc=ipc, networks=settings.steps + 1)


def _space(run: Run, ipc: int) -> sampling.Variables:
    """The network that the stage `bilevel` left."""
    shape = run.data.image_shape
    template = jax.eval_shape(lambda: sampling.sample(run.objective.network, fixed_key(run.config), shape))
    return checkpoint.load_variables(run.stage_folder("bilevel", ipc) / "network", template, "network")


def _made_in(config) -> dict[str, Any]:
    """What an adapted translator is tied to: how the sets that it knows were distilled, if they were."""
    tied = ("network", "whitening", "distill") if "distill" in config.stages else ()
    return {name: value for name, value in configs.flat(config).items() if name.split(".")[0] in tied}


def translate(run: Run, sources: dict[int, SyntheticSet]) -> SyntheticSet:
    """The translator moves, on the sets of one or several IPCs; returns the config's IPC translated."""
    config, folder = run.config, run.folder / "translate"
    if (done := stage_files.stored(folder)) is not None:
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
    labels_move = settings.labels and config.labels == "learned"
    labels = optimisers.build(settings.optimiser, settings.label_rate) if labels_move else None
    rate = optimisers.cosine(settings.rate, stream.steps, settings.final, settings.warmup)
    optimiser = translation.optimiser(optimisers.build(settings.optimiser, rate), labels)
    moving = tuple(sources[ipc] for ipc in ipcs)
    step = functools.partial(
        translation.step, sources=moving, translator=translator, objective=run.objective, optimiser=optimiser
    )
    state = translation.init(*jax.tree.map(jnp.copy, (variables, moving)), optimiser)

    def made(state):
        variables = {"params": state.moving.params, "batch_stats": state.batch_stats}
        source = sources[config.ipc]
        if config.ipc in ipcs:
            source = source.replace(labels=state.moving.labels[ipcs.index(config.ipc)])
        statistics, factor = config.translator.statistics, config.factor
        return translation.translate(translator, variables, source, statistics, factor=factor)

    # An auto-encoder's time is the stage's, too.
    autoencoded = settings.init == "autoencoder"
    spent = workdir.read(folder / "autoencoder" / "card.json")["wall_seconds"] if autoencoded else 0.0
    steps_from = _on_stream(run, "translate", step)
    state, record = _follow(run, "translate", config.ipc, steps_from, state, made, spent)
    variables = {"params": state.moving.params, "batch_stats": state.batch_stats}
    card = {"config": configs.flat(config), "channels": translator.channels, "made_in": _made_in(config)}
    card |= {"steps": stream.steps, "networks": stream.networks} | provenance.summary()
    checkpoint.save_variables(folder / "translator", variables, card)
    found = made(state)
    return stage_files.finish(
        folder, found, record, stage="translate", ipc=config.ipc, ipcs=list(ipcs), networks=stream.networks
    )
