"""Driving what moves over a stream: its groups of networks are drawn, and their steps taken, by compiled programs.

Groups of which a dispatch holds one or more are drawn by the program that takes their steps, others before it. Keys,
sets and real images are arguments of the programs, so that runs of one step on one kind of stream share them.
"""

import functools
from collections.abc import Callable, Iterator

import flax.linen as nn
import jax
import numpy as np

from fsdd.core import compilation, descent, mesh
from fsdd.methods import streams
from fsdd.methods.streams import Group, Real, Stream
from fsdd.networks import sampling


def run(
    stream: Stream,
    network: nn.Module,
    real: Real,
    keys: tuple[jax.Array, jax.Array],
    step: Callable,
    state,
    *constants,
    start: int = 0,
    dispatch: int = 1,
    fixed: sampling.Variables | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[int, object, dict]]:
    """Drive a moving part over a stream.

    Args:
        stream: which network and which real features serve each step.
        network: the architecture of Theta.
        real: the real set.
        keys: the first determines the networks and the real images that each keeps, the second the minibatches.
        step: `(state, draws, *constants) -> (state, metrics)`, pure, of the draws of a step; metrics are scalars. Where
            several devices have a part of the draws each, it is told by `axis` over which axis of a mesh to average.
            Equal steps share their programs, if they are made by `compilation.bind`.
        state: where to begin; donated.
        constants: trees of arrays that every step is given.
        start: the step that `state` has reached; a resumed run passes the same keys and goes on there.
        dispatch: the most steps per dispatch.
        fixed: the network of a stream of one, if it is not to be a random one.
        watch: `streams.fill`'s.

    Yields:
        `(steps done, state, metrics)` after each dispatch, metrics stacked to `[steps of it]` on the device. The state
        is donated to the next dispatch: copy it to keep it.
    """
    spread = mesh.build_local_mesh(stream.at_once)
    dispatch = descent.steps_per_dispatch(dispatch, stream.steps, start, together=stream.group_steps)
    state, real, keys, constants = mesh.share(spread, (state, real, keys, constants))
    fixed_part = {"stream": stream, "step": step, "spread": spread}
    if dispatch % stream.group_steps == 0 and stream.networks > stream.group:
        loop = descent.Loop(compilation.bind(_take_group, network=network, **fixed_part))
        yield from _run_groups(stream, loop, state, start, dispatch, (real, *keys, *constants))
        return
    drawn = compilation.jit(compilation.bind(_draw_group, stream=stream, network=network, spread=spread))

    def fill(index):
        if spread is not None:
            return drawn(real, keys[0], index)
        given = None if fixed is None else jax.tree.map(lambda leaf: leaf[None], fixed)
        return streams.fill(stream, network, real, jax.random.fold_in(keys[0], index), given, watch)

    loop = functools.partial(descent.Loop(compilation.bind(_take_one, **fixed_part)).run, dispatch=dispatch)
    yield from _run_filled(stream, fill, loop, state, start, (keys[1], *constants))


def _draw_own(real: Real, groups_key: jax.Array, index: jax.Array, *, stream, network, spread) -> Group:
    """What one device has of a group."""
    key, devices = jax.random.fold_in(groups_key, index), 1 if spread is None else spread.size
    return streams.fill_within(stream, network, real, key, devices, mesh.device_place(spread))


def _take_own(carry, t: jax.Array, group: Group, batch_key: jax.Array, *constants, stream, step, spread):
    """A step, on one device, on what it has of a group."""
    named = {} if spread is None else {"axis": mesh.AXIS}
    return step(carry, streams.draw(stream, group, batch_key, t, mesh.device_place(spread)), *constants, **named)


def _draw_group(*given, stream, network, spread) -> Group:
    """A group, of `(real, groups_key, index)`."""
    return mesh.map_lanes(compilation.bind(_draw_own, stream=stream, network=network, spread=spread), spread)(*given)


def _take_one(carry, t: jax.Array, group: Group, *rest, stream, step, spread):
    """A step on a group; the rest is `(batch_key, *constants)`."""

    def take(group, carry, t, *rest):
        return _take_own(carry, t, group, *rest, stream=stream, step=step, spread=spread)

    return mesh.map_lanes(take, spread, lanes=1, reduced=True)(group, carry, t, *rest)


def _take_group(*given, stream, network, step, spread):
    """All steps of a group that is drawn before them, of `(carry, index, real, groups_key, batch_key, *constants)`."""
    one = compilation.bind(_take_own, stream=stream, step=step, spread=spread)

    def take(carry, index, real, groups_key, *rest):
        group = _draw_own(real, groups_key, index, stream=stream, network=network, spread=spread)
        return descent.take(one, stream.group_steps, carry, index * stream.group_steps, group, *rest)

    return mesh.map_lanes(take, spread, reduced=True)(*given)


def _run_groups(
    stream: Stream, loop: descent.Loop, state, start: int, dispatch: int, constants: tuple
) -> Iterator[tuple[int, object, dict]]:
    """`run` where the program that takes steps draws their networks, and computes features: whole groups at once."""
    each = stream.group_steps
    for groups, after, metrics in loop.run(
        state, stream.steps // each, *constants, start=start // each, dispatch=dispatch // each
    ):
        yield groups * each, after, jax.tree.map(lambda metric: metric.reshape(-1, *metric.shape[2:]), metrics)


def _run_filled(
    stream: Stream, fill: Callable[[int], Group], loop: Callable, state, position: int, constants: tuple
) -> Iterator[tuple[int, object, dict]]:
    """`run` from a step on, where each group is filled before its steps."""
    while position < stream.steps:
        index = position // stream.group_steps
        end = min((index + 1) * stream.group_steps, stream.steps)
        for taken in loop(state, end, fill(np.int32(index)), *constants, start=position):
            position, state, metrics = taken
            yield taken
        # The next group must not be computed while this one still fills memory.
        jax.block_until_ready(metrics)
