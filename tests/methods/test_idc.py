"""IDC's moves and drawing, against loops in NumPy; its gradients are compared in test_rivals_golden.py."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsdd.core import descent
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.methods import class_batches, idc, optimisers
from fsdd.methods.streams import Real
from fsdd.networks.dc_convnet import DCConvNet

CLASSES, COUNT, SHAPE = 3, 2, (4, 4, 1)


def _set(images) -> SyntheticSet:
    labels = np.repeat(np.eye(CLASSES), len(images) // CLASSES, axis=0)
    return SyntheticSet(jnp.asarray(images), jnp.asarray(labels, images.dtype))


def test_momentum_moves_a_class_while_others_have_their_turns():
    rng = np.random.default_rng(0)
    start, pulls = rng.normal(size=(CLASSES, COUNT, *SHAPE)), rng.uniform(0.5, 1.5, CLASSES)
    with jax.enable_x64(True):
        optimiser = optimisers.hold_labels(optax.sgd(0.1, momentum=0.5))
        state = descent.init(_set(start.reshape(-1, *SHAPE)), optimiser)
        for label in [*range(CLASSES)] * 4:
            own = state.moving.images[label * COUNT : (label + 1) * COUNT]
            state = idc.move(state, jnp.asarray(label), pulls[label] * own, optimiser=optimiser)
        found = np.asarray(state.moving.images).reshape(start.shape)
    # PyTorch's SGD on all images at once: a gradient of zero leaves the velocity of the others to go on.
    images, velocity = start.copy(), np.zeros_like(start)
    for label in [*range(CLASSES)] * 4:
        gradient = np.zeros_like(start)
        gradient[label] = pulls[label] * images[label]
        velocity = 0.5 * velocity + gradient
        images -= 0.1 * velocity
    np.testing.assert_allclose(found, images, rtol=1e-12)
    # Momentum by class, which the others' turns leave alone, is another method.
    alone, velocity = start.copy(), np.zeros_like(start)
    for label in [*range(CLASSES)] * 4:
        velocity[label] = 0.5 * velocity[label] + pulls[label] * alone[label]
        alone[label] -= 0.1 * velocity[label]
    assert np.abs(found - alone).max() > 0.01


@pytest.fixture(scope="module")
def programs():
    network = DCConvNet(CLASSES, width=4, depth=1)
    recipe = idc.Recipe(network, uses=2, batch=4, most=COUNT, updates=3, network_batch=5)
    return idc.Programs(recipe, optimisers.hold_labels(optax.sgd(1.0, momentum=0.5)))


@pytest.fixture(scope="module")
def given():
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(CLASSES), 6)
    images = rng.normal(size=(len(labels), *SHAPE)).astype(np.float32)
    real = Real(jnp.asarray(images), jnp.asarray(np.eye(CLASSES, dtype=np.float32)[labels]))
    return idc.Given(real, class_batches.rows_by_class(labels, CLASSES), jnp.full(1, 0.5), jnp.full(1, 0.25))


def _begin(programs) -> descent.State:
    pixels = np.random.default_rng(2).uniform(-1, 2, (CLASSES * COUNT, *SHAPE)).astype(np.float32)
    return programs.init(_set(pixels), jax.random.key(3), SHAPE)


def _follow(programs, given, steps, state=None, start=0, dispatch=1):
    """The states after each step, copied."""
    state = _begin(programs) if state is None else state
    taken = programs.run(state, steps, jax.random.key(3), given, start=start, dispatch=dispatch)
    return [jax.tree.map(np.array, state) for _, state, _ in taken]


@pytest.mark.whole
def test_a_network_serves_some_steps_in_which_it_trains_and_pixels_are_clamped_as_it_begins(programs, given):
    states = _follow(programs, given, 4)
    first, second, third, _ = (jax.tree.leaves(state.rest.moving) for state in states)
    # Of the same draw: a step away from each other, of another: far.
    near, far = (max(np.abs(one - other).max() for one, other in zip(second, others, strict=True))
                 for others in (first, third))  # fmt: skip
    assert 0 < near < 0.3 * far
    still = idc.Programs(programs._recipe, optimisers.hold_labels(optax.sgd(0.0)))
    pixels = np.asarray(_begin(programs).moving.images)
    state = still.init(_set(pixels), jax.random.key(3), SHAPE)
    (_, state, _), *_ = still.run(state, 1, jax.random.key(3), given)
    np.testing.assert_array_equal(state.moving.images, np.clip(pixels, 0, 1))
    assert pixels.min() < 0 and pixels.max() > 1


@pytest.mark.whole
def test_many_turns_a_dispatch_are_the_same(programs, given):
    (single,), (many,) = (_follow(programs, given, 1, dispatch=dispatch) for dispatch in (1, 3))
    for one, other in zip(jax.tree.leaves(single), jax.tree.leaves(many), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.whole
def test_more_synthetic_images_than_most_are_drawn_from(programs, given):
    """Those that are not drawn have no gradient."""
    recipe = programs._recipe
    images = jnp.asarray(np.random.default_rng(4).uniform(size=(4 * COUNT, *SHAPE)), jnp.float32)
    variables = {"params": _begin(programs).rest.moving}
    one = jax.jit(functools.partial(idc.match, recipe=recipe))
    seen = set()
    for seed in range(8):
        _, gradient = one(variables, images, given.real.images[:4], 0, jax.random.key(seed), mean=0.5, std=0.25)
        drawn = np.flatnonzero(np.abs(gradient).reshape(len(images), -1).max(1))
        assert len(drawn) <= recipe.most
        seen |= set(drawn)
    assert len(seen) > recipe.most
