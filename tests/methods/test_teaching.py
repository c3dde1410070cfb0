"""Networks that learn the set before they serve: as plain training does, and the same however a run is cut."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsdd.core.synthetic import SyntheticSet
from fsdd.methods import distillation, nfr, optimisers, regression, streams, teaching
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet

NETWORK = ConvNet(3, width=4, depth=2, norm="batch")
OBJECTIVE = nfr.Objective(NETWORK)
LESSON = teaching.Lesson(updates=6, rate=1e-2)


def _images(n, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, 8, 8, 3)), jnp.float32)


@pytest.fixture
def synthetic():
    return SyntheticSet(_images(6), jnp.repeat(jnp.eye(3), 2, 0) - 1 / 3)


@pytest.fixture(scope="module")
def group():
    return sampling.sample_many(NETWORK, jax.random.split(jax.random.key(0), 3), (8, 8, 3))


def _teach(synthetic, group, lesson=LESSON, dispatch=1, seed=0):
    return teaching.teach(synthetic, group, jax.random.key(seed), network=NETWORK, lesson=lesson, dispatch=dispatch)


def _same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize(
    ("updates", "size", "wanted"), [(6, 3, [1, 3, 5]), (10, 1, [5]), (0, 2, [0, 0]), (3, 4, [0, 1, 2, 3])]
)
def test_steps_are_spread_between_none_and_the_most(updates, size, wanted):
    assert teaching.Lesson(updates).spread(size) == wanted


def test_each_network_learns_the_set_by_adam(synthetic, group):
    taught, adam = _teach(synthetic, group), optax.adam(1e-2)
    for index, count in enumerate((1, 3, 5)):
        variables = jax.tree.map(lambda leaf, index=index: leaf[index], group)
        parameters, rest, moments = variables["params"], variables["batch_stats"], adam.init(variables["params"])
        for _ in range(count):

            def loss(parameters, rest=rest):
                output, updated = NETWORK.apply(
                    {"params": parameters, "batch_stats": rest}, synthetic.images, train=True, mutable=["batch_stats"]
                )
                return jnp.sum(jnp.square(output.logits - synthetic.labels)) / 2 / len(synthetic), updated

            gradient, updated = jax.grad(loss, has_aux=True)(parameters)
            updates, moments = adam.update(gradient, moments, parameters)
            parameters, rest = optax.apply_updates(parameters, updates), updated["batch_stats"]
        found = jax.tree.map(lambda leaf, index=index: leaf[index], taught)
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), found["params"], parameters)


def test_one_dispatch_or_many_teach_the_same(synthetic, group):
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, _teach(synthetic, group), _teach(synthetic, group, dispatch=50))


def test_a_batch_smaller_than_the_set_is_drawn_by_the_key(synthetic, group):
    lesson = teaching.Lesson(6, 1e-2, batch=2)
    last = [
        np.asarray(_teach(synthetic, group, lesson, seed=seed)["params"]["Dense_0"]["kernel"]) for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(last[0], last[1])
    assert np.abs(last[0] - last[2])[1:].max() > 1e-4
    assert np.abs(last[0] - np.asarray(_teach(synthetic, group)["params"]["Dense_0"]["kernel"]))[1:].max() > 1e-4


STREAM, OPTIMISER = streams.Stream(4, 3, 2, real_images=10), optimisers.build("adam", 1e-2)
STEP = functools.partial(teaching.step, objective=OBJECTIVE, optimiser=OPTIMISER, group_steps=STREAM.group_steps)


@pytest.fixture(scope="module")
def real():
    return streams.Real(_images(30, 1), jnp.eye(3)[jnp.arange(30) % 3] - 1 / 3)


def _run(real, first, step=STEP, start=0, **options):
    """States by position; `first` is given away, so a copy of it goes in."""
    keys = tuple(jax.random.split(jax.random.key(3)))
    ways = streams.run(STREAM, NETWORK, real, keys, step, jax.tree.map(jnp.array, first), start=start, **options)
    return {position: jax.tree.map(np.asarray, state) for position, state, _ in ways}


def _prepare(state, variables, index):
    return _teach(state.learned, variables, seed=index)


def test_a_run_resumed_in_the_middle_of_a_group_goes_on_the_same(synthetic, real):
    whole = _run(real, teaching.init(synthetic, OPTIMISER), prepare=_prepare)
    assert sorted(whole) == list(range(1, 13))
    for start in (2, 6, 8):
        for position, state in _run(real, whole[start], start=start, prepare=_prepare).items():
            _same(state, whole[position])


def test_a_group_learns_the_set_as_it_is_when_it_begins(synthetic, real):
    for position, state in (whole := _run(real, teaching.init(synthetic, OPTIMISER), prepare=_prepare)).items():
        began = position // 6 * 6
        _same(state.learned, whole[began].moving.synthetic if began else jax.tree.map(np.asarray, synthetic))
    assert np.abs(whole[12].moving.synthetic.images - _untaught(synthetic, real).images).max() > 1e-4


def _untaught(synthetic, real):
    step = functools.partial(distillation.step, objective=OBJECTIVE, optimiser=OPTIMISER)
    return _run(real, distillation.init(synthetic, OPTIMISER), step)[12].synthetic


def test_without_updates_it_is_refinement_over_random_networks(synthetic, real):
    found = _run(real, teaching.init(synthetic, OPTIMISER))[12].moving.synthetic
    np.testing.assert_allclose(found.images, _untaught(synthetic, real).images, rtol=1e-5, atol=1e-6)


def test_regression_is_what_teaches(synthetic, group):
    """The loss on the set falls with what a network has learned."""
    taught = _teach(synthetic, group, teaching.Lesson(40, 1e-2))
    losses = []
    for index in range(3):
        member = regression.init(jax.tree.map(lambda leaf, index=index: leaf[index], taught), optax.sgd(0.1))
        losses.append(float(regression.step(
            member, synthetic.images, synthetic.labels, network=NETWORK, optimiser=optax.sgd(0.1)
        )[1]))  # fmt: skip
    assert losses[0] > losses[1] > losses[2]
