"""The continual-learning protocol: orders, the union of sets, and accuracies over what has arrived."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsdd.core.synthetic_set import SyntheticSet, centred_labels
from fsdd.evaluation import continual, training_recipes
from fsdd.networks.convnet import ConvNet


def _arrival(classes, images):
    labels = centred_labels(np.repeat(np.arange(len(classes)), len(images) // len(classes)), len(classes))
    return continual.Arrival(np.asarray(classes), SyntheticSet(jnp.asarray(images), jnp.asarray(labels)))


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 50))
def test_every_class_arrives_once(steps, each, seed):
    order = continual.class_order(steps * each, steps, seed)
    assert order.shape == (steps, each)
    assert sorted(order.ravel().tolist()) == list(range(steps * each))
    np.testing.assert_array_equal(order, continual.class_order(steps * each, steps, seed))


def test_orders_differ_and_have_to_divide():
    assert (continual.class_order(20, 5, 0) != continual.class_order(20, 5, 1)).any()
    with pytest.raises(ValueError, match="3 steps do not divide 20 classes"):
        continual.class_order(20, 3, 0)


def test_one_hot_labels_stay_what_they_are_among_more_classes():
    images = np.arange(7.0)[:, None, None, None] * np.ones((7, 2, 2, 1))
    parts = [_arrival([4, 9], images[:4]), _arrival([0, 1, 7], images[4:])]
    whole = continual.union(parts)
    np.testing.assert_array_equal(whole.images, images)
    np.testing.assert_allclose(whole.labels, np.eye(5)[[0, 0, 1, 1, 2, 3, 4]] - 1 / 5, atol=1e-6)


def test_with_all_classes_of_the_stream_labels_have_a_column_for_each_from_the_start():
    """As in FRePo's code: one-hot rows minus 1/C, whatever has arrived."""
    parts = [_arrival([4, 9], np.zeros((4, 2, 2, 1))), _arrival([0, 1, 7], np.zeros((3, 2, 2, 1)))]
    for until, columns in ((1, [0, 0, 1, 1]), (2, [0, 0, 1, 1, 2, 3, 4])):
        np.testing.assert_allclose(continual.union(parts[:until], 8).labels, np.eye(8)[columns] - 1 / 8, atol=1e-6)


def test_only_what_has_arrived_is_scored():
    parts = [_arrival([4, 9], np.zeros((2, 2, 2, 1))), _arrival([0], np.zeros((1, 2, 2, 1)))]
    labels = np.array([9, 3, 0, 4, 11, 9])
    rows, columns = continual.seen(labels, parts)
    np.testing.assert_array_equal(rows, [0, 2, 3, 5])
    np.testing.assert_array_equal(columns, [1, 2, 0, 1])
    rows, columns = continual.seen(labels, parts[:1])
    np.testing.assert_array_equal(labels[rows], [9, 4, 9])


@pytest.mark.parametrize(("total", "wanted"), [(None, [2, 4]), (4, [4, 4])])
def test_classes_that_are_easy_to_tell_are_all_told_after_each_step(total, wanted):
    rng = np.random.default_rng(0)
    means = 2 * rng.normal(size=(4, 8, 8, 1))
    order = continual.class_order(4, 2, 0)

    def images(classes):
        return np.float32(means[classes] + 0.1 * rng.normal(size=(len(classes), 8, 8, 1)))

    parts = [_arrival(classes, images(classes)) for classes in order]
    labels = rng.integers(0, 4, 120)
    recipe = training_recipes.Recipe("adam", rate=3e-3, schedule="warmup_cosine", policy="none", steps=120)
    told, outputs = [], []

    def network_of(classes):
        outputs.append(classes)
        return ConvNet(classes, width=8, depth=1)

    found = continual.accuracies(
        parts, network_of, recipe, images(labels), labels, jax.random.key(0), watch=told.append, total=total
    )
    assert (len(found), told, outputs) == (2, [1, 1], wanted)
    assert min(found) > 0.9
