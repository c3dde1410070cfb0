"""How a stage moves a set: its steps are taken, resumed and recorded here, whatever they are."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fsdd import config as configs
from fsdd.config import Resolved
from fsdd.core import compilation, descent
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.distilling import records
from fsdd.distilling.context import Context
from fsdd.io import progress
from fsdd.io.resumable import Resumable
from fsdd.io.synthetic_files import write_set
from fsdd.methods import distillation, optimisers, stream_driver, streams
from fsdd.networks import sampling


@dataclasses.dataclass(frozen=True)
class Move:
    """What a stage moves, and how.

    Attributes:
        state: where it begins.
        run: `(state, start=.., dispatch=..)` to what `descent.Loop.run` yields.
        set_of: the synthetic set of a state.
        networks: how many networks were used, of the last state.
        together: steps of which a dispatch takes a part that divides them, or a multiple.
        spent: seconds that the stage took before its first step.
        keep: stores what else the stage leaves in its folder, of the last state.
        label: what the progress bar says.
        facts: more for the stage's result.
        learned: what else a state has learned, as numbers by name: for the result, and beside the sets that are kept.
    """

    state: descent.State
    run: Callable[..., Iterator[tuple[int, descent.State, descent.Metrics]]]
    set_of: Callable[[descent.State], SyntheticSet]
    networks: Callable[[descent.State], int]
    together: int = 1
    spent: float = 0.0
    keep: Callable[[pathlib.Path, descent.State], object] = lambda folder, state: None
    label: str = ""
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    learned: Callable[[descent.State], dict[str, Any]] = lambda state: {}


def run_each(
    context: Context,
    stage: str,
    sets: dict[int, SyntheticSet],
    begin: Callable[[Context, int, SyntheticSet], Move],
) -> dict[int, SyntheticSet]:
    """Move the set of each IPC; what is done already is loaded."""
    return {
        ipc: run_one(context, stage, ipc, functools.partial(begin, context, ipc, before))
        for ipc, before in sets.items()
    }


def run_one(context: Context, stage: str, ipc: int, begin: Callable[[], Move]) -> SyntheticSet:
    """Take all steps of a stage for one IPC and store what comes of them, or load what is stored."""
    folder = context.stage_folder(stage, ipc)
    if (done := records.read_finished(folder)) is not None:
        return done
    move = begin()
    state, resumable = _follow(context, stage, ipc, move)
    move.keep(folder, state)
    facts = {"stage": stage, "ipc": ipc, "networks": move.networks(state)} | move.facts | move.learned(state)
    return records.finish(folder, move.set_of(state), resumable, **facts)


def _follow(context: Context, stage: str, ipc: int, move: Move) -> tuple[descent.State, Resumable]:
    """Take all steps of a stage; only sets of the config's own IPC are kept on the way."""
    config, folder = context.config, context.stage_folder(stage, ipc)
    total, marks = configs.steps_of(config, stage), configs.marks(config, stage) if ipc == config.ipc else ()
    resumable = Resumable(folder, move.label or f"{stage} ipc {ipc}", total, config.compute.checkpoint_seconds)
    begin, state = resumable.restore(move.state)
    records.check_marks(folder, stage, [mark for mark in marks if mark <= begin])
    if not total:
        resumable.seconds = move.spent
        return state, resumable
    dispatch = descent.steps_per_dispatch(config.compute.dispatch, total, begin, *marks, together=move.together)
    steps = move.run(state, start=begin, dispatch=dispatch)

    def keeping():
        """Pass steps on; at marks, store the set as it then is."""
        for position, state, metrics in steps:
            context.watch(stage, position)
            if position in marks:
                seconds = move.spent + resumable.elapsed
                write_set(
                    folder / "kept" / f"{position}.npz", move.set_of(state), seconds=seconds, **move.learned(state)
                )
            yield position, state, metrics

    state = resumable.follow(keeping())
    resumable.seconds += move.spent
    return state, resumable


def build_stream(context: Context, stage: str) -> streams.Stream:
    """The stream of a stage with the fields of `stream_fields`."""
    config, settings = context.config, context.config[stage]
    return streams.Stream(
        settings.networks,
        settings.uses,
        settings.group,
        settings.real_images,
        settings.batch,
        config.compute.chunk,
        config.network.cache_dtype,
        context.is_balanced,
        settings.networks_per_step,
    )


def run_on_stream(
    context: Context,
    stream: streams.Stream,
    keys: tuple[jax.Array, jax.Array],
    step: Callable,
    *constants: Any,
    fixed: sampling.Variables | None = None,
) -> Callable:
    """What `Move.run` is for a step on a stream; `keys`, `constants` and `fixed` are those of `stream_driver.run`."""
    network, watch = context.objective.real_network, functools.partial(progress.waiting, "real images")

    def run(state, **where):
        return stream_driver.run(
            stream, network, context.real, keys, step, state, *constants, fixed=fixed, watch=watch, **where
        )

    return run


def run_iterations(context: Context, stage: str, programs: Any, *given: Any) -> Callable:
    """What `Move.run` is for programs of which an iteration is a dispatch, or many, by itself; `given` is for `run`."""
    config = context.config

    def run(state, start, dispatch):
        own = {"start": start, "dispatch": config.compute.dispatch}
        return programs.run(state, configs.steps_of(config, stage), *given, **own)

    return run


def move_images(
    context: Context,
    stage: str,
    before: SyntheticSet,
    stream: streams.Stream,
    networks_key: jax.Array,
    fixed: sampling.Variables | None = None,
) -> Move:
    """Images and labels move on a stream of networks that `networks_key` determines."""
    optimiser = build_set_optimiser(context.config, stage)
    step = compilation.bind(distillation.step, objective=context.objective, optimiser=optimiser)
    if context.config.seeds:
        step = compilation.bind(_step_each, step=step)
    keys = networks_key, jax.random.fold_in(context.key(stage), 1)
    return Move(
        state=begin_set(before, optimiser, stacked=bool(context.config.seeds)),
        run=run_on_stream(context, stream, keys, step, fixed=fixed),
        set_of=lambda state: state.moving,
        networks=lambda _: stream.networks,
        together=stream.group_steps,
    )


def _step_each(state: descent.State, draws, *, step: Callable, **spread: Any) -> tuple[descent.State, descent.Metrics]:
    """A step of each of several stacked sets on the same draws; metrics are means over the sets."""
    states, metrics = jax.vmap(lambda one: step(one, draws, **spread))(state)
    return states, jax.tree.map(lambda metric: metric.mean(axis=0), metrics)


def begin_set(before: SyntheticSet, optimiser: optax.GradientTransformation, stacked: bool = False) -> descent.State:
    """The state of a set that moves, of its own arrays: it is donated, and the set before it is still needed."""

    def begin(synthetic):
        return descent.init(synthetic, optimiser)

    return (jax.vmap(begin) if stacked else begin)(jax.tree.map(jnp.copy, before))


def build_optimiser(config: Resolved, stage: str) -> optax.GradientTransformation:
    """A stage's optimiser, at the rate that its fields describe."""
    settings = config[stage]
    return optimisers.build(
        settings.optimiser, optimisers.cosine(settings.rate, configs.steps_of(config, stage), settings.final)
    )


def build_set_optimiser(config: Resolved, stage: str) -> optax.GradientTransformation:
    """The same for synthetic sets: labels move with the images, or are held."""
    moving = build_optimiser(config, stage)
    return optimisers.hold_labels(moving) if config.labels == "hard" else moving
