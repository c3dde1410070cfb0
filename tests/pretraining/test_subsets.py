"""Random subsets: within Table 1's limits whatever the set, and a function of (seed, index) alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsdd.errors import UserError
from fsdd.pretraining.subsets import Limits, Sampler


def _labels(counts, seed=0):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))


@settings(deadline=None, max_examples=60)
@given(
    counts=st.lists(st.integers(1, 30), min_size=2, max_size=20),
    low=st.integers(2, 15),
    more=st.integers(0, 15),
    images=st.integers(30, 200),
    synthetic=st.integers(30, 80),
    index=st.integers(0, 10_000),
)
def test_subsets_keep_their_limits(counts, low, more, images, synthetic, index):
    labels = _labels(counts)
    try:
        sampler = Sampler(labels, len(counts), Limits(low, low + more, images, synthetic), 3)
    except UserError:
        # M and I_max cannot be below the number of classes, which a small set may not have images for.
        assert len(labels) < min(low + more, len(counts)) or min(images, synthetic) < min(low + more, len(counts))
        return
    subset = sampler.draw(index)
    classes = len(subset.classes)
    assert min(low, len(counts)) <= classes <= min(low + more, len(counts))
    assert np.all(np.diff(subset.classes) > 0)
    assert len(subset.rows) == len(set(subset.rows)) <= images
    assert len(subset.start) <= synthetic
    np.testing.assert_array_equal(labels[subset.rows], subset.classes[subset.labels])
    for position, label in enumerate(subset.classes):
        assert np.sum(subset.labels == position) == min(images // classes, counts[label])
    assert (classes, subset.ipc) == sampler.shape(index)
    np.testing.assert_array_equal(subset.labels[subset.start], np.repeat(np.arange(classes), subset.ipc))


def test_a_subset_is_a_function_of_seed_and_index():
    labels = _labels([20] * 30)
    one, two, other = (Sampler(labels, 30, Limits(5, 20, 100, 40), seed) for seed in (1, 1, 2))
    for _ in range(3):
        two.draw(5)  # what was drawn before does not matter
    for field, value in vars(one.draw(9)).items():
        np.testing.assert_array_equal(value, getattr(two.draw(9), field))
    assert list(one.draw(9).rows) != list(other.draw(9).rows)
    assert list(one.draw(9).rows) != list(one.draw(10).rows)


def test_class_counts_and_sizes_are_uniform():
    sampler = Sampler(_labels([50] * 12), 12, Limits(2, 11, 120, 22), 0)
    shapes = np.array([sampler.shape(index) for index in range(4000)])
    counts = np.bincount(shapes[:, 0], minlength=12)[2:]
    # Ten class counts, 400 subsets each; five standard deviations.
    assert np.all(np.abs(counts - 400) < 5 * np.sqrt(4000 * 0.1 * 0.9))
    ipcs = np.bincount(shapes[shapes[:, 0] == 2][:, 1], minlength=12)[1:]
    assert len(ipcs) == 11 and np.all(np.abs(ipcs - ipcs.sum() / 11) < 5 * np.sqrt(ipcs.sum() / 11))


def test_what_the_set_lacks_is_clipped_and_told():
    sampler = Sampler(_labels([5] * 4), 4, Limits(10, 100, 4000, 1000), 0)
    assert sampler.limits == Limits(4, 4, 20, 20)
    assert len(sampler.notes) == 4
    for note, words in zip(
        sampler.notes,
        (
            ("classes_min is 10", "4"),
            ("classes_max is 100", "4"),
            ("images is 4000", "20"),
            ("synthetic is 1000", "20"),
        ),
        strict=True,
    ):
        assert all(word in note for word in words), note
    assert not Sampler(_labels([5] * 4), 4, Limits(2, 4, 20, 8), 0).notes


@pytest.mark.parametrize(
    ("counts", "limits", "words"),
    [
        ([9], Limits(2, 3, 9, 9), "one class"),
        ([9, 9, 9], Limits(3, 2, 9, 9), "config.subsets.classes_min is 3"),
        ([9, 9, 9], Limits(2, 3, 2, 2), "config.subsets.images is 2"),
        ([9, 9, 9], Limits(2, 3, 9, 2), "config.subsets.synthetic is 2"),
    ],
)
def test_limits_that_cannot_be(counts, limits, words):
    with pytest.raises(UserError, match=words) as caught:
        Sampler(_labels(counts), len(counts), limits, 0)
    assert len(str(caught.value).splitlines()) == 1
