"""The bi-level algorithm: its gradient against finite differences, and what unrolling costs and keeps."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsdd.core import compilation
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.methods import bilevel, class_batches, nfr, regression, streams
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet

SHAPE = (8, 8, 3)
NETWORK = ConvNet(3, width=3, depth=2, norm="batch")
OBJECTIVE = nfr.Objective(NETWORK)
INNER = bilevel.Inner(steps=3, optimiser="sgd", rate=0.3, batch=12)
ADAM = bilevel.Inner(steps=3, rate=0.05, batch=12)
features = compilation.jit(functools.partial(sampling.features, NETWORK))


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def _problem(dtype=np.float32):
    """The moving network, a synthetic set, the real images it is distilled on, and a network that judges it."""
    rng = np.random.default_rng(0)

    def images(n):
        return jnp.asarray(rng.normal(size=(n, *SHAPE)), dtype)

    def labels(n):
        return jnp.asarray(np.eye(3)[np.arange(n) % 3] - 1 / 3, dtype)

    both = sampling.sampler(NETWORK, SHAPE)(jax.random.split(jax.random.key(0), 2))
    theta, other = (
        jax.tree.map(
            lambda leaf, i=i: jnp.asarray(np.asarray(leaf[i]) + 0.1 * rng.normal(size=leaf[i].shape) ** 2, dtype), both
        )
        for i in range(2)
    )
    far = images(12)
    judge = streams.Draw(other, features(other, far), labels(12))
    return theta, SyntheticSet(images(3), labels(3)), streams.Real(images(12), labels(12)), judge


def _value(params, problem, inner):
    """The loss of theta's parameters: that of the set distilled in it."""
    theta, synthetic, near, judge = problem
    return OBJECTIVE(bilevel.distil(theta | {"params": params}, synthetic, near, OBJECTIVE, inner), judge)[0]


@functools.cache
def _program(inner):
    """`(params, problem, rate) -> (value, gradient)`. Kept, because compiling is most of what these tests take."""

    def at(params, problem, rate):
        return jax.value_and_grad(_value)(params, problem, dataclasses.replace(inner, rate=rate))

    program = compilation.jit(at)
    return lambda params, problem, rate=inner.rate: program(params, problem, jnp.asarray(rate, problem[1].images.dtype))


@pytest.mark.parametrize(
    "inner", [INNER, pytest.param(ADAM, marks=pytest.mark.whole)], ids=lambda inner: inner.optimiser
)
def test_the_gradient_is_that_of_finite_differences(float64, inner):
    problem = _problem(np.float64)
    params = problem[0]["params"]
    _, gradient = _program(inner)(params, problem)
    rng = np.random.default_rng(1)
    for _ in range(4):
        direction = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), params)
        slope = sum(np.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True))
        ahead, behind = (
            _program(inner)(
                jax.tree.map(lambda leaf, d, h=h: jnp.asarray(np.asarray(leaf) + h * d), params, direction), problem
            )[0]
            for h in (1e-6, -1e-6)
        )
        measured = (ahead - behind) / 2e-6
        assert abs(slope) > 1e-3
        assert abs(measured / slope - 1) < 1e-4


def test_the_head_takes_no_part_and_no_step_is_no_gradient(float64):
    problem = _problem(np.float64)
    params = problem[0]["params"]
    _, gradient = _program(INNER)(params, problem)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient["Dense_0"]))
    assert all((leaf != 0).any() for name in ("Conv_0", "Conv_1") for leaf in jax.tree.leaves(gradient[name]))
    _, still = _program(INNER)(params, problem, 0.0)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(still))


def test_inner_steps_are_gradient_descent():
    theta, synthetic, near, _ = _problem()
    draw = streams.Draw(theta, features(theta, near.images), near.labels)
    slope = compilation.jit(jax.grad(lambda moving: OBJECTIVE(moving, draw)[0]))
    wanted = synthetic
    for _ in range(INNER.steps):
        gradient = slope(wanted)
        wanted = SyntheticSet(wanted.images - 0.3 * gradient.images, wanted.labels - 0.3 * gradient.labels)
    distil = compilation.jit(functools.partial(bilevel.distil, objective=OBJECTIVE, inner=INNER))
    found = distil(theta, synthetic, near)
    np.testing.assert_allclose(found.images, wanted.images, atol=1e-5)
    np.testing.assert_allclose(found.labels, wanted.labels, atol=1e-5)


def test_computing_again_changes_no_gradient(float64):
    problem = _problem(np.float64)
    params = problem[0]["params"]
    again, kept = (_program(inner)(params, problem) for inner in (INNER, dataclasses.replace(INNER, remat=False)))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12), again, kept)


