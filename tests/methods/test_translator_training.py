"""Pre-training: the step against gradients of single subsets, padding, reuse, and what many devices do."""

import dataclasses
import functools

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsdd.core import descent
from fsdd.core.whitening import Whitening
from fsdd.methods import lanes, nfr, streams, translation, translator_training
from fsdd.methods.translator_training import Schedule
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet
from fsdd.networks.translator import Translator

NETWORK = ConvNet(5, width=4, depth=2, norm="batch")
OBJECTIVE = nfr.Objective(NETWORK)
TRANSLATOR = Translator(3, (4, 4, 4))
SHAPE = (8, 8, 3)
# Real images are whitened on the way to the device.
WHITENING = Whitening(np.full(3, 0.1, np.float32), np.full(3, 2, np.float32))


def _case(classes: int, seed: int, rows: int = 0) -> translation.Case:
    """A set of two images a class, padded to `rows` and 5 classes if there are rows."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(2 * classes, *SHAPE)).astype(np.float32)
    labels = np.repeat(np.eye(classes, dtype=np.float32), 2, 0) - 1 / classes
    source, mask = lanes.padded(images, labels, rows or 2 * classes, 5 if rows else classes)
    variables = sampling.sample(NETWORK, jax.random.key(seed), SHAPE)
    real = rng.normal(size=(12, *SHAPE)).astype(np.float32)
    targets = np.pad(np.eye(classes)[np.arange(12) % classes] - 1 / classes, ((0, 0), (0, 5 - classes if rows else 0)))
    draw = streams.Draw(variables, sampling.features(NETWORK, variables, real), jnp.asarray(targets, jnp.float32))
    return translation.Case(source, draw, mask)


def _state(rate=0.1):
    variables = translation.fresh(TRANSLATOR, jax.random.key(1), SHAPE)
    # Away from the identity, whose gradient reaches the last layer alone.
    variables = jax.tree.map(lambda leaf: leaf + 0.05, variables)
    optimiser = translation.build_optimiser(optax.sgd(rate), None)
    return translation.init(variables, (), optimiser), optimiser


@jax.jit
def _loss_and_gradient(case: translation.Case) -> tuple:
    state, _ = _state()
    arguments = state.moving.params, state.rest, [case], TRANSLATOR, OBJECTIVE
    (value, _), gradient = jax.value_and_grad(translation.mean_loss, has_aux=True)(*arguments)
    return value, gradient


@jax.jit
def _pretrain(state: descent.State, cases: translation.Case) -> tuple[descent.State, dict]:
    optimiser = _state()[1]
    return translation.pretrain(state, cases, translator=TRANSLATOR, objective=OBJECTIVE, optimiser=optimiser)


def test_a_step_follows_the_mean_gradient_of_its_subsets():
    cases = [_case(3, 1, 20), _case(5, 2, 20), _case(2, 3, 20)]
    state, _ = _state()
    moved, metrics = _pretrain(state, lanes.stack(cases))
    gradients = [_loss_and_gradient(case)[1] for case in cases]
    wanted = jax.tree.map(lambda start, *grads: start - 0.1 * sum(grads) / 3, state.moving.params, *gradients)
    for found, expected in zip(jax.tree.leaves(moved.moving.params), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.isfinite(metrics["loss"])
    assert any(
        np.any(new != old)
        for new, old in zip(jax.tree.leaves(moved.rest), jax.tree.leaves(state.rest), strict=True)
    )


@pytest.mark.parametrize("classes", [2, 5])
def test_padding_changes_neither_loss_nor_gradient(classes):
    """To a rounding of 1e-4 of the gradient's largest entry."""
    tight, padded = _case(classes, 7), _case(classes, 7, 20)
    (value, gradient), (other, padded_gradient) = map(_loss_and_gradient, (tight, padded))
    np.testing.assert_allclose(other, value, rtol=1e-5)
    one, two = (jax.flatten_util.ravel_pytree(found)[0] for found in (gradient, padded_gradient))
    np.testing.assert_allclose(two, one, atol=1e-4 * np.abs(one).max())


def test_statistics_ignore_padded_images():
    images = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)
    variables = translation.fresh(TRANSLATOR, jax.random.key(1), SHAPE)
    padded = np.concatenate([images, np.full((3, *SHAPE), 50, np.float32)])
    rows = jnp.arange(7) < 4
    _, alone = TRANSLATOR.apply(variables, images, mutable=["batch_stats"])
    _, masked = TRANSLATOR.apply(variables, padded, rows=rows, mutable=["batch_stats"])
    for one, two in zip(jax.tree.leaves(alone), jax.tree.leaves(masked), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5)


