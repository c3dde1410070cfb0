"""Descent: closed forms, dispatches of one and of many steps, donation, and how often a loop compiles."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import PartitionSpec as P

from fsdd.core import descent, mesh
from fsdd.io.progress import compile_clock

RATE = 0.1


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def _quadratic(size, seed, dtype=np.float64):
    """`(a, b, x)` of the loss x'ax / 2 - b'x, a positive with eigenvalues of 0.1 to 2, and where it starts."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(size, size)))[0]
    a = (basis * np.linspace(0.1, 2, size)) @ basis.T
    return tuple(np.asarray(array, dtype) for array in (a, rng.normal(size=size), rng.normal(size=size)))


def _step(state, index, a, b):
    """Gradient descent on the quadratic; the rest counts steps and tells where the step was."""

    def loss(x, rest):
        return x @ a @ x / 2 - b @ x, (rest + 1, {"index": index, "before": rest})

    return descent.update(state, loss, optax.sgd(RATE))


def _start(x):
    return descent.init(jnp.asarray(x), optax.sgd(RATE), jnp.int32(0))


def test_gradient_descent_of_a_quadratic_is_its_closed_form(float64, seed):
    """x_t = x* + (I - rate a)^t (x_0 - x*), for which no gradient is needed."""
    a, b, x = _quadratic(5, seed)
    lowest = np.linalg.solve(a, b)
    values, vectors = np.linalg.eigh(a)
    for position, state, metrics in descent.Loop(_step).run(_start(x), 12, a, b):
        apart = vectors * (1 - RATE * values) ** position @ vectors.T @ (x - lowest)
        np.testing.assert_allclose(state.moving, lowest + apart, rtol=1e-9, atol=1e-9)
        before = vectors * (1 - RATE * values) ** (position - 1) @ vectors.T @ (x - lowest)
        # The loss before the step, and its parts.
        wanted = before @ a @ before / 2 - lowest @ a @ lowest / 2
        np.testing.assert_allclose(metrics["loss"], [wanted], rtol=1e-9, atol=1e-9)
        assert (metrics["before"], metrics["index"], state.rest) == (position - 1, position - 1, position)
    assert position == 12


def test_moments_are_the_optimisers():
    """Two steps of momentum, by hand: the state of the optimiser is handed on."""
    optimiser = optax.sgd(0.5, momentum=0.5)
    state = descent.init(jnp.float32(1), optimiser)
    for wanted in (0.5, 0.0):  # 1 - 0.5 * 1, then 0.5 - 0.5 * (0.5 + 0.5 * 1)
        state, _ = descent.update(state, lambda x, rest: (x * x / 2, (rest, {})), optimiser)
        assert state.moving == wanted
    assert state.rest == ()


@pytest.mark.parametrize("dispatch", [3, 4, 12])
def test_dispatches_of_many_steps_are_the_same_steps(dispatch):
    a, b, x = _quadratic(5, 0, np.float32)
    singly = list(descent.Loop(_step).run(_start(x), 12, a, b))
    scanned = list(descent.Loop(_step).run(_start(x), 12, a, b, dispatch=dispatch))
    assert [position for position, _, _ in scanned] == list(range(dispatch, 13, dispatch))
    ends = [state.moving for _, state, _ in (singly[-1], scanned[-1])]
    np.testing.assert_allclose(*ends, rtol=1e-5, atol=1e-6)
    for name in ("loss", "index", "before"):
        one, many = (np.concatenate([metrics[name] for *_, metrics in taken]) for taken in (singly, scanned))
        np.testing.assert_allclose(many, one, rtol=1e-5, atol=1e-6)


def test_a_loop_goes_on_where_it_was_left():
    a, b, x = _quadratic(5, 1, np.float32)
    loop = descent.Loop(_step)
    *_, (_, whole, _) = loop.run(_start(x), 9, a, b)
    *_, (position, part, _) = loop.run(_start(x), 4, a, b)
    assert position == 4
    *_, (position, rest, metrics) = loop.run(part, 9, a, b, start=4)
    assert position == 9 and metrics["index"] == 8
    jax.tree.map(np.testing.assert_array_equal, rest, whole)
    # Nothing is left to do.
    assert list(loop.run(rest, 9, a, b, start=9)) == []


def test_a_state_is_donated_and_constants_are_not():
    a, b, x = map(jnp.asarray, _quadratic(5, 0, np.float32))
    state = _start(x)
    for size in (1, 2):
        after, _ = descent.Loop(_step).many(size)(state, jnp.int32(0), a, b)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
        assert not a.is_deleted() and not b.is_deleted()
        state = after


def test_a_loop_compiles_once_for_each_size():
    a, b, x = _quadratic(7, 0, np.float32)
    loop = descent.Loop(_step)

    def compiled(steps, **how):
        state = jax.block_until_ready(_start(x))
        before = compile_clock.programs
        for _ in loop.run(state, steps, a, b, **how):
            pass
        return compile_clock.programs - before

    assert compiled(4) == 1
    assert compiled(8) == compiled(5, start=2) == 0
    assert compiled(8, dispatch=4) == 1
    assert compiled(24, dispatch=4, start=8) == compiled(4, dispatch=4) == 0
    # From 2 to 8 dispatches are of two steps.
    assert compiled(8, dispatch=4, start=2) == 1


def test_over_a_mesh_gradients_and_all_else_are_means():
    devices = mesh.build_mesh(jax.devices())
    count = len(jax.devices())

    def step(own, state):
        def loss(x, rest):
            return own[0] * x, (rest + own[0], {"part": 2 * own[0]})

        return descent.update(state, loss, optax.sgd(1.0), axis=mesh.AXIS)

    spread = jax.shard_map(step, mesh=devices, in_specs=(P(mesh.AXIS), P()), out_specs=P(), check_vma=False)
    state = descent.init(jnp.float32(3), optax.sgd(1.0), jnp.float32(0))
    own = np.arange(1, count + 1, dtype=np.float32)
    after, metrics = jax.jit(spread)(own, state)
    mean = own.mean()
    assert (after.moving, after.rest, metrics["loss"], metrics["part"]) == (3 - mean, mean, 3 * mean, 2 * mean)


@given(st.integers(1, 100), st.lists(st.integers(0, 10_000), min_size=1, max_size=3).filter(any))
def test_steps_per_dispatch_is_the_largest_that_ends_at_every_stop(limit, stops):
    size = descent.steps_per_dispatch(limit, *stops)
    assert 1 <= size <= limit
    assert all(stop % size == 0 for stop in stops)
    assert not any(math.gcd(*stops) % larger == 0 for larger in range(size + 1, limit + 1))


@given(st.integers(1, 100), st.integers(1, 30), st.integers(1, 60))
def test_a_dispatch_holds_whole_groups_or_an_even_part_of_one(limit, together, groups):
    size = descent.steps_per_dispatch(limit, groups * together, together=together)
    wanted = [n for n in range(1, limit + 1) if groups * together % n == 0 and 0 in (n % together, together % n)]
    assert size == wanted[-1]


@given(st.integers(1, 40), st.integers(1, 200), st.integers(0, 200))
def test_a_run_ends_at_its_last_step_wherever_it_begins(dispatch, steps, start):
    """With the size that `run` chooses, without compiling anything."""
    start = min(start, steps)
    size = descent.steps_per_dispatch(dispatch, steps, start)
    ends = [position + size for position in range(start, steps, size)]
    assert not ends or ends[-1] == steps
