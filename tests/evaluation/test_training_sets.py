"""What networks learn from, against its definition in NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

from fsdd.core import whitening
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.evaluation import training_sets

CLASSES = np.arange(6) // 3


@pytest.fixture(scope="module", params=["zca", "standardize"])
def case(request):
    """A whitening, and a set of two classes whose pixels leave [0, 1]."""
    rng = np.random.default_rng(0)
    fitted = whitening.fit(rng.integers(0, 256, (200, 4, 4, 3), np.uint8), request.param)
    images = fitted.apply(rng.uniform(-0.5, 1.5, (6, 4, 4, 3)).astype(np.float32))
    return fitted, SyntheticSet(jnp.asarray(images), jnp.asarray(rng.normal(size=(6, 2)), jnp.float32))


def test_as_it_was_learned_nothing_changes(case):
    fitted, learned = case
    found = training_sets.prepare(learned, CLASSES, fitted)
    assert training_sets.matching_whitening(fitted) is fitted
    np.testing.assert_array_equal(found.images, learned.images)
    np.testing.assert_array_equal(found.labels, learned.labels)


@pytest.mark.parametrize("images", ["rounded", "pixels"])
def test_images_are_those_of_eight_bits(case, images):
    fitted, learned = case
    found = training_sets.prepare(learned, CLASSES, fitted, images)
    bits = np.clip(fitted.invert(learned.images).astype(np.float64), 0, 1) * 255
    # What is seen, back to pixels by the textbook, is whole numbers from 0 to 255, the nearest to the learned ones.
    seen = np.asarray(found.images, np.float64)
    if images == "rounded" and fitted.kind == "zca":
        seen = (seen.reshape(6, -1) @ np.linalg.inv(fitted.transform.astype(np.float64)) + fitted.mean).reshape(
            bits.shape
        )
    seen = (seen * fitted.channel_std + fitted.channel_mean) * 255
    np.testing.assert_allclose(seen, np.round(seen), atol=1e-2)
    assert np.abs(seen - bits).max() <= 0.51
    assert seen.min() > -0.01 and seen.max() < 255.01
    np.testing.assert_array_equal(found.labels, learned.labels)
    # Test images pass through the same.
    shown = np.round(seen).astype(np.uint8)
    seen_by = training_sets.matching_whitening(fitted, images)
    assert seen_by.kind == ("zca" if images == "rounded" and fitted.kind == "zca" else "standardize")
    np.testing.assert_allclose(seen_by.apply(shown), found.images, atol=1e-4)


def test_hard_labels_are_those_of_the_classes(case):
    fitted, learned = case
    found = training_sets.prepare(learned, CLASSES, fitted, labels="hard")
    np.testing.assert_allclose(found.labels, [[0.5, -0.5]] * 3 + [[-0.5, 0.5]] * 3)
    np.testing.assert_array_equal(found.images, learned.images)
