"""The bi-level algorithm: its gradient against finite differences, and what unrolling costs and keeps."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsdd.core.synthetic_set import SyntheticSet
from fsdd.methods import bilevel, nfr, streams
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet

NETWORK = ConvNet(3, width=3, depth=2, norm="batch")
OBJECTIVE = nfr.Objective(NETWORK)
INNER = bilevel.Inner(steps=3, optimiser="sgd", rate=0.3, batch=12)
ADAM = bilevel.Inner(steps=3, rate=0.05, batch=12)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def _problem(dtype=jnp.float32):
    rng = np.random.default_rng(0)

    def images(n):
        return jnp.asarray(rng.normal(size=(n, 8, 8, 3)), dtype)

    def labels(n):
        return jnp.asarray(np.eye(3)[np.arange(n) % 3] - 1 / 3, dtype)

    theta, other = (
        jax.tree.map(
            lambda leaf: jnp.asarray(leaf, dtype) + 0.1 * jnp.asarray(rng.normal(size=leaf.shape), dtype) ** 2,
            sampling.sample(NETWORK, jax.random.key(seed), (8, 8, 3)),
        )
        for seed in (0, 1)
    )
    far = images(12)
    judge = streams.Draw(other, sampling.features(NETWORK, other, far), labels(12))
    return theta, SyntheticSet(images(3), labels(3)), streams.Real(images(12), labels(12)), judge


@pytest.mark.parametrize("inner", [INNER, ADAM], ids=lambda inner: inner.optimiser)
def test_the_gradient_is_that_of_finite_differences(float64, inner):
    theta, synthetic, near, judge = _problem(jnp.float64)
    rest = {"batch_stats": theta["batch_stats"]}

    def value(params):
        return bilevel.loss(params, rest, synthetic, near, judge, OBJECTIVE, inner)[0]

    value = jax.jit(value)
    gradient = jax.grad(value)(theta["params"])
    rng = np.random.default_rng(1)
    for _ in range(4):
        direction = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), theta["params"])
        slope = sum(jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True))
        ahead, behind = (
            value(jax.tree.map(lambda leaf, d, h=h: leaf + h * d, theta["params"], direction)) for h in (1e-6, -1e-6)
        )
        measured = (ahead - behind) / 2e-6
        assert abs(slope) > 1e-3
        assert abs(measured / slope - 1) < 1e-4


def test_the_head_takes_no_part_and_no_step_is_no_gradient():
    theta, synthetic, near, judge = _problem()
    rest = {"batch_stats": theta["batch_stats"]}

    def gradient(inner):
        def value(params):
            return bilevel.loss(params, rest, synthetic, near, judge, OBJECTIVE, inner)[0]

        return jax.grad(value)(theta["params"])

    found = gradient(INNER)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(found["Dense_0"]))
    assert all((leaf != 0).any() for name in ("Conv_0", "Conv_1") for leaf in jax.tree.leaves(found[name]))
    still = gradient(dataclasses.replace(INNER, rate=0.0))
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(still))


def test_pixels_without_a_gradient_do_not_make_adam_explode():
    theta, synthetic, near, judge = _problem()
    # Labels of one class that nothing moves: their gradients are exactly zero in the first step.
    dead = jax.tree.map(jnp.zeros_like, theta["params"]["Conv_0"])
    params = theta["params"] | {"Conv_0": dead}
    gradient = jax.grad(
        lambda params: bilevel.loss(
            params, {"batch_stats": theta["batch_stats"]}, synthetic, near, judge, OBJECTIVE, ADAM
        )[0]
    )(params)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_inner_steps_are_gradient_descent():
    theta, synthetic, near, _ = _problem()
    draw = streams.Draw(theta, sampling.features(NETWORK, theta, near.images), near.labels)
    wanted = synthetic
    for _ in range(INNER.steps):
        gradient = jax.grad(lambda moving: OBJECTIVE(moving, draw)[0])(wanted)
        wanted = SyntheticSet(wanted.images - 0.3 * gradient.images, wanted.labels - 0.3 * gradient.labels)
    found = bilevel.distil(theta, synthetic, near, OBJECTIVE, INNER)
    np.testing.assert_allclose(found.images, wanted.images, atol=1e-5)
    np.testing.assert_allclose(found.labels, wanted.labels, atol=1e-5)


def test_computing_again_changes_nothing_but_memory():
    theta, synthetic, near, judge = _problem()
    rest = {"batch_stats": theta["batch_stats"]}
    sizes, gradients = {}, []
    for remat in (True, False):
        for steps in (2, 16):
            inner = bilevel.Inner(steps=steps, optimiser="sgd", rate=0.03, batch=12, remat=remat)

            def value(params, inner=inner):
                return bilevel.loss(params, rest, synthetic, near, judge, OBJECTIVE, inner)[0]

            compiled = jax.jit(jax.grad(value)).lower(theta["params"]).compile()
            sizes[remat, steps] = compiled.memory_analysis().temp_size_in_bytes
            if steps == 2:
                gradients.append(compiled(theta["params"]))
    for one, other in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    # 14 more steps keep 14 more sets of 3 images and labels each, instead of all that happened within them.
    kept = sizes[True, 16] - sizes[True, 2]
    assert kept < 3 * 14 * 4 * 3 * (8 * 8 * 3 + 3)
    assert sizes[False, 16] - sizes[False, 2] > 5 * kept


def test_the_start_is_balanced_and_without_repeats():
    labels = np.array([0] * 5 + [1] * 3 + [2] * 9)[np.random.default_rng(0).permutation(17)]
    real = streams.Real(jnp.arange(17.0)[:, None, None, None] * jnp.ones((17, 4, 4, 1)), jnp.eye(3)[labels] - 1 / 3)
    classes = bilevel.by_class(labels, 3)
    seen = set()
    for seed in range(20):
        found = bilevel.start(real, classes, 3, 1, jax.random.key(seed))
        rows = np.asarray(found.images[:, 0, 0, 0]).astype(int)
        np.testing.assert_array_equal(labels[rows], np.repeat(np.arange(3), 3))
        assert len(set(rows)) == 9
        np.testing.assert_array_equal(np.argmax(found.labels, 1), np.repeat(np.arange(3), 3))
        seen |= set(rows)
    assert seen == set(range(17))
    assert bilevel.start(real, classes, 1, 2, jax.random.key(0)).images.shape == (3, 2, 2, 1)


def test_a_step_moves_the_space_to_where_it_distils_better():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    # Three classes that differ in their mean.
    images = rng.normal(size=(60, 8, 8, 3)) + rng.normal(size=(3, 8, 8, 3))[labels]
    real = streams.Real(jnp.asarray(images, jnp.float32), jnp.asarray(np.eye(3)[labels] - 1 / 3, jnp.float32))
    classes = bilevel.by_class(labels, 3)
    optimiser = optax.adam(3e-3)
    inner = bilevel.Inner(steps=4, batch=30)
    state = bilevel.init(sampling.sample(NETWORK, jax.random.key(5), (8, 8, 3)), optimiser)
    step = jax.jit(
        lambda state: bilevel.step(
            state, jax.random.key(0), real, classes, objective=OBJECTIVE, optimiser=optimiser, inner=inner, ipc=1
        )
    )
    values = []
    for _ in range(20):
        # The same start, batches and judge each time: what is left is descent.
        state, metrics = step(state)
        values.append(float(metrics["loss"]))
    assert values[-1] < values[0] - 0.02
    assert (state.variables["batch_stats"]["BatchNorm_0"]["mean"] == 0).all()
