"""From labels of any kind to numbers from 0: whole numbers, one-hot rows and texts."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from fsdd.data import classes
from fsdd.errors import UserError

_ALLOWED = "allowed are whole numbers or texts of shape [n], and one-hot rows [n, classes]"


@dataclasses.dataclass(frozen=True)
class Numbered:
    """Labels of the two splits as numbers.

    Attributes:
        train: int32 `[n]`, from 0.
        test: int32 `[m]`.
        class_names: a name for each number.
        notes: how they were made, where they were something else before.
    """

    train: np.ndarray
    test: np.ndarray
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def number(
    where: str, train: np.ndarray, test: np.ndarray | None = None, class_names: Sequence[str] | None = None
) -> Numbered:
    """Number labels from 0.

    Whole numbers from 0 without a gap stay as they are, as do those for which there are `class_names`; others, and
    texts, are numbered in their order. One-hot rows are the place of their one.

    Args:
        where: what to call the training labels in an error.
        train: `[n]`, `[n, 1]` or one-hot `[n, classes]`.
        test: of the same kind, or None.
        class_names: a name for each number, or for each label in order; None to name classes by their labels.

    Raises:
        UserError: labels of another kind, or test labels that are none of the training labels.
    """
    (values, notes), (test_values, _) = (
        _flat(where, train),
        _flat(f"{where}, of the test split", train[:0] if test is None else test),
    )
    if test is not None and len(test_values) and values.dtype.kind != test_values.dtype.kind:
        raise UserError(
            f"{where}: {values.dtype}, but those of the test split are {test_values.dtype}; both must agree"
        )
    names = None if class_names is None else tuple(str(name) for name in class_names)
    if values.dtype.kind == "U":
        order = names if names is not None else classes.ordered(values.tolist())
        notes = [*notes, f"texts are numbered in the order of {'class_names' if names else 'the texts'}"]
        missing = sorted(set(values.tolist()) - set(order))
        if missing:
            raise UserError(f"{where}: {missing[0]!r}; allowed are class_names: {', '.join(order[:10])}")
        return Numbered(_places(where, values, order), _places(where, test_values, order), order, tuple(notes))
    present = np.unique(values)
    if present.size and present[0] < 0 and present.tolist() != [-1, 1]:
        raise UserError(
            f"{where}: label {present[0]}; allowed are 0, 1, ... (or -1 and 1); leave out images without label"
        )
    count = len(present) if names is None else len(names)
    if not present.size or (present[-1] < count and present[0] >= 0):
        fallback = tuple(str(label) for label in range(count))
        return Numbered(values.astype(np.int32), test_values.astype(np.int32), names or fallback, tuple(notes))
    order = tuple(present.tolist())
    if names is not None and len(names) != len(order):
        raise UserError(f"{where}: {len(order)} different labels up to {order[-1]}, but {len(names)} class_names")
    notes = [*notes, f"{_in_words(order)} are numbered 0 to {len(order) - 1}"]
    own = names or tuple(str(label) for label in order)
    return Numbered(_places(where, values, order), _places(where, test_values, order), own, tuple(notes))


def _flat(where: str, labels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Labels as int64 or texts `[n]`, and how they were made."""
    if labels.ndim == 2 and labels.shape[1] == 1:  # the form in which Keras delivers CIFAR's
        labels = labels[:, 0]
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    if labels.ndim == 1 and labels.dtype.kind in "Ub":
        return (labels.astype(np.int64) if labels.dtype == bool else labels), []
    if labels.dtype.kind not in "iufb" or labels.ndim not in (1, 2):
        raise UserError(f"{where}: {labels.dtype} of shape {list(labels.shape)}; {_ALLOWED}")
    if labels.ndim == 2:
        if not (np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()):
            raise UserError(f"{where}: {labels.dtype} of shape {list(labels.shape)}, which is not one-hot; {_ALLOWED}")
        return labels.argmax(axis=1).astype(np.int64), [f"one-hot rows of {labels.shape[1]} are the place of their one"]
    if labels.dtype.kind == "f" and not (np.isfinite(labels).all() and (labels == np.rint(labels)).all()):
        raise UserError(f"{where}: {labels.dtype} with fractions or NaN; {_ALLOWED}")
    if labels.size and abs(labels).max() >= 2.0**62:
        raise UserError(f"{where}: label {abs(labels).max()}; allowed are numbers below 2**62")
    return labels.astype(np.int64), []


def _in_words(order: tuple[int, ...]) -> str:
    if order == tuple(range(order[0], order[-1] + 1)):
        return f"labels {order[0]} to {order[-1]}"
    shown = ", ".join(str(label) for label in order[:5])
    return f"labels {shown}{', ...' if len(order) > 5 else ''}"


def _places(where: str, values: np.ndarray, order: Sequence) -> np.ndarray:
    place = {label: index for index, label in enumerate(order)}
    strange = sorted(set(values.tolist()) - set(place))
    if strange:
        raise UserError(f"{where}: the test split has label {strange[0]!r}, of which there are no training images")
    return np.array([place[label] for label in values.tolist()], np.int32).reshape(values.shape)
