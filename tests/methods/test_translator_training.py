"""Pre-training: the step against gradients of single subsets, padding, reuse, and what many devices do."""

import dataclasses
import functools
import multiprocessing
import os

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsdd.core import compilation
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
OPTIMISER = translation.build_optimiser(optax.sgd(0.1), None)
# All sets are padded to one bucket: compiling is most of what these tests take.
ROWS, CLASSES = 10, 5

features = compilation.jit(functools.partial(sampling.features, NETWORK))
pretrain = compilation.jit(
    functools.partial(translation.pretrain, translator=TRANSLATOR, objective=OBJECTIVE, optimiser=OPTIMISER)
)


@functools.cache
def _variables() -> dict:
    """A translator away from the identity, whose gradient reaches the last layer alone."""
    fresh = compilation.jit(lambda: translation.fresh(TRANSLATOR, jax.random.key(1), SHAPE))()
    return jax.tree.map(lambda leaf: np.asarray(leaf) + np.float32(0.05), fresh)


def _state():
    return translation.init(_variables(), (), OPTIMISER)


def _case(classes: int, seed: int, padded: bool = True) -> translation.Case:
    """A set of two images per class, padded to the bucket or not."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(2 * classes, *SHAPE)).astype(np.float32)
    labels = np.repeat(np.eye(classes, dtype=np.float32), 2, 0) - np.float32(1 / classes)
    rows, columns = (ROWS, CLASSES) if padded else (2 * classes, classes)
    source, mask = lanes.padded(images, labels, rows, columns)
    many = sampling.sampler(NETWORK, SHAPE)(jax.random.key(seed)[None])
    variables = jax.tree.map(lambda leaf: leaf[0], many)
    real = rng.normal(size=(12, *SHAPE)).astype(np.float32)
    targets = np.pad(np.eye(classes)[np.arange(12) % classes] - 1 / classes, ((0, 0), (0, columns - classes)))
    draw = streams.Draw(variables, features(variables, real), targets.astype(np.float32))
    return translation.Case(source, draw, mask)


@compilation.jit
def _loss_and_gradient(variables: dict, case: translation.Case) -> tuple:
    def loss(params):
        return translation.mean_loss(params, variables["batch_stats"], [case], TRANSLATOR, OBJECTIVE)

    (value, _), gradient = jax.value_and_grad(loss, has_aux=True)(variables["params"])
    return value, gradient


def test_a_step_follows_the_mean_gradient_of_its_subsets():
    """To a rounding of 1e-4 of the largest entry's move."""
    cases, state = [_case(3, 1), _case(5, 2)], _state()
    moved, metrics = pretrain(state, lanes.stack(cases))
    gradients = [_loss_and_gradient(_variables(), case)[1] for case in cases]
    wanted = jax.tree.map(lambda start, *grads: start - 0.1 * sum(grads) / 2, state.moving.params, *gradients)
    before, after, expected = (
        jax.flatten_util.ravel_pytree(params)[0] for params in (state.moving.params, moved.moving.params, wanted)
    )
    np.testing.assert_allclose(after, expected, rtol=0, atol=1e-4 * np.abs(expected - before).max())
    assert np.isfinite(metrics["loss"])
    changed = jax.tree.map(lambda new, old: np.any(new != old), moved.rest, state.rest)
    assert any(jax.tree.leaves(changed))


# The full bucket needs no padding: all of its rows and classes are there.
@pytest.mark.parametrize("classes", [2, 3])
def test_padding_changes_neither_loss_nor_gradient(classes):
    """To a rounding of 1e-4 of the gradient's largest entry."""
    tight, padded = (_loss_and_gradient(_variables(), _case(classes, 7, padded)) for padded in (False, True))
    np.testing.assert_allclose(padded[0], tight[0], rtol=1e-5)
    one, two = (jax.flatten_util.ravel_pytree(found[1])[0] for found in (tight, padded))
    np.testing.assert_allclose(two, one, atol=1e-4 * np.abs(one).max())


def test_statistics_ignore_padded_images():
    images = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)
    padded = np.concatenate([images, np.full((3, *SHAPE), 50, np.float32)])
    apply = compilation.jit(functools.partial(TRANSLATOR.apply, mutable=["batch_stats"]))
    _, alone = apply(_variables(), images)
    _, masked = apply(_variables(), padded, rows=np.arange(7) < 4)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), masked, alone)


@functools.cache
def _batch(number: int) -> translator_training.Batch:
    rng = np.random.default_rng(number)
    images = rng.normal(size=(2, 6, *SHAPE)).astype(np.float32)
    labels = np.tile(np.repeat(np.eye(3, dtype=np.float32), 2, 0) - np.float32(1 / 3), (2, 1, 1))
    sources = [lanes.padded(images[at], labels[at], ROWS, CLASSES) for at in range(2)]
    source, mask = (lanes.stack(parts) for parts in zip(*sources, strict=True))
    real = rng.normal(size=(2, 12, *SHAPE)).astype(np.float32)
    targets = np.tile(np.pad(np.eye(3)[np.arange(12) % 3] - 1 / 3, ((0, 0), (0, 2))), (2, 1, 1)).astype(np.float32)
    keys = np.asarray(jax.random.key_data(jax.random.split(jax.random.key(number), 2)))
    return translator_training.Batch(source, mask, real, targets, keys)


@functools.cache
def _trainer(**compute) -> translator_training.TranslatorTrainer:
    """Chunks of 5 do not divide 12 real images."""
    devices = jax.devices()[:1]
    return translator_training.TranslatorTrainer(TRANSLATOR, OBJECTIVE, OPTIMISER, devices, chunk=5, **compute)


