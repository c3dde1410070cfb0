"""Random subsets of the big set Z, on which S' is distilled and cached (Sec. 4.1, Table 1).

A subset is a function of (seed, index) alone, so that any process can make any subset.
"""

import dataclasses

import numpy as np

from fsdd.errors import UserError


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a subset may be, by Table 1.

    Attributes:
        classes_min: C_min.
        classes_max: C_max.
        images: M, the most real images.
        synthetic: I_max, the most synthetic images.
    """

    classes_min: int
    classes_max: int
    images: int
    synthetic: int


@dataclasses.dataclass(frozen=True)
class Subset:
    """A choice of real images, and of those from which the synthetic ones start.

    Attributes:
        index: its number.
        classes: int32 `[c]`, sorted labels of the big set.
        rows: int64 `[n]`, its real images in the big set, class after class, in random order within a class.
        labels: int32 `[n]`, positions in `classes`.
        start: int32 `[s]`, positions in `rows`: the first IPC images of each class.
    """

    index: int
    classes: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    start: np.ndarray

    @property
    def ipc(self) -> int:
        """Synthetic images per class."""
        return len(self.start) // len(self.classes)


class Sampler:
    """Draws the subsets of one big set.

    C is uniform in C_min..C_max, the classes are drawn without replacement; each gives M // C of its images, or all it
    has; IPC is uniform in 1..I_max // C, within what the smallest of them gives.
    """

    def __init__(self, labels: np.ndarray, num_classes: int, limits: Limits, seed: int):
        """Subsets of a set with labels int `[n]`; `notes` says, a line each, which limits it cannot fill.

        Raises:
            UserError: limits that contradict each other, or a set of a single class.
        """
        self._members = [np.flatnonzero(labels == label) for label in range(num_classes)]
        self._seed, self._images, self._shapes = seed, limits.images, {}
        self.limits, self.notes = _clip(limits, len(labels), num_classes)

    def shape(self, index: int) -> tuple[int, int]:
        """Classes and IPC of subset `index`, without drawing its images."""
        if index not in self._shapes:
            _, classes, ipc = self._begin(index)
            self._shapes[index] = len(classes), ipc
        return self._shapes[index]

    def count_images(self, index: int) -> dict[int, int]:
        """How many images subset `index` has of each of its classes, by label, without drawing them."""
        _, classes, _ = self._begin(index)
        most = self._per_class(classes)
        return {int(label): min(len(self._members[label]), most) for label in classes}

    def of_classes(self, classes: np.ndarray) -> np.ndarray:
        """All images of some classes in the big set, int64 `[n]`, class after class."""
        return np.concatenate([self._members[label] for label in classes])

    def draw(self, index: int) -> Subset:
        """Subset `index`."""
        rng, classes, ipc = self._begin(index)
        chosen = [rng.permutation(self._members[label])[: self._per_class(classes)] for label in classes]
        labels = np.repeat(np.arange(len(classes), dtype=np.int32), [len(rows) for rows in chosen])
        firsts = np.searchsorted(labels, np.arange(len(classes)))
        start = (firsts[:, None] + np.arange(ipc)).reshape(-1)
        return Subset(index, classes.astype(np.int32), np.concatenate(chosen), labels, start.astype(np.int32))

    def _per_class(self, classes: np.ndarray) -> int:
        # Of M as it was given: classes may differ in size, and a small set may still fill its larger ones.
        return self._images // len(classes)

    def _begin(self, index: int) -> tuple[np.random.Generator, np.ndarray, int]:
        """The classes and IPC of a subset, and the generator that goes on to its rows."""
        rng = np.random.default_rng([self._seed, index])
        limits = self.limits
        count = rng.integers(limits.classes_min, limits.classes_max, endpoint=True)
        classes = np.sort(rng.permutation(len(self._members))[:count])
        smallest = min(len(self._members[label]) for label in classes)
        most = min(limits.synthetic // count, smallest, self._per_class(classes))
        return rng, classes, int(rng.integers(1, most, endpoint=True))


def _clip(limits: Limits, images: int, num_classes: int) -> tuple[Limits, tuple[str, ...]]:
    """Limits within what a set has, and a line for each that had to shrink."""
    if num_classes < 2:
        raise UserError("the big set has one class; subsets need at least 2")
    if not 2 <= limits.classes_min <= limits.classes_max:
        raise UserError(
            f"config.subsets.classes_min is {limits.classes_min}; allowed: from 2 to config.subsets.classes_max, "
            f"{limits.classes_max}"
        )
    has = {"classes_min": num_classes, "classes_max": num_classes, "images": images}
    clipped = dataclasses.replace(limits, **{name: min(getattr(limits, name), most) for name, most in has.items()})
    clipped = dataclasses.replace(clipped, synthetic=min(clipped.synthetic, clipped.images))
    for name in ("images", "synthetic"):
        if getattr(clipped, name) < clipped.classes_max:
            raise UserError(
                f"config.subsets.{name} is {getattr(limits, name)}; allowed: at least one for each of the "
                f"{clipped.classes_max} classes of config.subsets.classes_max"
            )
    return clipped, tuple(
        f"config.subsets.{field.name} is {getattr(limits, field.name)}, the set has {getattr(clipped, field.name)}: "
        "that many are used"
        for field in dataclasses.fields(limits)
        if getattr(limits, field.name) != getattr(clipped, field.name)
    )
