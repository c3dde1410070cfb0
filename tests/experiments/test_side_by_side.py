"""Variants that move side by side move as they would alone, and their table pairs them by start."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import records
from experiments.studies import paired_sets, racers, side_by_side, tones
from experiments.studies.racers import Variant
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.methods import nfr, translation
from fsdd.methods.streams import Draw
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet

SHAPE = (8, 8, 3)


@pytest.fixture(scope="module")
def setting():
    """A context as far as racers look at it, the sets of two starts, and two draws."""
    network, rng = ConvNet(3, width=4, depth=1, norm="batch"), np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(30, *SHAPE)), jnp.float32)
    labels = jnp.eye(3)[jnp.arange(30) % 3] - 1 / 3
    data = types.SimpleNamespace(image_shape=SHAPE)
    context = types.SimpleNamespace(objective=nfr.Objective(network), data=data, key=lambda _: jax.random.key(7))
    sources = SyntheticSet(jnp.stack([images[:3], images[3:6]]), jnp.stack([labels[:3], labels[3:6]]))
    drawn = [sampling.sample(network, jax.random.key(seed), SHAPE) for seed in (1, 2)]
    return context, sources, [Draw(one, sampling.features(network, one, images), labels) for one in drawn]


@pytest.mark.slow
def test_each_start_moves_as_a_stage_moves_it_alone(setting):
    context, sources, (draw, _) = setting
    variant = Variant("rising", width=8, rate=1e-2)
    racer = racers.Racer(variant, context, sources, 2, {})
    begun = racers.start_translator(variant, context, {})
    racer.step(draw)
    optimiser = translation.build_optimiser(optax.adam(1e-2), optax.adam(racers.LABEL_RATE))
    settings = {"translator": variant.translator, "objective": context.objective, "optimiser": optimiser}
    step = jax.jit(functools.partial(translation.step, **settings))
    for start, made in enumerate(racer.sets()):
        source = jax.tree.map(lambda leaf, at=start: leaf[at], sources)
        alone, metrics = step(translation.init(begun, (source,), optimiser), (draw,), (source,))
        np.testing.assert_allclose(made.labels, alone.moving.labels[0], atol=1e-5)
        assert float(racer.losses[0][start]) == pytest.approx(float(metrics["nfr"]), rel=1e-4)
        assert not np.allclose(made.labels, source.labels)


@pytest.mark.whole
def test_several_networks_make_one_step_of_their_mean_loss(setting):
    context, sources, draws = setting
    held = Variant("images", "images", rate=1e-2, networks=2)
    racer = racers.Racer(held, context, sources, 2, {})
    racer.step(draws[0])
    assert not racer.losses
    racer.step(draws[1])
    first = jax.tree.map(lambda leaf: leaf[0], sources)
    each = [float(context.objective(first, draw)[1]["nfr"]) for draw in draws]
    assert float(racer.losses[0][0]) == pytest.approx(np.mean(each), rel=1e-4)
    # Adam's first step moves each entry by the rate.
    assert float(jnp.max(jnp.abs(racer.sets()[0].images - first.images))) == pytest.approx(1e-2, rel=1e-3)


@pytest.mark.whole
def test_labels_that_are_held_stay(setting):
    context, sources, (draw, _) = setting
    racer = racers.Racer(Variant("held", width=8, rate=1e-2, labels=False), context, sources, 2, {})
    racer.step(draw)
    np.testing.assert_array_equal(racer.sets()[1].labels, sources.labels[1])


@pytest.mark.whole
def test_a_branch_starts_otherwise_than_the_identity(setting):
    context, sources, _ = setting
    same = racers.Racer(Variant("same", width=8), context, sources, 2, {}).sets()[0]
    np.testing.assert_array_equal(same.images, sources.images[0])
    other = racers.Racer(Variant("branch", "branch", width=8), context, sources, 2, {}).sets()[0]
    assert float(jnp.max(jnp.abs(other.images - sources.images[0]))) > 0.01


def test_differences_are_paired_by_start_over_networks_that_all_have():
    row, base = {"accuracies": [[12.0, 99.0], [23.0]]}, {"accuracies": [[10.0], [20.0, 0.0]]}
    mean, error = paired_sets.paired(row, base)
    assert (mean, error) == (pytest.approx(2.5), pytest.approx(0.5))
    assert paired_sets.paired({}, base) is None


@pytest.mark.parametrize("ipc", [1, 10])
def test_the_table_has_every_row_that_was_measured(ipc):
    stored, table = records.load(f"side_by_side_ipc{ipc}"), side_by_side.markdown(ipc)
    assert all(f"| {row['row']} |" in table for row in stored["rows"])


def test_tones_change_what_they_say():
    images = np.random.default_rng(0).normal(size=(2, 6, 6, 3))
    np.testing.assert_array_equal(tones.TONES["times 1.4"](images), 1.4 * images)
    np.testing.assert_allclose(tones.change_detail(images, 1), images)
    # By hand: a point is blurred to quarters of quarters, at an edge with that edge once more.
    point = np.zeros((1, 4, 4, 1))
    point[0, 0, 1, 0] = 16
    blurred = np.zeros((4, 4))
    blurred[:2, :3] = [[3, 6, 3], [1, 2, 1]]
    np.testing.assert_allclose(tones.change_detail(point, 0)[0, :, :, 0], blurred)
    np.testing.assert_allclose(tones.change_detail(point, 3)[0, :, :, 0], blurred + 3 * (point[0, :, :, 0] - blurred))
    bent = tones.bend(images, 1.4)
    np.testing.assert_array_equal(np.sign(bent), np.sign(images))
    np.testing.assert_allclose(bent.std((1, 2, 3)), images.std((1, 2, 3)))
    ratio = np.abs(bent[0]) / np.abs(images[0]) ** 1.4
    np.testing.assert_allclose(ratio, ratio.flat[0])
    assert np.isfinite(tones.bend(np.zeros((1, 2, 2, 1)), 0.7)).all()
