"""What moves: the synthetic set and the translator, each against plain gradient descent written out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsdd.core.synthetic_set import SyntheticSet
from fsdd.methods import distillation, nfr, optimisers, streams, translation
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet
from fsdd.networks.translator import Translator

NETWORK = ConvNet(3, width=4, depth=2, norm="batch")
OBJECTIVE = nfr.Objective(NETWORK)


def _images(n, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, 8, 8, 3)), jnp.float32)


@pytest.fixture(scope="module")
def draw():
    variables = sampling.sample(NETWORK, jax.random.key(0), (8, 8, 3))
    labels = jnp.eye(3)[jnp.arange(30) % 3] - 1 / 3
    return streams.Draw(variables, sampling.features(NETWORK, variables, _images(30, 1)), labels)


@pytest.fixture
def synthetic():
    return SyntheticSet(_images(3), jnp.eye(3) - 1 / 3)


def test_distillation_is_gradient_descent(draw, synthetic):
    optimiser = optax.sgd(0.1)
    gradient = jax.grad(lambda s: OBJECTIVE(s, draw)[0])(synthetic)
    state, metrics = distillation.step(
        descent.init(synthetic, optimiser), draw, objective=OBJECTIVE, optimiser=optimiser
    )
    np.testing.assert_allclose(state.moving.images, synthetic.images - 0.1 * gradient.images, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.moving.labels, synthetic.labels - 0.1 * gradient.labels, rtol=1e-5, atol=1e-6)
    assert abs(metrics["loss"] - metrics["nfr"] - metrics["margin"]) < 1e-6


def test_flip_regresses_on_the_mirror_image_too(draw, synthetic):
    without = nfr.Objective(NETWORK, flip=False)
    assert abs(without(synthetic.mirrored(), draw)[1]["nfr"] - OBJECTIVE(synthetic, draw)[1]["nfr"]) < 1e-5
    half = nfr.Objective(NETWORK, scale=0.5)(synthetic, draw)[1]
    assert abs(2 * half["nfr"] - OBJECTIVE(synthetic, draw)[1]["nfr"]) < 1e-5
    assert half["margin"] == OBJECTIVE(synthetic, draw)[1]["margin"]


@pytest.mark.parametrize("name", sorted(optimisers.OPTIMISERS))
def test_every_optimiser_lowers_the_loss(draw, synthetic, name):
    optimiser = optimisers.build(name, optimisers.cosine(1e-2, 30))
    step = jax.jit(functools.partial(distillation.step, objective=OBJECTIVE, optimiser=optimiser))
    state, losses = descent.init(synthetic, optimiser), []
    for _ in range(30):
        state, metrics = step(state, draw)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", sorted(optimisers.OPTIMISERS))
def test_images_alone_move_as_they_do_beside_labels(draw, synthetic, name):
    moving = optimisers.build(name, 1e-2)
    both, alone = (
        distillation.step(descent.init(synthetic, one), draw, objective=OBJECTIVE, optimiser=one)[0].synthetic
        for one in (moving, optimisers.hold_labels(moving))
    )
    np.testing.assert_allclose(alone.images, both.images, atol=1e-6)
    np.testing.assert_array_equal(alone.labels, synthetic.labels)
    assert np.abs(both.images - synthetic.images).max() > 1e-3
    assert np.abs(both.labels - synthetic.labels).max() > 1e-3


def _translation_state(translator, sources, labels=None, rate=0.05):
    optimiser = translation.build_optimiser(optax.sgd(rate), labels)
    variables = translation.fresh(translator, jax.random.key(1), (8, 8, 3))
    return translation.init(variables, sources, optimiser), optimiser


def test_a_fresh_residual_translator_is_the_identity(synthetic):
    translator = Translator(widths=(4, 4, 4))
    variables = translation.fresh(translator, jax.random.key(0), (8, 8, 3))
    made = translation.translate(translator, variables, synthetic)
    np.testing.assert_array_equal(made.images, synthetic.images)
    assert not np.allclose(
        Translator(widths=(4, 4, 4), residual=False).apply(variables, synthetic.images, train=False), synthetic.images
    )


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize(("side", "channels"), [(8, 1), (16, 3)])
def test_a_translator_keeps_the_shape(stride, side, channels):
    translator = Translator(channels, (4, 6, 5), stride, residual=False)
    images = jnp.ones((2, side, side, channels))
    variables = translation.fresh(translator, jax.random.key(0), (side, side, channels))
    assert translator.apply(variables, images, train=False).shape == images.shape
    sizes = [(channels, 4), (4, 6), (6, 5), (5, channels)]
    # The output has biases; what is normalised has none, but an offset and a factor.
    wanted = sum(9 * i * o for i, o in sizes) + channels + 2 * (4 + 6 + 5)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == wanted


def test_translation_lowers_the_loss_of_the_translated_set(draw, synthetic):
    translator = Translator(widths=(4, 4, 4))
    state, optimiser = _translation_state(translator, (synthetic,))
    step = jax.jit(
        functools.partial(
            translation.step, sources=(synthetic,), translator=translator, objective=OBJECTIVE, optimiser=optimiser
        )
    )
    before = OBJECTIVE(synthetic, draw)[0]
    for _ in range(30):
        state, metrics = step(state, draw)
    variables = {"params": state.moving.params, "batch_stats": state.batch_stats}
    after = OBJECTIVE(translation.translate(translator, variables, synthetic), draw)[0]
    assert after < before - 0.01
    # Labels were not asked to move.
    np.testing.assert_array_equal(state.moving.labels[0], synthetic.labels)
    assert np.isfinite(metrics["loss"])


def test_the_loss_over_several_ipcs_is_their_mean(draw, synthetic):
    larger = SyntheticSet(_images(6, 2), jnp.repeat(jnp.eye(3), 2, 0) - 1 / 3)
    translator = Translator(widths=(4, 4, 4))
    values = []
    for sources in ((synthetic,), (larger,), (synthetic, larger)):
        state, optimiser = _translation_state(translator, sources, optax.sgd(0.1))
        state, metrics = translation.step(
            state, draw, sources=sources, translator=translator, objective=OBJECTIVE, optimiser=optimiser
        )
        values.append(float(metrics["loss"]))
        assert [labels.shape for labels in state.moving.labels] == [source.labels.shape for source in sources]
        for labels, source in zip(state.moving.labels, sources, strict=True):
            assert (labels != source.labels).any()
    assert abs((values[0] + values[1]) / 2 - values[2]) < 1e-5


def test_an_autoencoder_learns_to_reconstruct():
    translator = Translator(widths=(8, 8, 8), residual=False)
    optimiser = optimisers.build("adam", 1e-2)
    variables = translation.fresh(translator, jax.random.key(0), (8, 8, 3))
    step = functools.partial(translation.reconstruct, translator=translator, optimiser=optimiser)
    images, start = _images(64), translation.init_autoencoder(variables, optimiser)
    losses = [
        float(metrics["loss"][0])
        for _, _, metrics in translation.autoencode(step, start, images, jax.random.key(1), batch=16, steps=80)
    ]
    # White noise has variance 1: that is the loss of predicting its mean.
    assert losses[0] > 0.9
    assert losses[-1] < 0.3


def test_statistics_of_the_set_or_running_ones(synthetic):
    translator = Translator(widths=(4, 4, 4), residual=False)
    variables = translation.fresh(translator, jax.random.key(0), (8, 8, 3))
    batch, running = (translation.translate(translator, variables, synthetic, kind) for kind in translation.STATISTICS)
    assert not np.allclose(batch.images, running.images)
    wanted = translator.apply(variables, synthetic.images, train=False)
    np.testing.assert_allclose(running.images, wanted, rtol=1e-4, atol=1e-6)


def _trained(translator, source):
    """Variables of a translator whose running statistics and offsets are not those it was born with."""
    variables = translation.fresh(translator, jax.random.key(0), source.images.shape[1:])
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: leaf + jnp.asarray(rng.uniform(0.1, 0.5, leaf.shape), jnp.float32), variables)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kind", translation.STATISTICS)
def test_a_large_set_is_translated_in_chunks_as_at_once(kind, stride):
    translator = Translator(widths=(4, 5, 6), stride=stride, residual=False)
    source = SyntheticSet(_images(11), jnp.zeros((11, 3)))
    variables = _trained(translator, source)
    if kind == "batch":
        wanted = translator.apply(variables, source.images, mutable=["batch_stats"])[0]
    else:
        wanted = translator.apply(variables, source.images, train=False)
    for chunk in (3, 11, 500):
        found = translation.translate(translator, variables, source, kind, chunk=chunk)
        np.testing.assert_allclose(found.images, wanted, rtol=1e-4, atol=2e-5)


def test_a_translator_acts_on_what_networks_see():
    translator = Translator(widths=(4, 4, 4), residual=False)
    small = SyntheticSet(_images(3)[:, ::2, ::2], jnp.zeros((3, 3)))
    variables = _trained(translator, small)
    found = translation.translate(translator, variables, small, factor=2)
    large = translator.apply(variables, small.decoded(2).images, mutable=["batch_stats"])[0]
    squares = np.asarray(large).reshape(3, 4, 2, 4, 2, 3)
    np.testing.assert_allclose(found.images, squares.mean((2, 4)), atol=1e-5)


def test_small_images_are_judged_and_translated_through_the_decoder(draw, synthetic):
    small = SyntheticSet(synthetic.images[:, ::2, ::2], synthetic.labels)
    objective = nfr.Objective(NETWORK, factor=2)
    assert abs(objective(small, draw)[0] - OBJECTIVE(small.decoded(2), draw)[0]) < 1e-6
    translator = Translator(widths=(4, 4, 4), residual=False)
    variables = _trained(translator, small)
    value, _ = translation.mean_loss(
        variables["params"], variables["batch_stats"], [translation.Case(small, draw)], translator, objective
    )
    wanted = objective(translation.translate(translator, variables, small, factor=2), draw)[0]
    assert abs(value - wanted) < 1e-4


def test_from_a_start_with_some_images_mirrored_the_same_steps_lead_to_the_same_set_so_mirrored(draw, synthetic):
    """What lets pre-training mirror images of cached sets."""
    turned = np.array([True, False, True])[:, None, None, None]
    optimiser = optimisers.build("adam", 1e-2)
    ends = []
    for start in (
        synthetic,
        synthetic.replace(images=jnp.where(turned, synthetic.images[:, :, ::-1], synthetic.images)),
    ):
        state = descent.init(start, optimiser)
        for _ in range(3):
            state, _ = distillation.step(state, draw, objective=OBJECTIVE, optimiser=optimiser)
        ends.append(state.moving)
    assert np.abs(ends[0].images - synthetic.images).max() > 1e-2
    wanted = np.where(turned, ends[0].images[:, :, ::-1], ends[0].images)
    np.testing.assert_allclose(ends[1].images, wanted, atol=1e-4)
    np.testing.assert_allclose(ends[1].labels, ends[0].labels, atol=1e-4)
