"""What is kept of a stream of classes: which images are distilled with which. NumPy alone, for any library of streams.

A class is told from others, so it takes two to distil. An experience of several classes is distilled by itself. One
class is distilled against those that are kept already, which stay as they are. The very first class, if it comes alone,
is kept as real images until another one comes, and is distilled with that. A class that comes again is distilled anew.
"""

from collections.abc import Callable

import numpy as np

from fsdd.core.synthetic_set import herd

# Of each class, in the order of first arrival, its images: float32 `[n, h, w, c]` in [0, 1].
Kept = dict[int, np.ndarray]
# Images `[n, h, w, c]` and the class of each, int `[n]` -> the same of what they are distilled to.
Distil = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def renew(kept: Kept, images: np.ndarray, classes: np.ndarray, room: int, distil: Distil) -> Kept:
    """What is kept once an experience has been seen.

    Args:
        kept: what was kept before; it is not changed.
        images: those of the experience, float32 `[n, h, w, c]` in [0, 1].
        classes: int `[n]`.
        room: the most images that are kept of a class.
        distil: makes `room` images of each class that it is given; called once at most.

    Returns:
        Images of all classes so far. Where no class has more than `room`, they are kept as they are: there is nothing
        to distil.
    """
    # A single class could not be distilled so far: its images are real.
    alone = set(kept) if len(kept) == 1 else set()
    renewed = [*alone, *(int(label) for label in np.unique(classes) if label not in alone)]
    new = {label: images[classes == label] for label in renewed}
    pools = {label: np.concatenate([kept[label], new[label]]) if label in kept else new[label] for label in renewed}
    if all(len(pool) <= room for pool in pools.values()):
        return kept | pools
    shown = kept | pools if len(pools) == 1 else pools
    if len(shown) == 1:
        return {label: _typical(pool, room) for label, pool in shown.items()}
    for label in kept.keys() & new.keys():
        # What is kept of a class stands for all that was seen of it: it counts as much as what is new.
        times = max(-(-len(new[label]) // len(kept[label])), 1)
        shown[label] = np.concatenate([kept[label]] * times + [new[label]])
    owners = np.repeat(list(shown), [len(pool) for pool in shown.values()])
    distilled, owners = distil(np.concatenate(list(shown.values())), owners)
    return kept | {label: distilled[owners == label] for label in renewed}


def shorten(kept: Kept, size: int) -> Kept:
    """The first images of each class, as many of each, `size` in all at most."""
    each = size // max(len(kept), 1)
    return {label: images[:each] for label, images in kept.items()} if each else {}


def _typical(images: np.ndarray, count: int) -> np.ndarray:
    """The images whose mean is closest to that of all, chosen one after another."""
    return images[herd(images.reshape(len(images), -1), count)]
