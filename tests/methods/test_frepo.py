"""FRePo: S and a network of the pool move as written out by hand; ages, replacement, and what a key determines."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsdd.core import descent
from fsdd.core import losses
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.methods import distillation, frepo, nfr, regression, streams
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet

NETWORK = ConvNet(3, width=4, depth=2, norm="batch")
OBJECTIVE = nfr.Objective(NETWORK)
POOL = frepo.Pool(size=4, updates=8, rate=1e-2, batch=3)


def _images(n, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, 8, 8, 3)), jnp.float32)


@pytest.fixture
def real():
    return streams.Real(_images(30, 1), jnp.eye(3)[jnp.arange(30) % 3] - 1 / 3)


@pytest.fixture
def synthetic():
    return SyntheticSet(_images(6), jnp.repeat(jnp.eye(3), 2, 0) - 1 / 3)


def _init(synthetic, optimiser=None):
    return frepo.init(synthetic, optimiser or optax.sgd(0.1), OBJECTIVE, POOL, jax.random.key(0), (8, 8, 3))


def _adam(params, gradient, moments, rate, step):
    """One update of Adam, written out in NumPy."""
    mean, square = (0.9 * moments[0] + 0.1 * gradient, 0.999 * moments[1] + 0.001 * gradient**2)
    unbiased = mean / (1 - 0.9**step), square / (1 - 0.999**step)
    return params - rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8), (mean, square)


def test_a_network_learns_the_labels_of_the_set_as_it_now_is(real, synthetic):
    state = _init(synthetic)
    pool = frepo.Pool(size=4, updates=8, rate=1e-2, batch=6)
    member = jax.tree.map(lambda leaf: leaf[0], state.rest.networks)
    draw = streams.Draw(member.variables, sampling.features(NETWORK, member.variables, real.images), real.labels)
    moved, first = state.moving, member
    kernel, moments = np.asarray(member.variables["params"]["Dense_0"]["kernel"]), (0.0, 0.0)
    for step in (1, 2):
        moved, after, _ = frepo.move(
            moved, member, draw, jax.random.key(0), objective=OBJECTIVE, optimiser=optax.sgd(0.1), pool=pool
        )
        # The head's gradient in closed form: features of a forward pass in training times the error.
        output, _ = NETWORK.apply(member.variables, moved.synthetic.images, train=True, mutable=["batch_stats"])
        error = np.asarray(output.logits - moved.synthetic.labels) / len(moved.synthetic)
        # The rate rises from nought over 500 steps.
        rate = 1e-2 * (step - 1) / 500
        kernel, moments = _adam(kernel, np.asarray(output.features).T @ error, moments, rate, step)
        np.testing.assert_allclose(after.variables["params"]["Dense_0"]["kernel"], kernel, atol=2e-7)
        member = after
    assert (member.variables["params"]["Dense_0"]["kernel"] != first.variables["params"]["Dense_0"]["kernel"]).any()
    for before, now in zip(
        jax.tree.leaves(first.variables["batch_stats"]), jax.tree.leaves(member.variables["batch_stats"]), strict=True
    ):
        assert (before != now).any()


def test_ages_are_staggered_and_the_grown_give_way(real, synthetic):
    state = _init(synthetic)
    np.testing.assert_array_equal(state.rest.ages, [0, 2, 4, 6])
    step = jax.jit(
        lambda state, key: frepo.step(
            state, key, real, objective=OBJECTIVE, optimiser=optax.sgd(0.1), pool=POOL, batch=10, chunk=4
        )
    )
    replaced = 0
    for index in range(60):
        before = state
        state, _ = step(before, jax.random.key(index))
        (turn,) = np.flatnonzero(np.asarray(state.rest.ages != before.rest.ages))
        count = optax.tree.get(jax.tree.map(lambda leaf, turn=turn: leaf[turn], state.rest.networks.optimiser), "mu")
        if before.rest.ages[turn] == POOL.updates - 1:
            replaced += 1
            assert state.rest.ages[turn] == 0
            assert all((leaf == 0).all() for leaf in jax.tree.leaves(count))
            assert (state.rest.networks.variables["params"]["Conv_0"]["bias"][turn] == 0).all()
        else:
            assert state.rest.ages[turn] == before.rest.ages[turn] + 1
            assert any((leaf != 0).any() for leaf in jax.tree.leaves(count))
        others = np.arange(POOL.size) != turn
        for old, new in zip(jax.tree.leaves(before.rest.networks), jax.tree.leaves(state.rest.networks), strict=True):
            np.testing.assert_array_equal(old[others], new[others])
    assert replaced >= 4


def test_a_step_moves_the_set_as_distillation_does_on_the_rows_it_draws(real, synthetic):
    """With all real images alike, which rows are drawn does not matter."""
    alike = streams.Real(jnp.tile(real.images[:1], (30, 1, 1, 1)), jnp.tile(real.labels[:1], (30, 1)))
    state = _init(synthetic)
    after, metrics = frepo.step(
        state, jax.random.key(3), alike, objective=OBJECTIVE, optimiser=optax.sgd(0.1), pool=POOL, batch=10, chunk=4
    )
    turns = []
    for turn in range(POOL.size):
        variables = jax.tree.map(lambda leaf, turn=turn: leaf[turn], state.rest.networks.variables)
        features = sampling.features(NETWORK, variables, alike.images[:10])
        wanted, parts = distillation.step(
            descent.init(synthetic, optax.sgd(0.1)),
            streams.Draw(variables, features, alike.labels[:10]),
            objective=OBJECTIVE,
            optimiser=optax.sgd(0.1),
        )
        if np.allclose(after.moving.images, wanted.moving.images, atol=1e-6):
            turns.append(turn)
            assert abs(parts["loss"] - metrics["loss"]) < 1e-5
    assert len(turns) == 1


def test_dispatches_of_many_steps_are_the_same_steps(real, synthetic):
    fixed = {"objective": OBJECTIVE, "optimiser": optax.sgd(0.1), "pool": POOL, "batch": 10, "chunk": 10}
    ends = []
    for dispatch in (1, 4):
        start = _init(jax.tree.map(jnp.copy, synthetic))
        *_, (position, state, _) = frepo.run(start, jax.random.key(1), real, 8, dispatch=dispatch, **fixed)
        assert position == 8
        ends.append(state)
    for one, other in zip(*map(jax.tree.leaves, ends), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_regression_is_the_squared_error_of_the_whole_network(synthetic):
    variables = sampling.sample(NETWORK, jax.random.key(0), (8, 8, 3))
    optimiser = optax.sgd(0.0)
    for loss_of, scale in ((losses.half_squared_error, 0.5), (losses.mean_squared_error, 1 / 3)):
        state, metrics = regression.step(
            regression.init(variables, optimiser), synthetic.images, synthetic.labels,
            network=NETWORK, optimiser=optimiser, loss=loss_of,
        )  # fmt: skip
        output, _ = NETWORK.apply(variables, synthetic.images, train=True, mutable=["batch_stats"])
        wanted = scale * np.square(np.asarray(output.logits - synthetic.labels)).sum(1).mean()
        assert abs(metrics["loss"] - wanted) < 1e-6
        np.testing.assert_array_equal(
            state.moving["Dense_0"]["kernel"], variables["params"]["Dense_0"]["kernel"]
        )
