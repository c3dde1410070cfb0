"""Lanes: padding takes part in nothing, and a lane is `1 Net` on its own subset."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsdd.core import krr, losses, synthetic_set
from fsdd.core.synthetic_set import Mask, SyntheticSet
from fsdd.core.whitening import Whitening, fit
from fsdd.methods import distillation, lanes, nfr, optimisers, streams
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet

NETWORK = ConvNet(7, width=4, depth=2, norm="batch")
SHAPE = (8, 8, 3)
# These images are taken as they are.
PLAIN = Whitening(np.zeros(3, np.float32), np.ones(3, np.float32))
_lane = functools.partial(lanes.lane, whitening=PLAIN)
VARIABLES = sampling.sample(NETWORK, jax.random.key(0), SHAPE)


def _subset(classes: int = 3, each: int = 6, ipc: int = 2, seed: int = 0):
    images = np.random.default_rng(seed).normal(size=(classes * each, *SHAPE)).astype(np.float32)
    labels = np.repeat(np.arange(classes), each)
    start = (np.arange(classes)[:, None] * each + np.arange(ipc)).reshape(-1)
    return images, labels, start


@functools.cache
def _recipe(name="adam", flip=True, **fields) -> lanes.Recipe:
    settings = {"steps": 12, "batch": 16, "views": 2, "policy": "dsa"} | fields
    optimiser = optimisers.build(name, optimisers.cosine(1e-2, settings["steps"]))
    return lanes.Recipe(nfr.Objective(NETWORK, flip=flip), optimiser, **settings)


@functools.cache
def _programs(recipe, dispatch=1) -> lanes.Programs:
    """Kept, because compiling is most of what these tests take."""
    return lanes.Programs(recipe, VARIABLES, PLAIN, jax.devices(), dispatch)


def _distil(recipe, lanes, chunk, dispatch=1):
    programs = _programs(recipe, dispatch)
    lanes = programs.place(lanes)
    features = programs.features(lanes, chunk)
    *_, (_, state, metrics) = programs.run(lanes, features, programs.init(lanes))
    return programs, state.synthetic, metrics, programs.losses(state.synthetic, features, lanes)


@pytest.mark.parametrize(("name", "flip"), [("adam", True), ("lamb", False)])
def test_padding_to_twice_the_size_changes_nothing(name, flip):
    """S' to a rounding of 1e-5 of its largest value."""
    images, labels, start = _subset()
    key = jax.random.key(5)
    recipe = _recipe(name, flip)
    tight = _lane(images, labels, start, key, real=18, rows=6, classes=3)
    padded = _lane(images, labels, start, key, real=36, rows=12, classes=7)
    _, one, _, loss_one = _distil(recipe, lanes.stack([tight]), 18)
    _, two, _, loss_two = _distil(recipe, lanes.stack([padded]), 12)
    assert np.abs(one.images - images[start]).max() > 0.05, "the images have moved"
    np.testing.assert_allclose(two.images[0, :6], one.images[0], atol=1e-5 * np.abs(one.images).max())
    np.testing.assert_allclose(two.labels[0, :6, :3], one.labels[0], atol=1e-5)
    np.testing.assert_allclose(loss_two, loss_one, rtol=1e-4)
    assert not np.any(two.images[0, 6:]) and not np.any(two.labels[0, 6:]) and not np.any(two.labels[0, :, 3:])


def test_a_lane_does_not_depend_on_its_neighbours():
    recipe = _recipe()
    lanes = [
        _lane(*_subset(classes, 4, 1, seed), jax.random.key(seed), real=20, rows=6, classes=7)
        for seed, classes in enumerate((3, 5, 2))
    ]
    _, together, _, loss = _distil(recipe, lanes.stack(lanes), 10)
    for position, lane in enumerate(lanes):
        _, alone, _, loss_alone = _distil(recipe, lanes.stack([lane]), 20)
        np.testing.assert_allclose(together.images[position], alone.images[0], atol=1e-5)
        np.testing.assert_allclose(loss[position], loss_alone[0], rtol=1e-4)


