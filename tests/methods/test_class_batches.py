"""Batches of real images with so many of each class."""

import jax
import numpy as np

from fsdd.methods import class_batches

LABELS = np.array([0] * 5 + [1] * 3 + [2] * 9)[np.random.default_rng(0).permutation(17)]
DRAW = jax.jit(class_batches.draw, static_argnums=1)


def test_images_are_different_ones_of_their_class_and_all_are_drawn():
    classes, seen = class_batches.rows_by_class(LABELS, 3), set()
    for seed in range(20):
        rows = np.asarray(DRAW(classes, 3, jax.random.key(seed)))
        np.testing.assert_array_equal(LABELS[rows], np.repeat(np.arange(3), 3).reshape(3, 3))
        assert len(set(rows.ravel())) == 9
        seen |= set(rows.ravel())
    assert seen == set(range(17))


def test_a_class_of_fewer_images_gives_all_again_and_again():
    """Also where no class has as many as are asked for."""
    members = [np.flatnonzero(label == LABELS) for label in range(3)]
    for count in (7, 20):
        rows = np.asarray(DRAW(class_batches.rows_by_class(LABELS, 3), count, jax.random.key(1)))
        for own, allowed in zip(rows, members, strict=True):
            times = np.bincount(own, minlength=17)[allowed]
            assert own.shape == (count,) and times.sum() == count
            assert times.max() - times.min() <= 1


def test_one_class_is_drawn_from_alone():
    classes = class_batches.rows_by_class(LABELS, 3)
    rows = np.asarray(DRAW(class_batches.of_class(classes, 2), 4, jax.random.key(0)))
    assert rows.shape == (1, 4)
    assert set(LABELS[rows[0]]) == {2}