def _batch(number: int) -> translator_training.Batch:
    rng = np.random.default_rng(number)
    images = rng.normal(size=(2, 6, *SHAPE)).astype(np.float32)
    labels = np.tile(np.repeat(np.eye(3, dtype=np.float32), 2, 0) - 1 / 3, (2, 1, 1))
    sources = [lanes.padded(images[at], labels[at], 6, 5) for at in range(2)]
    source, mask = (lanes.stack(parts) for parts in zip(*sources, strict=True))
    real = rng.normal(size=(2, 12, *SHAPE)).astype(np.float32)
    targets = np.tile(np.pad(np.eye(3)[np.arange(12) % 3] - 1 / 3, ((0, 0), (0, 2))), (2, 1, 1)).astype(np.float32)
    keys = np.asarray(jax.random.key_data(jax.random.split(jax.random.key(number), 2)))
    return translator_training.Batch(source, mask, real, targets, keys)


@functools.cache
def _programs(**compute) -> translator_training.TranslatorTrainer:
    """Chunks of 5 do not divide 12 real images. Kept, because compiling is most of what these tests take."""
    return translator_training.TranslatorTrainer(TRANSLATOR, OBJECTIVE, _state()[1], jax.devices(), chunk=5, **compute)


def test_features_are_kept_as_they_are_asked_for():
    exact, rounded = (_programs(cache_dtype=dtype).cases(_batch(0), WHITENING) for dtype in ("float32", "bfloat16"))
    assert rounded.draw.features.dtype == "bfloat16"
    np.testing.assert_allclose(rounded.draw.features.astype("float32"), exact.draw.features, rtol=1e-2, atol=1e-2)


def test_features_of_a_case_are_those_of_its_own_network():
    batch = _batch(4)
    cases = _programs().cases(batch, WHITENING)
    for lane in range(2):
        variables = sampling.sample(NETWORK, jax.random.wrap_key_data(batch.key[lane]), SHAPE)
        wanted = sampling.features(NETWORK, variables, (batch.images[lane] - 0.1) / 2)
        np.testing.assert_allclose(cases.draw.features[lane], wanted, atol=1e-5)


def test_batches_are_used_in_turn_and_resumed_where_they_were():
    schedule = Schedule(steps=10, uses=2, group=3)
    assert [schedule.first_batch(step) for step in (0, 5, 6, 9)] == [0, 0, 3, 3]
    programs, (state, _) = _programs(), _state()
    by_hand = jax.tree.map(jnp.copy, state)
    losses, at = [], {}
    for position, moved, metrics in programs.run(schedule, map(_batch, range(6)), WHITENING, state):
        losses.append(float(metrics["loss"][0]))
        at[position] = jax.tree.map(np.array, moved)
    assert list(at) == list(range(1, 11))
    # The first group, by hand: three batches in turn, twice; then the second.
    cases = [programs.cases(_batch(number), WHITENING) for number in range(6)]
    for number, loss in zip((0, 1, 2, 0, 1, 2, 3, 4, 5, 3), losses, strict=True):
        by_hand, metrics = _pretrain(by_hand, cases[number])
        np.testing.assert_allclose(loss, metrics["loss"], rtol=1e-3)
    for middle in (2, 7):
        first = schedule.first_batch(middle)
        *_, (_, resumed, _) = programs.run(schedule, map(_batch, range(first, 6)), WHITENING, at[middle], middle)
        for one, two in zip(jax.tree.leaves(resumed), jax.tree.leaves(at[10]), strict=True):
            np.testing.assert_array_equal(one, two)


def test_judging_is_the_mean_of_both_losses():
    programs, (state, _) = _programs(), _state()
    cases = programs.cases(_batch(1), WHITENING)
    variables = {"params": state.moving.params, "batch_stats": state.rest}
    translated, plain = programs.judge(variables, cases)
    wanted = np.zeros(2)
    for lane in range(2):
        case = jax.tree.map(lambda leaf, lane=lane: leaf[lane], cases)
        images, _ = TRANSLATOR.apply(variables, case.source.images, rows=case.mask.rows, mutable=["batch_stats"])
        for place, source in enumerate((case.source.replace(images=images), case.source)):
            wanted[place] += OBJECTIVE(source, case.draw, case.mask)[1]["nfr"] / 2
    np.testing.assert_allclose([translated["nfr"], plain["nfr"]], wanted, rtol=1e-4)


def test_a_scaled_loss_does_not_see_how_bright_images_are():
    """Without biases features grow with images, and heads shrink; the best factor is least squares' own."""
    objective, case = dataclasses.replace(OBJECTIVE, scaled=True), _case(3, 5)
    brighter = case.source.replace(images=1.5 * case.source.images)
    (one, parts), (two, _) = (objective(source, case.draw) for source in (case.source, brighter))
    np.testing.assert_allclose(one, two, rtol=1e-4)
    assert abs(OBJECTIVE(case.source, case.draw)[0] - OBJECTIVE(brighter, case.draw)[0]) > 1e-2
    prediction = np.asarray(OBJECTIVE.predict(case.source, case.draw), np.float64).reshape(-1, 1)
    labels = np.asarray(case.draw.labels, np.float64).reshape(-1)
    _, (residual,), *_ = np.linalg.lstsq(prediction, labels, rcond=None)
    np.testing.assert_allclose(parts["nfr_scaled"], residual / len(case.draw.labels), rtol=1e-4)
