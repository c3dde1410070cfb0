"""Lanes: padding takes part in nothing, and a lane is `1 Net` on its own subset."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tolerances import sum_tolerance

from fsdd.core import compilation, descent, krr, losses, synthetic_set
from fsdd.core.synthetic_set import Mask, SyntheticSet
from fsdd.core.whitening import Whitening, fit
from fsdd.io.progress import compile_clock
from fsdd.methods import distillation, lanes, nfr, optimisers, stream_driver, streams
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet

NETWORK = ConvNet(7, width=4, depth=2, norm="batch")
SHAPE = (8, 8, 3)
# These images are taken as they are.
PLAIN = Whitening(np.zeros(3, np.float32), np.ones(3, np.float32))
VARIABLES = streams.fixed_network(NETWORK, jax.random.key(0), SHAPE)
# The two buckets that most tests share, since compiling is most of what they take.
TIGHT = {"real": 18, "rows": 6, "classes": 3}
PADDED = {"real": 36, "rows": 12, "classes": 7}

features = compilation.jit(functools.partial(sampling.features, NETWORK, VARIABLES))


def _subset(classes: int = 3, each: int = 6, ipc: int = 2, seed: int = 0):
    images = np.random.default_rng(seed).normal(size=(classes * each, *SHAPE)).astype(np.float32)
    labels = np.repeat(np.arange(classes), each)
    start = (np.arange(classes)[:, None] * each + np.arange(ipc)).reshape(-1)
    return images, labels, start


def _lanes(*subsets, bucket=PADDED):
    """Lanes of `(subset, seed of the key)`."""
    return lanes.stack(
        [lanes.lane(*subset, jax.random.key(seed), whitening=PLAIN, **bucket) for subset, seed in subsets]
    )


@functools.cache
def _recipe(name="adam", flip=True, **fields) -> lanes.Recipe:
    """A ridge and an epsilon that rounding does not get past.

    Random features are nearly collinear, so a small ridge magnifies rounding, and both optimisers divide the gradient
    of a pixel by its own size, however small that is.
    """
    settings = {"steps": 12, "batch": 16, "views": 2, "policy": "dsa"} | fields
    optimiser = optimisers.build(name, optimisers.cosine(1e-2, settings["steps"]), eps=1e-3)
    return lanes.Recipe(nfr.Objective(NETWORK, flip=flip, ridge=1e-2), optimiser, **settings)


@functools.cache
def _distiller(recipe, dispatch=1) -> lanes.LaneDistiller:
    return lanes.LaneDistiller(recipe, VARIABLES, PLAIN, jax.devices()[:1], dispatch)


def _distil(recipe, given, chunk, dispatch=1):
    """What is distilled, the metrics of the last dispatch, and the losses of the lanes."""
    distiller = _distiller(recipe, dispatch)
    given = distiller.place(given)
    kept = distiller.features(given, chunk)
    *_, (_, state, metrics) = distiller.run(given, kept, distiller.init(given))
    return jax.device_get((state.moving, metrics, distiller.losses(state.moving, kept, given)))


@pytest.mark.parametrize(("name", "flip"), [("adam", True), pytest.param("lamb", False, marks=pytest.mark.whole)])
def test_padding_to_twice_the_size_changes_nothing(name, flip):
    """S' to a rounding of 1e-5 of its largest value."""
    images, _, start = subset = _subset()
    recipe = _recipe(name, flip)
    one, _, loss_one = _distil(recipe, _lanes((subset, 5), bucket=TIGHT), 18)
    two, _, loss_two = _distil(recipe, _lanes((subset, 5)), 12)
    assert np.abs(one.images - images[start]).max() > 0.05, "the images have moved"
    np.testing.assert_allclose(two.images[0, :6], one.images[0], atol=1e-5 * np.abs(one.images).max())
    np.testing.assert_allclose(two.labels[0, :6, :3], one.labels[0], atol=1e-5)
    np.testing.assert_allclose(loss_two, loss_one, rtol=1e-4)
    assert not np.any(two.images[0, 6:]) and not np.any(two.labels[0, 6:]) and not np.any(two.labels[0, :, 3:])


@pytest.mark.slow
def test_a_lane_does_not_depend_on_its_neighbours():
    subsets = [(_subset(classes, 4, 1, seed), seed) for seed, classes in enumerate((3, 5, 2))]
    together, _, loss = _distil(_recipe(), _lanes(*subsets), 12)
    for position, subset in enumerate(subsets):
        alone, _, loss_alone = _distil(_recipe(), _lanes(subset), 12)
        np.testing.assert_allclose(together.images[position], alone.images[0], atol=1e-5)
        np.testing.assert_allclose(loss[position], loss_alone[0], rtol=1e-4)


