"""FRePo: S and a network of the pool move as written out by hand; ages, replacement, and what a key determines."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsdd.core import compilation, descent, losses
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.methods import distillation, frepo, nfr, regression, streams
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet

SHAPE = (8, 8, 3)
NETWORK = ConvNet(3, width=4, depth=2, norm="batch")
OBJECTIVE = nfr.Objective(NETWORK)
OPTIMISER = optax.sgd(0.1)
POOL = frepo.Pool(size=4, updates=8, rate=1e-2, batch=3)
FIXED = {"objective": OBJECTIVE, "optimiser": OPTIMISER, "pool": POOL, "batch": 10, "chunk": 4}

# Compiled once for all tests here, because compiling is most of what they take.
features = compilation.jit(functools.partial(sampling.features, NETWORK))
train = compilation.jit(functools.partial(NETWORK.apply, train=True, mutable=["batch_stats"]))
step = compilation.jit(functools.partial(frepo.step, **FIXED))


def _images(n, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, *SHAPE)), jnp.float32)


def _labels(classes):
    return jnp.asarray(np.eye(3)[classes] - 1 / 3, jnp.float32)


@pytest.fixture(scope="module")
def real():
    return streams.Real(_images(30, 1), _labels(np.arange(30) % 3))


@pytest.fixture(scope="module")
def synthetic():
    return SyntheticSet(_images(6), _labels(np.repeat(np.arange(3), 2)))


@pytest.fixture(scope="module")
def start(synthetic):
    """Not to be donated."""
    return frepo.init(synthetic, OPTIMISER, OBJECTIVE, POOL, jax.random.key(0), SHAPE)


def _member(state, turn):
    return jax.tree.map(lambda leaf: leaf[turn], state.rest.networks)


def _adam(params, gradient, moments, rate, step):
    """One update of Adam, written out in NumPy."""
    mean, square = (0.9 * moments[0] + 0.1 * gradient, 0.999 * moments[1] + 0.001 * gradient**2)
    unbiased = mean / (1 - 0.9**step), square / (1 - 0.999**step)
    return params - rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8), (mean, square)


def test_a_network_learns_the_labels_of_the_set_as_it_now_is(real, synthetic, start):
    pool = frepo.Pool(size=4, updates=8, rate=1e-2, batch=6)
    move = compilation.jit(functools.partial(frepo.move, objective=OBJECTIVE, optimiser=OPTIMISER, pool=pool))
    first = member = _member(start, 0)
    draw = streams.Draw(regression.variables(member), features(regression.variables(member), real.images), real.labels)
    moving = descent.State(synthetic, (), start.optimiser)
    kernel, moments = np.asarray(member.moving["Dense_0"]["kernel"]), (0.0, 0.0)
    for count in (1, 2):
        moving, (after,), _ = move(moving, [member], [draw], jax.random.key(0)[None])
        # The head's gradient in closed form: features of a forward pass in training times the error.
        output, _ = train(regression.variables(member), moving.moving.images)
        error = np.asarray(output.logits - moving.moving.labels) / len(synthetic)
        kernel, moments = _adam(kernel, np.asarray(output.features).T @ error, moments, 1e-2, count)
        np.testing.assert_allclose(after.moving["Dense_0"]["kernel"], kernel, atol=2e-7)
        member = after
    assert (member.moving["Dense_0"]["kernel"] != first.moving["Dense_0"]["kernel"]).any()
    for before, now in zip(*map(jax.tree.leaves, (first.rest, member.rest)), strict=True):
        assert (before != now).any()


def test_a_network_learns_at_the_rate_of_either_of_frepos_codes():
    """The PyTorch code's: what PyTorch's `LinearLR(0.01, 500)` and `CosineAnnealingLR(100, 3e-6)`, chained, gave."""
    wanted = {
        0: 3e-6, 1: 3.593853448e-6, 2: 4.186950116e-6, 10: 8.815798499e-6, 25: 1.587981585e-5, 50: 1.856991552e-5,
        75: 1.028083070e-5, 90: 4.647279547e-6, 99: 3.034703834e-6, 100: 3e-6,
    }  # fmt: skip
    steps = np.array(list(wanted))
    chained, constant = (jax.vmap(frepo.Pool(schedule=schedule).rates)(steps) for schedule in frepo.SCHEDULES[::-1])
    np.testing.assert_allclose(chained, list(wanted.values()), rtol=1e-6)
    np.testing.assert_allclose(constant, 3e-4)


def test_ages_are_staggered_and_the_grown_give_way(real, start):
    np.testing.assert_array_equal(start.rest.ages, [0, 2, 4, 6])
    state, replaced = jax.device_get(start), 0
    for index in range(60):
        before = state
        state = jax.device_get(step(before, jax.random.key(index), real)[0])
        networks, ages = state.rest.networks, state.rest.ages
        (turn,) = np.flatnonzero(ages != before.rest.ages)
        count = optax.tree.get(_member(state, turn).optimiser, "mu")
        if before.rest.ages[turn] == POOL.updates - 1:
            replaced += 1
            assert ages[turn] == 0
            assert all((leaf == 0).all() for leaf in jax.tree.leaves(count))
            assert (networks.moving["Conv_0"]["bias"][turn] == 0).all()
        else:
            assert ages[turn] == before.rest.ages[turn] + 1
            assert any((leaf != 0).any() for leaf in jax.tree.leaves(count))
        others = np.arange(POOL.size) != turn
        for old, new in zip(*map(jax.tree.leaves, (before.rest.networks, networks)), strict=True):
            np.testing.assert_array_equal(old[others], new[others])
    assert replaced >= 4
    assert POOL.replaced(60, state.rest.ages) == replaced


def test_a_step_moves_the_set_as_distillation_does_on_the_rows_it_draws(real, synthetic, start):
    """With all real images alike, which rows are drawn does not matter."""
    alike = streams.Real(jnp.tile(real.images[:1], (30, 1, 1, 1)), jnp.tile(real.labels[:1], (30, 1)))
    after, metrics = step(start, jax.random.key(3), alike)
    distil = compilation.jit(functools.partial(distillation.step, objective=OBJECTIVE, optimiser=OPTIMISER))
    turns = []
    for turn in range(POOL.size):
        variables = regression.variables(_member(start, turn))
        seen = features(variables, alike.images)[:10]
        moving = descent.State(synthetic, (), start.optimiser)
        wanted, parts = distil(moving, (streams.Draw(variables, seen, alike.labels[:10]),))
        if np.allclose(after.moving.images, wanted.moving.images, atol=1e-6):
            turns.append(turn)
            assert abs(parts["loss"] - metrics["loss"]) < 1e-5
    assert len(turns) == 1


@pytest.mark.whole
def test_several_networks_serve_a_step_and_each_learns(real, synthetic, start):
    alike = streams.Real(jnp.tile(real.images[:1], (30, 1, 1, 1)), jnp.tile(real.labels[:1], (30, 1)))
    pool = dataclasses.replace(POOL, at_once=2)
    after, metrics = compilation.jit(functools.partial(frepo.step, **FIXED | {"pool": pool}))(
        start, jax.random.key(3), alike
    )
    turns = np.flatnonzero(after.rest.ages != start.rest.ages)
    assert len(turns) == 2 and turns[1] - turns[0] == 2
    assert pool.replaced(1, after.rest.ages) == (start.rest.ages[turns] == POOL.updates - 1).sum()
    variables = [regression.variables(_member(start, turn)) for turn in turns]
    draws = [streams.Draw(one, features(one, alike.images)[:10], alike.labels[:10]) for one in variables]
    distil = compilation.jit(functools.partial(distillation.step, objective=OBJECTIVE, optimiser=OPTIMISER))
    wanted, parts = distil(descent.State(synthetic, (), start.optimiser), draws)
    np.testing.assert_allclose(after.moving.images, wanted.moving.images, atol=1e-6)
    assert abs(parts["loss"] - metrics["loss"]) < 1e-5
    moved = [(after.rest.networks.moving["Dense_0"]["kernel"] != start.rest.networks.moving["Dense_0"]["kernel"])[turn]
             for turn in range(POOL.size)]  # fmt: skip
    assert [turn for turn in range(POOL.size) if moved[turn].any()] == list(turns)


@pytest.mark.whole
def test_dispatches_of_many_steps_are_the_same_steps(real, start):
    key, singly = jax.random.key(1), start
    for index in range(8):
        singly, _ = step(singly, jax.random.fold_in(key, index), real)
    loop = descent.Loop(lambda state, index, real: frepo.step(state, jax.random.fold_in(key, index), real, **FIXED))
    *_, (position, many, _) = loop.run(jax.tree.map(jnp.copy, start), 8, real, dispatch=4)
    assert position == 8
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5), many, singly)


@pytest.mark.parametrize(
    ("loss", "scale"), [(losses.half_squared_error, 0.5), (losses.mean_squared_error, 1 / 3)], ids=["half", "mean"]
)
def test_regression_is_the_squared_error_of_the_whole_network(synthetic, start, loss, scale):
    variables, optimiser = regression.variables(_member(start, 1)), optax.sgd(0.0)
    learn = compilation.jit(functools.partial(regression.step, network=NETWORK, optimiser=optimiser, loss=loss))
    state, metrics = learn(regression.init(variables, optimiser), synthetic.images, synthetic.labels)
    output, _ = train(variables, synthetic.images)
    wanted = scale * np.square(np.asarray(output.logits - synthetic.labels)).sum(1).mean()
    assert abs(metrics["loss"] - wanted) < 1e-6
    np.testing.assert_array_equal(state.moving["Dense_0"]["kernel"], variables["params"]["Dense_0"]["kernel"])
