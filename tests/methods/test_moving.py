"""What moves: the synthetic set and the translator, each against plain gradient descent written out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsdd.core import compilation, descent
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.methods import autoencoding, distillation, nfr, optimisers, streams, translation
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet
from fsdd.networks.translator import Translator

SHAPE = (8, 8, 3)
NETWORK = ConvNet(3, width=4, depth=2, norm="batch")
OBJECTIVE = nfr.Objective(NETWORK)
judge = compilation.jit(lambda objective, *case: objective(*case), static_argnums=0)


def _images(n, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, *SHAPE)), jnp.float32)


def _labels(classes):
    return jnp.asarray(np.eye(3)[classes] - 1 / 3, jnp.float32)


@pytest.fixture(scope="module")
def draw():
    variables = streams.fixed_network(NETWORK, jax.random.key(0), SHAPE)
    features = compilation.jit(functools.partial(sampling.features, NETWORK))(variables, _images(30, 1))
    return streams.Draw(variables, features, _labels(np.arange(30) % 3))


@pytest.fixture(scope="module")
def synthetic():
    return SyntheticSet(_images(3), _labels(np.arange(3)))


@functools.cache
def _distiller(name):
    """One of the optimisers, a step by it, and one that tells the gradient that it was given: compiled once for all."""
    optimiser = optax.sgd(0.1) if name == "sgd" else optimisers.build(name, optimisers.cosine(1e-2, 30))
    optimiser = optax.chain(optax.trace(0.0), optimiser)
    step = functools.partial(distillation.step, objective=OBJECTIVE, optimiser=optimiser)
    return optimiser, compilation.jit(step)


def test_distillation_is_gradient_descent(draw, synthetic):
    optimiser, step = _distiller("sgd")
    gradient = compilation.jit(jax.grad(lambda s: OBJECTIVE(s, draw)[0]))(synthetic)
    state, metrics = step(descent.init(synthetic, optimiser), (draw,))
    np.testing.assert_allclose(state.moving.images, synthetic.images - 0.1 * gradient.images, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.moving.labels, synthetic.labels - 0.1 * gradient.labels, rtol=1e-5, atol=1e-6)
    assert abs(metrics["loss"] - metrics["nfr"] - metrics["margin"]) < 1e-6


def test_flip_regresses_on_the_mirror_image_too(draw, synthetic):
    both, parts = judge(OBJECTIVE, synthetic, draw)
    without = nfr.Objective(NETWORK, flip=False)
    assert abs(judge(without, synthetic.mirrored(), draw)[1]["nfr"] - parts["nfr"]) < 1e-5
    assert abs(judge(without, synthetic, draw)[1]["nfr"] - parts["nfr"]) > 1e-3
    half, half_parts = judge(nfr.Objective(NETWORK, scale=0.5), synthetic, draw)
    assert abs(2 * half_parts["nfr"] - parts["nfr"]) < 1e-5
    assert half_parts["margin"] == parts["margin"]
    assert abs(both - half - half_parts["nfr"]) < 1e-5


@pytest.mark.parametrize("name", sorted(optimisers.OPTIMISERS))
def test_every_optimiser_lowers_the_loss_and_moves_images_alone_as_beside_labels(draw, synthetic, name):
    optimiser, step = _distiller(name)
    state, losses = descent.init(synthetic, optimiser), []
    for _ in range(30):
        state, metrics = step(state, (draw,))
        losses.append(float(metrics["loss"]))
        if len(losses) == 1:
            both = state
    assert losses[-1] < 0.9 * losses[0]
    # One step of the images alone, by the gradient of the first.
    alone = optimisers.hold_labels(optimisers.build(name, optimisers.cosine(1e-2, 30)))
    updates, _ = compilation.jit(alone.update)(both.optimiser[0].trace, alone.init(synthetic), synthetic)
    assert not updates.labels.any()
    np.testing.assert_allclose(synthetic.images + updates.images, both.moving.images, atol=1e-6)
    assert np.abs(both.moving.images - synthetic.images).max() > 1e-3
    assert np.abs(both.moving.labels - synthetic.labels).max() > 1e-3


@functools.cache
def _fresh(translator, shape=SHAPE):
    return compilation.jit(lambda: translation.fresh(translator, jax.random.key(1), shape))()


@functools.cache
def _applied(translator):
    """`(variables, images) -> ` translated images, normalised by their own statistics and by running ones."""

    @compilation.jit
    def apply(variables, images):
        own, _ = translator.apply(variables, images, mutable=["batch_stats"])
        return {"batch": own, "running": translator.apply(variables, images, train=False)}

    return apply


def _trained(translator):
    """Variables of a translator whose running statistics and offsets are not those it was born with."""
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: np.asarray(leaf) + rng.uniform(0.1, 0.5, leaf.shape).astype(np.float32), _fresh(translator)
    )


RESIDUAL, PLAIN = Translator(widths=(4, 4, 4)), Translator(widths=(4, 4, 4), residual=False)


def test_a_fresh_residual_translator_is_the_identity(synthetic):
    made = translation.translate(RESIDUAL, _fresh(RESIDUAL), synthetic)
    np.testing.assert_array_equal(made.images, synthetic.images)
    assert not np.allclose(_applied(PLAIN)(_fresh(PLAIN), synthetic.images)["running"], synthetic.images)


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize(("side", "channels"), [(8, 1), (16, 3)])
def test_a_translator_keeps_the_shape(stride, side, channels):
    translator = Translator(channels, (4, 6, 5), stride, residual=False)
    images = jax.ShapeDtypeStruct((2, side, side, channels), jnp.float32)
    variables = jax.eval_shape(lambda: translation.fresh(translator, jax.random.key(0), (side, side, channels)))
    made = jax.eval_shape(functools.partial(translator.apply, train=False), variables, images)
    assert made.shape == images.shape
    sizes = [(channels, 4), (4, 6), (6, 5), (5, channels)]
    # The output has biases; what is normalised has none, but an offset and a factor.
    wanted = sum(9 * i * o for i, o in sizes) + channels + 2 * (4 + 6 + 5)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == wanted


@functools.cache
def _translation(labels_move: bool):
    """An optimiser of translation, and a step by it on the sets that it is given."""
    optimiser = translation.build_optimiser(optax.sgd(0.05), optax.sgd(0.1) if labels_move else None)
    fixed = {"translator": RESIDUAL, "objective": OBJECTIVE, "optimiser": optimiser}
    step = compilation.jit(lambda state, draw, sources: translation.step(state, (draw,), sources, **fixed))
    return optimiser, step


def test_translation_lowers_the_loss_of_the_translated_set(draw, synthetic):
    optimiser, step = _translation(False)
    state = translation.init(_fresh(RESIDUAL), (synthetic,), optimiser)
    before = judge(OBJECTIVE, synthetic, draw)[0]
    for _ in range(30):
        state, metrics = step(state, draw, (synthetic,))
    made = translation.translate(RESIDUAL, translation.variables(state), synthetic)
    assert judge(OBJECTIVE, made, draw)[0] < before - 0.01
    # Labels were not asked to move.
    np.testing.assert_array_equal(state.moving.labels[0], synthetic.labels)
    assert np.isfinite(metrics["loss"])


def test_the_loss_over_several_ipcs_is_their_mean(draw, synthetic):
    larger = SyntheticSet(_images(6, 2), _labels(np.repeat(np.arange(3), 2)))
    sources = synthetic, larger
    optimiser, step = _translation(True)
    before = translation.init(_fresh(RESIDUAL), sources, optimiser)
    state, metrics = step(before, draw, sources)
    # A fresh translator is the identity: the sets are judged as they are.
    alone = [float(judge(OBJECTIVE, source, draw)[0]) for source in sources]
    assert abs(alone[0] - alone[1]) > 1e-2
    assert abs(sum(alone) / 2 - metrics["loss"]) < 1e-5
    assert [labels.shape for labels in state.moving.labels] == [source.labels.shape for source in sources]
    for labels, source in zip(state.moving.labels, sources, strict=True):
        assert (labels != source.labels).any()
    assert any((new != old).any() for new, old in zip(*map(jax.tree.leaves, (state.rest, before.rest)), strict=True))


def test_an_autoencoder_learns_to_reconstruct():
    translator = Translator(widths=(8, 8, 8), residual=False)
    optimiser = optimisers.build("adam", 1e-2)
    start = autoencoding.init(_fresh(translator), optimiser)
    batch_stats = jax.device_get(start.rest)
    fixed = {"translator": translator, "optimiser": optimiser, "batch": 16, "steps": 80}
    taken = list(autoencoding.run(jax.tree.map(jnp.copy, start), _images(64), jax.random.key(1), **fixed))
    losses = [float(metrics["loss"][0]) for *_, metrics in taken]
    position, state, _ = taken[-1]
    assert position == len(losses) == 80
    # White noise has variance 1: that is the loss of predicting its mean.
    assert losses[0] > 0.9
    assert losses[-1] < 0.3
    variables = autoencoding.variables(state)
    assert set(variables) == {"params", "batch_stats"}
    moved = jax.tree.map(lambda new, old: np.any(new != old), variables["batch_stats"], batch_stats["batch_stats"])
    assert all(jax.tree.leaves(moved))


def test_statistics_of_the_set_or_running_ones(synthetic):
    batch, running = (
        translation.translate(PLAIN, _fresh(PLAIN), synthetic, kind).images for kind in translation.STATISTICS
    )
    assert not np.allclose(batch, running)
    wanted = _applied(PLAIN)(_fresh(PLAIN), synthetic.images)["running"]
    np.testing.assert_allclose(running, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_large_set_is_translated_in_chunks_as_at_once(stride):
    translator = Translator(widths=(4, 5, 6), stride=stride, residual=False)
    source = SyntheticSet(_images(7), np.zeros((7, 3), np.float32))
    variables = _trained(translator)
    wanted = _applied(translator)(variables, source.images)
    for kind in translation.STATISTICS:
        # The last chunk is smaller than the others: each counts by its size.
        found = translation.translate(translator, variables, source, kind, chunk=3)
        np.testing.assert_allclose(found.images, wanted[kind], rtol=1e-4, atol=2e-5)


def test_a_translator_acts_on_what_networks_see():
    small = SyntheticSet(_images(3)[:, ::2, ::2], jnp.zeros((3, 3)))
    variables = _trained(PLAIN)
    found = translation.translate(PLAIN, variables, small, factor=2)
    large = np.asarray(_applied(PLAIN)(variables, small.decoded(2).images)["batch"])
    squares = large.reshape(3, 4, 2, 4, 2, 3)
    np.testing.assert_allclose(found.images, squares.mean((2, 4)), atol=1e-5)


def test_small_images_are_judged_and_translated_through_the_decoder(draw, synthetic):
    small = SyntheticSet(synthetic.images[:, ::2, ::2], synthetic.labels)
    objective = nfr.Objective(NETWORK, factor=2)
    assert abs(judge(objective, small, draw)[0] - judge(OBJECTIVE, small.decoded(2), draw)[0]) < 1e-6
    variables = _trained(PLAIN)
    value, _ = compilation.jit(
        lambda variables, case: translation.mean_loss(
            variables["params"], variables["batch_stats"], [case], PLAIN, objective
        )
    )(variables, translation.Case(small, draw))
    wanted = judge(objective, translation.translate(PLAIN, variables, small, factor=2), draw)[0]
    assert abs(value - wanted) < 1e-4


def test_from_a_start_with_some_images_mirrored_the_same_steps_lead_to_the_same_set_so_mirrored(draw, synthetic):
    """What lets pre-training mirror images of cached sets."""
    turned = np.array([True, False, True])[:, None, None, None]
    mirrored = synthetic.replace(images=jnp.where(turned, synthetic.images[:, :, ::-1], synthetic.images))
    optimiser, step = _distiller("adam")
    ends = []
    for start in (synthetic, mirrored):
        state = descent.init(start, optimiser)
        for _ in range(3):
            state, _ = step(state, (draw,))
        ends.append(state.moving)
    assert np.abs(ends[0].images - synthetic.images).max() > 1e-2
    wanted = np.where(turned, ends[0].images[:, :, ::-1], ends[0].images)
    np.testing.assert_allclose(ends[1].images, wanted, atol=1e-4)
    np.testing.assert_allclose(ends[1].labels, ends[0].labels, atol=1e-4)