def test_pixels_are_whitened_on_the_device_as_on_the_host():
    images, labels, start = _subset()
    pixels = np.random.default_rng(3).integers(0, 256, images.shape, np.uint8)
    whitening = fit(pixels)
    assert whitening.kind == "zca"
    distiller = lanes.LaneDistiller(_recipe(views=1, policy="none"), VARIABLES, whitening, jax.devices()[:1])
    given = lanes.stack(
        [lanes.lane(pixels, labels, start, jax.random.key(1), whitening=whitening, real=20, rows=6, classes=7)]
    )
    expected = whitening.apply(pixels)
    # Products of few rows and of many are added up in other orders. Neither part of the transform is larger, as a map,
    # than 1 / scale, so that the sums are of terms as large as an image divided by it.
    flat = ((pixels.astype(np.float64) / 255 - whitening.channel_mean) / whitening.channel_std).reshape(len(pixels), -1)
    flat -= whitening.mean
    close = sum_tolerance(flat.shape[1], np.linalg.norm(flat, axis=1).max() / whitening.scale)
    np.testing.assert_allclose(given.start.images[0], expected[start], **close)
    factors = whitening.factors.astype(np.float64)
    transform = np.eye(flat.shape[1]) / whitening.scale - factors.T @ (factors * whitening.weights[0][:, None])
    textbook = (flat @ transform).reshape(pixels.shape)
    np.testing.assert_allclose(expected, textbook, **close)
    found = distiller.features(distiller.place(given), 5)[0, 0, :18]
    np.testing.assert_allclose(found, features(expected), atol=1e-4)