def test_computing_again_keeps_the_set_alone_between_steps():
    problem = _problem()

    def kept(inner):
        """Bytes that wait for the way back."""
        pull = jax.eval_shape(
            lambda params, problem: jax.vjp(lambda one: _value(one, problem, inner), params)[1],
            problem[0]["params"],
            problem,
        )
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(pull))

    sizes = {
        (remat, steps): kept(dataclasses.replace(INNER, steps=steps, remat=remat))
        for remat in (True, False)
        for steps in (2, 16)
    }
    # 14 more steps keep 14 more sets of 3 images and labels each, instead of all that happened within them.
    more = sizes[True, 16] - sizes[True, 2]
    assert more < 1.5 * 14 * 4 * 3 * (8 * 8 * 3 + 3)
    assert sizes[False, 16] - sizes[False, 2] > 5 * more


def test_the_start_is_balanced_and_without_repeats():
    labels = np.array([0] * 5 + [1] * 3 + [2] * 9)[np.random.default_rng(0).permutation(17)]
    real = streams.Real(
        jnp.asarray(np.arange(17.0)[:, None, None, None] * np.ones((17, 4, 4, 1)), jnp.float32),
        jnp.asarray(np.eye(3)[labels] - 1 / 3, jnp.float32),
    )
    choose = jax.jit(bilevel.choose_start, static_argnums=(2, 3))
    classes = class_batches.rows_by_class(labels, 3)
    seen = set()
    for seed in range(20):
        found = choose(real, classes, 3, 1, jax.random.key(seed))
        rows = np.asarray(found.images)[:, 0, 0, 0].astype(int)
        np.testing.assert_array_equal(labels[rows], np.repeat(np.arange(3), 3))
        assert len(set(rows)) == 9
        np.testing.assert_array_equal(np.argmax(found.labels, 1), np.repeat(np.arange(3), 3))
        seen |= set(rows)
    assert seen == set(range(17))
    assert choose(real, classes, 1, 2, jax.random.key(0)).images.shape == (3, 2, 2, 1)


@pytest.fixture(scope="module")
def outer():
    """A state and a step of the algorithm, on three classes that differ in their mean."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = rng.normal(size=(60, *SHAPE)) + rng.normal(size=(3, *SHAPE))[labels]
    real = streams.Real(jnp.asarray(images, jnp.float32), jnp.asarray(np.eye(3)[labels] - 1 / 3, jnp.float32))
    classes = class_batches.rows_by_class(labels, 3)
    optimiser = optax.adam(3e-3)
    fixed = {"objective": OBJECTIVE, "optimiser": optimiser, "inner": bilevel.Inner(steps=4, batch=30), "ipc": 1}
    variables = jax.tree.map(
        lambda leaf: leaf[0], sampling.sampler(NETWORK, SHAPE)(jax.random.split(jax.random.key(5)))
    )
    # The same start, batches and judge each time: what is left is descent.
    step = compilation.jit(lambda state: bilevel.step(state, jax.random.key(0), real, classes, **fixed))
    return regression.init(variables, optimiser), step


@pytest.mark.whole
def test_a_step_moves_the_space_to_where_it_distils_better(outer):
    state, step = outer
    values = []
    for _ in range(20):
        state, metrics = step(state)
        values.append(float(metrics["loss"]))
    assert values[-1] < values[0] - 0.02
    assert (state.rest["batch_stats"]["BatchNorm_0"]["mean"] == 0).all()


@pytest.mark.whole
def test_pixels_without_a_gradient_do_not_make_adam_explode(outer):
    """With a first kernel of zeros no pixel matters: all their gradients are exactly zero."""
    state, step = outer
    first = state.moving["Conv_0"]
    dead = state.moving | {"Conv_0": {"kernel": jnp.zeros_like(first["kernel"]), "bias": jnp.ones_like(first["bias"])}}
    moved, metrics = step(state.replace(moving=dead))
    assert np.isfinite(metrics["loss"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(moved))


def test_a_rare_class_starts_from_all_it_has():
    labels = np.array([0, 1, 0, 0, 1, 0, 2])
    images = np.arange(7, dtype=np.float32).reshape(7, 1, 1, 1)
    real = bilevel.Real(jnp.asarray(images), jnp.zeros((7, 3)))
    start = bilevel.choose_start(real, class_batches.rows_by_class(labels, 3), 4, 1, jax.random.key(0))
    rows = np.asarray(start.images).reshape(3, 4).astype(int)
    assert [sorted(set(of_class)) for of_class in rows.tolist()] == [[0, 2, 3, 5], [1, 4], [6]]