def test_features_are_kept_as_they_are_asked_for():
    exact, rounded = (
        trainer.cases(_batch(0), WHITENING).draw.features for trainer in (_trainer(), _trainer(cache_dtype="bfloat16"))
    )
    assert (exact.dtype, rounded.dtype) == ("float32", "bfloat16")
    np.testing.assert_allclose(rounded.astype("float32"), exact, rtol=1e-2, atol=1e-2)


def test_features_of_a_case_are_those_of_its_own_network():
    batch = _batch(4)
    cases = _trainer().cases(batch, WHITENING)
    networks = sampling.sampler(NETWORK, SHAPE)(jax.random.wrap_key_data(batch.key))
    for lane in range(2):
        variables = jax.tree.map(lambda leaf, lane=lane: leaf[lane], networks)
        wanted = features(variables, ((batch.images[lane] - 0.1) / 2).astype(np.float32))
        np.testing.assert_allclose(cases.draw.features[lane], wanted, atol=1e-5)


@pytest.mark.slow
def test_batches_are_used_in_turn_and_resumed_where_they_were():
    schedule = Schedule(steps=10, uses=2, group=3)
    assert [schedule.first_batch(step) for step in (0, 5, 6, 9)] == [0, 0, 3, 3]
    trainer, state = _trainer(), _state()
    by_hand = jax.tree.map(jnp.copy, state)
    losses, at = [], {}
    for position, moved, metrics in trainer.run(schedule, map(_batch, range(6)), WHITENING, state):
        losses.append(float(metrics["loss"][0]))
        at[position] = jax.device_get(moved)
    assert list(at) == list(range(1, 11))
    # The first group, by hand: three batches in turn, twice; then the second.
    cases = [trainer.cases(_batch(number), WHITENING) for number in range(6)]
    for number, loss in zip((0, 1, 2, 0, 1, 2, 3, 4, 5, 3), losses, strict=True):
        by_hand, metrics = pretrain(by_hand, cases[number])
        np.testing.assert_allclose(loss, metrics["loss"], rtol=1e-3)
    for middle in (2, 7):
        first = schedule.first_batch(middle)
        *_, (_, resumed, _) = trainer.run(schedule, map(_batch, range(first, 6)), WHITENING, at[middle], middle)
        jax.tree.map(np.testing.assert_array_equal, resumed, at[10])


def _compare_devices(count: int) -> None:
    """Fails unless all devices together take the step that one of them takes.

    Features of the ridge head have a condition number of up to 1 / sqrt(RIDGE) = 1e3, hence gradients are good to 6e-5
    (1e3 times float32's rounding of 6e-8): of the largest entry, as all of them come from one head a subset.
    """
    assert jax.device_count() == count
    several = translator_training.TranslatorTrainer(TRANSLATOR, OBJECTIVE, OPTIMISER, jax.devices(), chunk=5)
    steps = (trainer.run(Schedule(1), [_batch(3)], WHITENING, _state()) for trainer in (_trainer(), several))
    (_, one, parts), (_, two, others) = (jax.device_get(next(step)) for step in steps)
    start = _state().moving.params
    wanted, found = (
        jax.flatten_util.ravel_pytree(jax.tree.map(np.subtract, start, state.moving.params))[0] for state in (one, two)
    )
    print(f"apart: {np.abs(found - wanted).max() / np.abs(wanted).max():.2g}")
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())
    same = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(same, (two.rest, others), (one.rest, parts))


@pytest.mark.slow  # a process with several devices
def test_two_devices_take_the_step_that_one_takes(monkeypatch):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    monkeypatch.setenv("XLA_FLAGS", flags.strip())
    process = multiprocessing.get_context("spawn").Process(target=_compare_devices, args=(2,))
    process.start()
    process.join()
    assert process.exitcode == 0


@pytest.mark.whole
def test_judging_is_the_mean_of_both_losses():
    trainer = _trainer()
    cases = trainer.cases(_batch(1), WHITENING)
    translated, plain = trainer.judge(_variables(), cases)

    @compilation.jit
    def both(variables, case):
        images, _ = TRANSLATOR.apply(variables, case.source.images, rows=case.mask.rows, mutable=["batch_stats"])
        sources = case.source.replace(images=images), case.source
        return jnp.stack([OBJECTIVE(source, case.draw, case.mask)[1]["nfr"] for source in sources])

    wanted = sum(both(_variables(), jax.tree.map(lambda leaf, lane=lane: leaf[lane], cases)) for lane in range(2)) / 2
    np.testing.assert_allclose([translated["nfr"], plain["nfr"]], wanted, rtol=1e-4)


def test_a_scaled_loss_does_not_see_how_bright_images_are():
    """Without biases features grow with images, and heads shrink; the best factor is least squares' own."""
    scaled, case = dataclasses.replace(OBJECTIVE, scaled=True), _case(3, 5, padded=False)
    brighter = case.source.replace(images=np.float32(1.5) * case.source.images)

    @compilation.jit
    def judge(source, draw):
        (value, parts), prediction = scaled(source, draw), OBJECTIVE.predict(source, draw)
        return value, parts, prediction

    (one, parts, prediction), (two, other, _) = (judge(source, case.draw) for source in (case.source, brighter))
    np.testing.assert_allclose(one, two, rtol=1e-4)
    assert abs(parts["nfr"] - other["nfr"]) > 1e-2
    labels = np.asarray(case.draw.labels, np.float64).reshape(-1)
    _, (residual,), *_ = np.linalg.lstsq(np.asarray(prediction, np.float64).reshape(-1, 1), labels, rcond=None)
    np.testing.assert_allclose(parts["nfr_scaled"], residual / len(case.draw.labels), rtol=1e-4)