def test_a_lane_is_distillation_on_its_own_views():
    """One plain view, and every minibatch drawn here as there: `distillation.step` without masks gives the same S'."""
    images, labels, start = subset = _subset()
    recipe, key = _recipe(views=1, policy="none"), jax.random.key(3)
    found, metrics, _ = _distil(recipe, _lanes((subset, 3)), 12)
    seen = features(images)
    targets = jnp.asarray(synthetic_set.centred_labels(labels, 3))
    begin = SyntheticSet(jnp.asarray(images[start]), jnp.asarray(synthetic_set.initial_labels(labels[start], 3)))
    state = descent.init(begin, recipe.optimiser)

    @compilation.jit
    def step(state, index):
        step_key = jax.random.fold_in(jax.random.fold_in(key, recipe.views), index)
        rows = jax.random.randint(step_key, (recipe.batch,), 0, len(images))
        draw = streams.Draw(VARIABLES, seen[rows], targets[rows])
        return distillation.step(state, (draw,), objective=recipe.objective, optimiser=recipe.optimiser)

    for index in range(recipe.steps):
        state, wanted = step(state, index)
    np.testing.assert_allclose(found.images[0, :6], state.moving.images, atol=1e-4)
    np.testing.assert_allclose(metrics["nfr"][0], wanted["nfr"], rtol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_cached_features_are_kept_as_they_are_asked_for(dtype):
    distiller = _distiller(_recipe(cache_dtype=dtype, policy="none"))
    images, *_ = subset = _subset()
    kept = distiller.features(distiller.place(_lanes((subset, 1))), 12)
    assert kept.dtype == dtype
    rounding = {"float32": 1e-5, "bfloat16": 1e-2}[dtype]
    np.testing.assert_allclose(kept.astype("float32")[0, 1, :18], features(images), rtol=rounding, atol=rounding)


@pytest.mark.whole
def test_views_are_plain_first_then_augmented():
    images, *_ = subset = _subset()
    distiller = _distiller(_recipe(views=3))
    given = distiller.place(_lanes((subset, 1), bucket=TIGHT))
    kept = np.asarray(distiller.features(given, 9))
    plain = features(images)
    np.testing.assert_allclose(kept[0, 0], plain, atol=1e-5)
    for view in (1, 2):
        changed = np.abs(kept[0, view] - plain).max(-1) > 1e-3
        # A flip leaves half of the images it is drawn for as they are: one in twelve.
        assert changed.mean() > 0.6
    assert np.abs(kept[0, 1] - kept[0, 2]).max() > 0.1
    # In chunks of another size they are the same, but for the order of additions.
    np.testing.assert_allclose(distiller.features(given, 6), kept, atol=1e-5)


@pytest.mark.whole
def test_many_steps_a_dispatch_are_the_same_steps():
    given = _lanes((_subset(), 1))
    singly, _, _ = _distil(_recipe(), given, 12)
    scanned, _, _ = _distil(_recipe(), given, 12, dispatch=6)
    np.testing.assert_allclose(scanned.images, singly.images, atol=1e-5)
    # Whoever goes on from a step at which no such dispatch begins ends with the last one all the same.
    recipe = _recipe()
    distiller = _distiller(recipe, 6)
    given = distiller.place(given)
    kept, state = distiller.features(given, 12), distiller.init(given)
    reached = [done for done, _, _ in distiller.run(given, kept, state, start=recipe.steps - 5)]
    assert reached[-1] == recipe.steps


def test_a_bucket_is_compiled_once():
    def compiled(seed, bucket, chunk):
        before = compile_clock.programs
        _distil(_recipe(), _lanes((_subset(seed=seed), seed), bucket=bucket), chunk)
        return compile_clock.programs - before

    compiled(1, TIGHT, 18), compiled(1, PADDED, 12)
    assert [compiled(seed, *shape) for seed in (2, 3) for shape in ((TIGHT, 18), (PADDED, 12))] == [0] * 4
    # What a step takes is read off the program that takes it.
    distiller = _distiller(_recipe())
    given = distiller.place(_lanes((_subset(), 1)))
    kept, state = distiller.features(given, 12), distiller.init(given)
    memory = distiller.memory(given, kept, state)
    assert memory > kept.nbytes + sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    assert compiled(4, PADDED, 12) == 0


def test_masked_rows_and_classes_touch_neither_head_nor_losses():
    rng = np.random.default_rng(0)
    made, labels = (np.asarray(rng.normal(size=shape), np.float32) for shape in ((4, 30), (4, 3)))
    padded = np.concatenate([made, np.full((3, 30), 7, np.float32)])
    targets = np.concatenate([labels, np.full((3, 3), 9, np.float32)])
    rows = np.arange(7) < 4

    @compilation.jit
    def head_and_gradient(made, labels, rows=None):
        def squared(made, labels):
            head = krr.ridge_head(made, labels, rows=rows)
            return jnp.sum(head**2), head

        gradient, head = jax.grad(squared, (0, 1), has_aux=True)(made, labels)
        return head, gradient

    head, gradient = head_and_gradient(padded, targets, rows)
    wanted_head, wanted = head_and_gradient(made, labels)
    np.testing.assert_allclose(head, wanted_head, rtol=1e-4, atol=1e-5)
    for found, expected in zip(gradient, wanted, strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found[:4], expected, atol=1e-4 * scale)
        assert not np.any(found[4:])
    wide = np.pad(labels, ((0, 3), (0, 2)))
    mask = Mask(rows, np.arange(5) < 3)
    np.testing.assert_allclose(
        losses.label_margin(jnp.asarray(wide), mask.rows, mask.classes),
        losses.label_margin(jnp.asarray(labels)),
        **sum_tolerance(4),
    )
    other = np.pad(labels[::-1], ((0, 3), (0, 2)))
    np.testing.assert_allclose(
        losses.squared_error(wide, other, rows), losses.squared_error(labels, labels[::-1]), **sum_tolerance(12)
    )
    # All predictions below zero: an unmasked padded class would win.
    below = np.pad(-1 - np.abs(labels), ((0, 3), (0, 2)))
    assert losses.accuracy(below, wide, rows, mask.classes) == losses.accuracy(-1 - np.abs(labels), labels)


def test_the_fixed_network_is_the_one_that_distils():
    key = jax.random.key(4)
    real = streams.Real(jnp.ones((3, *SHAPE)), jnp.ones((3, 7)))

    def step(state, draws):
        (draw,) = draws
        kernel = draw.variables["params"]["Conv_0"]["kernel"]
        return state, {"norm": optax.tree.norm(draw.variables), "weight": kernel[0, 0, 0, 0]}

    ((_, _, metrics),) = stream_driver.run(streams.Stream(1, 1), NETWORK, real, (key, key), step, jnp.zeros(()))
    fixed = streams.fixed_network(NETWORK, key, SHAPE)
    size = sum(leaf.size for leaf in jax.tree.leaves(fixed))
    np.testing.assert_allclose(metrics["norm"][0], optax.tree.norm(fixed), **sum_tolerance(size))
    assert metrics["weight"][0] == fixed["params"]["Conv_0"]["kernel"][0, 0, 0, 0]
