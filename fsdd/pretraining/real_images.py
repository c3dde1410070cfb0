"""Which real images the NFR loss of a cached subset is taken on: those it was distilled on, or others of its classes.

An image of the training split is `drawn` if a subset to train on has it. Training takes drawn images alone, whatever
`pretrain.real` says, so that those which judge, where there are others, have no part in it.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np

from fsdd.errors import UserError
from fsdd.pretraining.cache import Cache
from fsdd.pretraining.store import Cached


@dataclasses.dataclass(frozen=True)
class Pool:
    """Some images of a split.

    Attributes:
        images: uint8 `[n, h, w, c]`, all of the split.
        labels: int32 `[n]`.
        rows: int64 `[m]`, which of them.
    """

    images: np.ndarray
    labels: np.ndarray
    rows: np.ndarray

    def draw(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """So many images and their labels, at random, different ones if there are as many."""
        rows = self.rows[rng.choice(len(self.rows), count, replace=count > len(self.rows))]
        return self.images[rows], self.labels[rows]


def find_drawn(cache: Cache, train: Iterable[int]) -> np.ndarray:
    """Bool `[n]`: the images of the training split that some of the subsets `train` have."""
    drawn = np.zeros(len(cache.data.train_labels), bool)
    for index in train:
        drawn[cache.sampler.draw(index).rows] = True
    return drawn


def own(cache: Cache, cached: Cached) -> Pool:
    """The images that a subset was distilled on."""
    return Pool(cache.data.train_images, cache.data.train_labels, cached.rows)


def unseen(cache: Cache, cached: Cached, drawn: np.ndarray) -> Pool:
    """Other drawn images of its classes."""
    others = _besides(cache, cached)
    return dataclasses.replace(others, rows=others.rows[drawn[others.rows]])


def untouched(cache: Cache, cached: Cached, drawn: np.ndarray) -> Pool:
    """Images of its classes that nothing learned from: those of the test split, or those that no subset has."""
    data = cache.data
    test = np.flatnonzero(np.isin(data.test_labels, cached.classes))
    if len(test):
        return Pool(data.test_images, data.test_labels, test)
    others = _besides(cache, cached)
    return dataclasses.replace(others, rows=others.rows[~drawn[others.rows]])


def judging(cache: Cache, cached: Cached, drawn: np.ndarray) -> tuple[Pool, bool]:
    """What judges a subset, and whether nothing learned from it: else what the subset itself did not see, if any."""
    best = untouched(cache, cached, drawn)
    if len(best.rows):
        return best, True
    others = _besides(cache, cached)
    return others if len(others.rows) else own(cache, cached), False


def _besides(cache: Cache, cached: Cached) -> Pool:
    """All images of its classes in the training split but its own."""
    free = np.ones(len(cache.data.train_labels), bool)
    free[cached.rows] = False
    rows = cache.sampler.of_classes(cached.classes)
    return Pool(cache.data.train_images, cache.data.train_labels, rows[free[rows]])


def check_unseen(cache: Cache, train: Iterable[int], drawn: np.ndarray) -> None:
    """Check that each of the subsets `train` leaves drawn images of each of its classes to others.

    Raises:
        UserError: one has all of a class.
    """
    available = np.bincount(cache.data.train_labels[drawn], minlength=cache.data.num_classes)
    for index in train:
        for label, taken in cache.sampler.count_images(index).items():
            if taken == available[label]:
                raise UserError(
                    f"config.pretrain.real is 'unseen', but subset {index} has all images of "
                    f"{cache.data.class_names[label]} that any subset has; allowed: 'own', a larger "
                    "config.subsets.count, or a smaller config.subsets.images"
                )
