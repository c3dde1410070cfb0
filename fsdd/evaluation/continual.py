"""Class-incremental learning from synthetic sets, as pure functions of (sets, class order).

Classes arrive in steps; of each step only its synthetic set is kept. After every step a fresh network is trained on all
sets so far and scored on the test images of all classes so far (Zhao and Bilen, "Dataset Condensation with Distribution
Matching").

FRePo has the same protocol, and knows all classes from the start: images are whitened by those of all, and labels and
networks have a column for each. So it is here with `total`, but for three things. FRePo also distils with all columns,
those of other steps at -1/C, and starts labels at 1/sqrt(C/10) of all C classes; here a step distils over its own. It
trains for 10,000 steps whatever the size of the union; here a `Recipe` says how long. Its class orders are five that it
lists; here any seed gives one.
"""

import dataclasses
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fsdd.core.synthetic_set import SyntheticSet
from fsdd.evaluation import training, training_recipes


@dataclasses.dataclass(frozen=True)
class Arrival:
    """What a step leaves.

    Attributes:
        classes: int `[c]`, the labels that its c columns stand for.
        synthetic: its set, images whitened as all others' are, labels centred over its own classes `[n, c]`.
    """

    classes: np.ndarray
    synthetic: SyntheticSet


def class_order(num_classes: int, steps: int, seed: int) -> np.ndarray:
    """Which classes arrive at which step, int `[steps, num_classes / steps]`: a random order, sorted within a step.

    Raises:
        ValueError: steps do not divide the classes.
    """
    if num_classes % steps:
        raise ValueError(f"{steps} steps do not divide {num_classes} classes")
    return np.sort(np.random.default_rng(seed).permutation(num_classes).reshape(steps, -1), axis=1)


def union(arrivals: Sequence[Arrival], total: int | None = None) -> SyntheticSet:
    """One set of all, labels `[n, K]` over all their classes in the order of arrival, or over `total` of the stream.

    A label that is a one-hot row minus 1/c becomes that one-hot row minus 1/K.
    """
    total = total or sum(len(arrival.classes) for arrival in arrivals)
    labels, first = [], 0
    for arrival in arrivals:
        count = len(arrival.classes)
        after = total - first - count
        labels.append(jnp.pad(arrival.synthetic.labels + 1 / count, ((0, 0), (first, after))) - 1 / total)
        first += count
    images = jnp.concatenate([arrival.synthetic.images for arrival in arrivals])
    return SyntheticSet(images, jnp.concatenate(labels))


def seen(labels: np.ndarray, arrivals: Sequence[Arrival]) -> tuple[np.ndarray, np.ndarray]:
    """Of int labels `[m]` the rows whose classes have arrived, and the columns of `union` that they belong to."""
    order = np.concatenate([arrival.classes for arrival in arrivals])
    rows = np.flatnonzero(np.isin(labels, order))
    column = np.full(max(labels.max(), order.max()) + 1, -1)
    column[order] = np.arange(len(order))
    return rows, column[labels[rows]]


def accuracies(
    arrivals: Sequence[Arrival],
    network_of: Callable[[int], nn.Module],
    recipe: training_recipes.Recipe,
    images: np.ndarray,
    labels: np.ndarray,
    key: jax.Array,
    dispatch: int = 1,
    watch: Callable[[int], object] = lambda _: None,
    total: int | None = None,
) -> list[float]:
    """After each step the accuracy over the classes so far, of a network trained from scratch on all sets so far.

    Args:
        arrivals: in order.
        network_of: the architecture for so many classes.
        recipe: how to train.
        images: test images `[m, h, w, c]`, whitened as the sets are.
        labels: int `[m]`.
        key: determines the networks and their training.
        dispatch: the most steps per dispatch.
        watch: is told of one more step of the stream whenever its network has been scored.
        total: classes of the whole stream, for each of which all networks have an output; None: for those so far.
    """
    scores = []
    for step in range(1, len(arrivals) + 1):
        so_far = arrivals[:step]
        rows, columns = seen(labels, so_far)
        everything = union(so_far, total)
        network = network_of(everything.labels.shape[1])
        keys = jax.random.fold_in(key, step)[None]
        state = training.train(network, recipe, everything, keys, dispatch)
        scores.append(float(training.score(network, training.variables(state), images[rows], columns)[0]))
        watch(1)
    return scores
