"""The synthetic set and its start."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsdd.core import synthetic
from fsdd.core.synthetic import SyntheticSet


@given(st.integers(1, 4), st.integers(2, 6), st.integers(0, 100))
def test_start_is_real_distinct_and_sorted(ipc, classes, seed):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(classes), rng.integers(ipc, ipc + 3, classes)))
    chosen = synthetic.choose_real(labels, classes, ipc, seed)
    assert len(set(chosen.tolist())) == classes * ipc
    np.testing.assert_array_equal(labels[chosen], np.repeat(np.arange(classes), ipc))
    np.testing.assert_array_equal(chosen, synthetic.choose_real(labels, classes, ipc, seed))


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_labels_are_centred(classes):
    rows = np.arange(classes)
    real, start = synthetic.centred_labels(rows, classes), synthetic.initial_labels(rows, classes)
    np.testing.assert_allclose(real, np.eye(classes) - 1 / classes, atol=1e-7)
    np.testing.assert_allclose(start * np.sqrt(classes / 10), real, atol=1e-6)


def test_mirror_flips_columns_only():
    images = jnp.arange(2 * 3 * 4 * 1.0).reshape(2, 3, 4, 1)
    both = SyntheticSet(images, jnp.eye(2)).mirrored()
    np.testing.assert_array_equal(both.images[:2], images)
    np.testing.assert_array_equal(both.images[2:], np.asarray(images)[:, :, ::-1])
    np.testing.assert_array_equal(both.labels, np.concatenate([np.eye(2), np.eye(2)]))


def test_different_seeds_start_elsewhere():
    labels = np.repeat(np.arange(5), 50)
    assert (synthetic.choose_real(labels, 5, 3, 0) != synthetic.choose_real(labels, 5, 3, 1)).any()
