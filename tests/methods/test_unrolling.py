"""What MTT, DD and RTP share and draw; their losses and gradients are compared in test_rivals_golden.py."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsdd.core.synthetic_set import SyntheticSet
from fsdd.methods import dd, experts, optimisers, rtp
from fsdd.methods import trajectory_matching as matching
from fsdd.methods.streams import Real
from fsdd.networks.dc_convnet import DCConvNet

KEY = jax.random.key(0)


def test_what_stays_positive_moves_as_by_gradient_descent_as_long_as_steps_are_small():
    numbers = jnp.array([1e-3, 0.5, 20.0])
    optimiser = optimisers.keep_positive()

    def moved(update):
        updates, _ = optimiser.update(update, optimiser.init(numbers), numbers)
        return optax.apply_updates(numbers, updates)

    np.testing.assert_allclose(moved(1e-3 * numbers), 1.001 * numbers, rtol=1e-5)
    # Where descent would end far below zero.
    np.testing.assert_allclose(moved(-3 * numbers), np.exp(-3) * numbers, rtol=1e-5)


@pytest.mark.parametrize(
    ("classes", "ipc", "wanted"),
    [
        (10, 1, (50, 2, 2, 100, 1e-7, 0.01)),
        (10, 10, (30, 2, 20, 100, 1e-5, 0.001)),
        (10, 49, (30, 2, 20, 100, 1e-5, 0.001)),
        (10, 50, (30, 2, 40, 1000, 1e-5, 0.001)),
        (3, 2, (50, 2, 2, 100, 1e-7, 0.01)),
        (100, 1, (20, 3, 20, 1000, 1e-5, 0.01)),
        (200, 10, (20, 2, 20, 1000, 1e-5, 0.01)),
        (100, 50, (80, 2, 40, 1000, 1e-5, 0.01)),
    ],
)
def test_figures_are_mtts(classes, ipc, wanted):
    assert matching.choose(classes, ipc)[:6] == wanted
    # Batches hold all of S, but for the largest set.
    assert min(matching.choose(classes, ipc).batch, classes * ipc) == (125 if wanted[0] == 80 else classes * ipc)


def test_figures_that_are_given_count():
    assert matching.choose(10, 1, inner=3, rate=0.0) == matching.choose(10, 1)._replace(inner=3)


def test_mtts_optimiser_moves_images_and_step_size_each_at_its_rate_and_no_label():
    moving = matching.Moving(SyntheticSet(jnp.ones((2, 4, 4, 1)), jnp.ones((2, 2))), jnp.float32(0.01))
    optimiser = matching.build_optimiser(10.0, 1e-3, 0.5)
    updates, state = optimiser.update(jax.tree.map(jnp.ones_like, moving), optimiser.init(moving), moving)
    np.testing.assert_allclose(updates.synthetic.images, -10)
    np.testing.assert_allclose(updates.step_size, 0.01 * np.expm1(-0.1), rtol=1e-5)
    assert not np.any(updates.synthetic.labels)
    updates, _ = optimiser.update(jax.tree.map(jnp.ones_like, moving), state, moving)
    np.testing.assert_allclose(updates.synthetic.images, -15)


def test_an_epoch_of_an_expert_sees_every_image_and_epochs_differ(monkeypatch):
    seen = []

    def step(member, images, labels, **_):
        seen.append(np.asarray(images).ravel())
        return member, {}

    monkeypatch.setattr(experts.regression, "step", step)
    recipe = experts.Recipe(DCConvNet(2), batch=4, policy="none")
    real = Real(jnp.arange(10.0).reshape(10, 1, 1, 1), jnp.zeros((10, 2)))
    assert experts.epoch_steps(10, 4) == 3
    for index in range(6):
        experts.step(None, jnp.int32(index), KEY, real, recipe=recipe)
    first, second = np.concatenate(seen[:3]), np.concatenate(seen[3:])
    for epoch in (first, second):
        # The third batch is filled up with two of the second.
        assert len(epoch) == 12 and len(np.unique(epoch[:8])) == 8 and set(epoch) == set(range(10))
    assert not np.array_equal(first, second)


@pytest.mark.whole
def test_rtp_sees_as_many_images_of_each_class():
    images = jnp.arange(12.0).reshape(12, 1, 1, 1)
    synthetic = SyntheticSet(images, jnp.eye(3).repeat(4, 0))
    seen = rtp.some_of_each(synthetic, 2, KEY)
    assert len(set(np.asarray(seen.images).ravel())) == 6
    np.testing.assert_array_equal(np.asarray(seen.images).ravel() // 4, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(seen.labels, jnp.eye(3).repeat(2, 0))
    assert rtp.some_of_each(synthetic, 4, KEY) is synthetic


def test_rtps_start_is_nearly_grey():
    # By its code +-0.044 for ten images of 3,072 numbers.
    drawn = np.asarray(rtp.uniform(KEY, (10, 3072)))
    assert 0.0440 < drawn.max() < 0.0442 and -0.0442 < drawn.min() < -0.0440


@pytest.mark.whole
def test_rtps_gradients_are_clipped_and_labels_stay():
    stored = rtp.draw_bases(KEY, 2, (4, 4, 1), jnp.eye(3))
    assert rtp.recall(stored).images.shape == (3, 4, 4, 1)
    assert rtp.count_numbers(stored) == 2 * 4 + 3 * 2
    optimiser = rtp.build_optimiser(1.0, 0.5, 2.0)
    updates, _ = optimiser.update(jax.tree.map(lambda leaf: 100 * jnp.ones_like(leaf), stored), optimiser.init(stored))
    assert not np.any(updates.labels)
    norm = np.sqrt(sum(jnp.sum(leaf**2) for leaf in (updates.bases, updates.coefficients)))
    np.testing.assert_allclose(norm, 2, rtol=1e-5)


@pytest.mark.whole
def test_dds_steps_take_turns_and_its_rate_halves(monkeypatch):
    synthetic = SyntheticSet(jnp.arange(6.0).reshape(6, 1, 1, 1), jnp.eye(2).repeat(3, 0))
    moving = dd.init(synthetic, 2, 0.02)
    np.testing.assert_allclose(moving.step_sizes, np.full(6, 0.02), rtol=1e-5)

    class Learning:
        def step(self, member, seen, rate, key):
            return np.asarray(seen.images).ravel().tolist(), float(rate)

    seen = [dd.step(moving, None, index, KEY, learning=Learning())[0] for index in range(6)]
    assert seen == 2 * [[0, 3], [1, 4], [2, 5]]
    optimiser, sizes = dd.build_optimiser(20, 0.01), []
    state, gradient = optimiser.init(moving), jax.tree.map(jnp.ones_like, moving)
    for _ in range(5):
        updates, state = optimiser.update(gradient, state, moving)
        sizes.append(-float(updates.raw[0]))
        assert not np.any(updates.synthetic.labels)
    np.testing.assert_allclose(sizes, [0.01, 0.01, 0.005, 0.005, 0.0025], rtol=1e-3)
