"""Which real images teach and judge: of a subset's classes, and not those that they must not be."""

import types

import numpy as np
import pytest

from fsdd.data.real_set import RealSet
from fsdd.errors import UserError
from fsdd.pretraining import real_images
from fsdd.pretraining.subsets import Limits, Sampler

CLASSES, EACH = 6, 40
TRAIN, HELD_OUT = range(8), 8


def _cache(limits: Limits, test: int = 0) -> types.SimpleNamespace:
    """What is asked of a cache; each image is its row, those of the test split from 10,000 on."""
    rng = np.random.default_rng(0)
    labels, test_labels = (np.resize(np.arange(CLASSES), count) for count in (CLASSES * EACH, test))
    rng.shuffle(labels)
    rows, test_rows = np.arange(len(labels)), 10_000 + np.arange(test)
    images, test_images = (one.reshape(-1, 1, 1, 1) for one in (rows, test_rows))
    data = RealSet("six", images, labels, test_images, test_labels, tuple("abcdef"))
    return types.SimpleNamespace(data=data, sampler=Sampler(labels, CLASSES, limits, 0))


@pytest.fixture(scope="module")
def cache():
    return _cache(Limits(2, 4, 60, 8))


@pytest.fixture(scope="module")
def drawn(cache):
    return real_images.find_drawn(cache, TRAIN)


def _are_of_classes(pool: real_images.Pool, subset) -> bool:
    return set(pool.labels[pool.rows]) == set(subset.classes)


def test_drawn_are_the_images_of_subsets_to_train_on(cache, drawn):
    rows = {int(row) for index in TRAIN for row in cache.sampler.draw(index).rows}
    assert set(np.flatnonzero(drawn).tolist()) == rows
    assert 0 < drawn.sum() < len(drawn)


@pytest.mark.parametrize("index", TRAIN)
def test_unseen_images_are_of_its_classes_and_not_its_own(cache, drawn, index):
    subset = cache.sampler.draw(index)
    pool = real_images.unseen(cache, subset, drawn)
    assert not set(pool.rows) & set(subset.rows)
    assert _are_of_classes(pool, subset)
    assert drawn[pool.rows].all()
    assert len(pool.rows) == sum(drawn & np.isin(cache.data.train_labels, subset.classes)) - len(subset.rows)
    own = real_images.own(cache, subset)
    np.testing.assert_array_equal(own.labels[own.rows], subset.classes[subset.labels])


def test_a_pool_gives_its_rows_each_once_if_it_has_as_many(cache, drawn):
    pool = real_images.unseen(cache, cache.sampler.draw(0), drawn)
    for count in (len(pool.rows), 2 * len(pool.rows)):
        images, labels = pool.draw(np.random.default_rng(0), count)
        np.testing.assert_array_equal(labels, cache.data.train_labels[images.reshape(-1)])
        assert set(images.reshape(-1)) <= set(pool.rows)
        assert (len(set(images.reshape(-1))) == len(images)) == (count == len(pool.rows))


@pytest.mark.parametrize("index", [0, HELD_OUT])
def test_what_judges_is_in_no_subset_to_train_on_nor_in_its_own(cache, drawn, index):
    subset = cache.sampler.draw(index)
    pool, is_untouched = real_images.judging(cache, subset, drawn)
    assert is_untouched and len(pool.rows)
    assert not drawn[pool.rows].any() and not set(pool.rows) & set(subset.rows)
    assert set(pool.labels[pool.rows]) <= set(subset.classes)


def test_a_test_split_judges_if_there_is_one(drawn):
    cache = _cache(Limits(2, 4, 60, 8), test=30)
    subset = cache.sampler.draw(HELD_OUT)
    pool, is_untouched = real_images.judging(cache, subset, drawn)
    assert is_untouched and _are_of_classes(pool, subset)
    assert (pool.draw(np.random.default_rng(0), 5)[0] >= 10_000).all()


def test_where_all_is_drawn_its_own_images_judge_last(cache):
    subset, everything = cache.sampler.draw(HELD_OUT), np.ones(CLASSES * EACH, bool)
    others, is_untouched = real_images.judging(cache, subset, everything)
    assert not is_untouched and not set(others.rows) & set(subset.rows) and _are_of_classes(others, subset)
    greedy = _cache(Limits(2, 4, CLASSES * EACH, 8))
    subset = greedy.sampler.draw(HELD_OUT)
    own, is_untouched = real_images.judging(greedy, subset, everything)
    assert not is_untouched
    np.testing.assert_array_equal(own.rows, subset.rows)


def test_a_subset_that_leaves_no_image_of_a_class_is_named(cache, drawn):
    real_images.check_unseen(cache, TRAIN, drawn)
    # A subset of two classes takes all their 40 images.
    greedy = _cache(Limits(2, 2, 80, 8))
    with pytest.raises(
        UserError, match=r"config\.pretrain\.real is 'unseen', but subset 0 has all images of [a-f]"
    ) as caught:
        real_images.check_unseen(greedy, TRAIN, real_images.find_drawn(greedy, TRAIN))
    assert len(str(caught.value).splitlines()) == 1