def test_pixels_are_whitened_on_the_device_as_on_the_host():
    images, labels, start = _subset()
    pixels = np.random.default_rng(3).integers(0, 256, images.shape, np.uint8)
    whitening = fit(pixels)
    assert whitening.kind == "zca"
    recipe = _recipe(views=1, policy="none")
    programs = lanes.Programs(recipe, VARIABLES, whitening, jax.devices())
    lanes = lanes.stack([lanes.lane(
        pixels, labels, start, jax.random.key(1), whitening=whitening, real=20, rows=6, classes=7
    )])  # fmt: skip
    expected = whitening.apply(pixels)
    np.testing.assert_allclose(lanes.start.images[0], expected[start], rtol=1e-6)
    found = programs.features(programs.place(lanes), 5)[0, 0, :18]
    np.testing.assert_allclose(found, sampling.features(NETWORK, VARIABLES, expected), atol=1e-4)


def test_a_lane_is_distillation_on_its_own_views():
    """One plain view, and every minibatch drawn here as there: `distillation.step` without masks gives the same S'."""
    images, labels, start = _subset()
    recipe, key = _recipe(views=1), jax.random.key(3)
    lane = _lane(images, labels, start, key, real=20, rows=8, classes=7)
    _, found, metrics, _ = _distil(recipe, lanes.stack([lane]), 10)
    features = sampling.features(NETWORK, VARIABLES, images)
    targets = jnp.asarray(synthetic_set.centred_labels(labels, 3))
    begin = SyntheticSet(jnp.asarray(images[start]), jnp.asarray(synthetic_set.initial_labels(labels[start], 3)))
    state = distillation.init(begin, recipe.optimiser)
    step = jax.jit(functools.partial(distillation.step, objective=recipe.objective, optimiser=recipe.optimiser))
    for index in range(recipe.steps):
        step_key = jax.random.fold_in(jax.random.fold_in(key, recipe.views), index)
        rows = jax.random.randint(step_key, (recipe.batch,), 0, len(images))
        state, wanted = step(state, streams.Draw(VARIABLES, features[rows], targets[rows]))
    np.testing.assert_allclose(found.images[0, :6], state.synthetic.images, atol=1e-4)
    np.testing.assert_allclose(metrics["nfr"][0], wanted["nfr"], rtol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_cached_features_are_kept_as_they_are_asked_for(dtype):
    programs = _programs(_recipe(cache_dtype=dtype))
    lanes = lanes.stack([_lane(*_subset(), jax.random.key(1), real=18, rows=6, classes=7)])
    assert programs.features(programs.place(lanes), 9).dtype == dtype


def test_views_are_plain_first_then_augmented():
    images, labels, start = _subset()
    programs = _programs(_recipe(views=3))
    lanes = lanes.stack([_lane(images, labels, start, jax.random.key(1), real=18, rows=6, classes=7)])
    features = programs.features(programs.place(lanes), 9)
    plain = sampling.features(NETWORK, VARIABLES, images)
    np.testing.assert_allclose(features[0, 0], plain, atol=1e-5)
    for view in (1, 2):
        changed = np.abs(features[0, view] - plain).max(-1) > 1e-3
        # A flip leaves half of the images it is drawn for as they are: one in twelve.
        assert changed.mean() > 0.6
    assert np.abs(features[0, 1] - features[0, 2]).max() > 0.1
    np.testing.assert_array_equal(features, programs.features(programs.place(lanes), 6))


def test_many_steps_a_dispatch_are_the_same_steps():
    lanes = lanes.stack([_lane(*_subset(), jax.random.key(1), real=18, rows=6, classes=7)])
    _, singly, _, _ = _distil(_recipe(), lanes, 18)
    _, scanned, _, _ = _distil(_recipe(), lanes, 18, dispatch=6)
    np.testing.assert_allclose(scanned.images, singly.images, atol=1e-5)
    # Whoever goes on from a step at which no such dispatch begins ends with the last one all the same.
    recipe = _recipe()
    programs = lanes.Programs(recipe, VARIABLES, PLAIN, jax.devices(), dispatch=6)
    lanes = programs.place(lanes)
    features, state = programs.features(lanes, 18), programs.init(lanes)
    reached = [done for done, _, _ in programs.run(lanes, features, state, start=recipe.steps - 5)]
    assert reached[-1] == recipe.steps


def test_a_bucket_is_compiled_once():
    recipe = _recipe(steps=3)
    programs = lanes.Programs(recipe, VARIABLES, PLAIN, jax.devices())
    for rows in (6, 12, 6, 12):
        lanes = programs.place(lanes.stack([_lane(*_subset(), jax.random.key(rows), real=18, rows=rows, classes=7)]))
        features = programs.features(lanes, 18)
        for _ in programs.run(lanes, features, programs.init(lanes)):
            pass
    assert len(programs.compiled) == 2
    assert programs.memory > 0


def test_masked_rows_and_classes_touch_neither_head_nor_losses():
    rng = np.random.default_rng(0)
    features, labels = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((4, 30), (4, 3)))
    padded = jnp.concatenate([features, jnp.full((3, 30), 7.0)])
    targets = jnp.concatenate([labels, jnp.full((3, 3), 9.0)])
    rows = jnp.arange(7) < 4
    np.testing.assert_allclose(
        krr.ridge_head(padded, targets, rows=rows), krr.ridge_head(features, labels), rtol=1e-4, atol=1e-5
    )
    gradient = jax.grad(lambda f, y: jnp.sum(krr.ridge_head(f, y, rows=rows) ** 2), (0, 1))(padded, targets)
    wanted = jax.grad(lambda f, y: jnp.sum(krr.ridge_head(f, y) ** 2), (0, 1))(features, labels)
    for found, expected in zip(gradient, wanted, strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found[:4], expected, atol=1e-4 * scale)
        assert not np.any(found[4:])
    wide = jnp.pad(labels, ((0, 3), (0, 2)))
    mask = Mask(rows, jnp.arange(5) < 3)
    np.testing.assert_allclose(
        losses.label_margin(wide, mask.rows, mask.classes), losses.label_margin(labels), rtol=1e-6
    )
    other = jnp.pad(labels[::-1], ((0, 3), (0, 2)))
    np.testing.assert_allclose(
        losses.squared_error(wide, other, rows), losses.squared_error(labels, labels[::-1]), rtol=1e-6
    )
    # All predictions below zero: an unmasked padded class would win.
    below = jnp.pad(-1 - jnp.abs(labels), ((0, 3), (0, 2)))
    assert losses.accuracy(below, wide, rows, mask.classes) == losses.accuracy(-1 - jnp.abs(labels), labels)


def test_the_fixed_network_is_the_one_that_distils():
    key = jax.random.key(4)
    real = streams.Real(jnp.ones((3, *SHAPE)), jnp.ones((3, 7)))
    seen = []

    def step(state, draw):
        return state, {
            "loss": optax.tree.norm(draw.variables),
            "bias": draw.variables["params"]["Conv_0"]["kernel"][0, 0, 0, 0],
        }

    for _, _, metrics in streams.run(streams.Stream(1, 1), NETWORK, real, (key, key), step, jnp.zeros(())):
        seen.append(metrics)
    fixed = streams.fixed_network(NETWORK, key, SHAPE)
    np.testing.assert_allclose(seen[0]["loss"][0], optax.tree.norm(fixed), rtol=1e-6)
    assert seen[0]["bias"][0] == fixed["params"]["Conv_0"]["kernel"][0, 0, 0, 0]
