"""The kinds of value that fields take: what holds, and the words that say it."""

import dataclasses
import math
from collections.abc import Callable, Collection
from typing import Any


@dataclasses.dataclass(frozen=True)
class Values:
    """The values that a field may have.

    Attributes:
        type: the Python type of a value.
        holds: whether a value of any type is one of them.
        words: what follows "allowed:" in an error.
    """

    type: type
    holds: Callable[[Any], bool]
    words: str


def whole(low: int, high: int) -> Values:
    """Whole numbers from `low` to `high`."""
    return Values(int, lambda value: _is_whole(value) and low <= value <= high, f"a whole number from {low} to {high}")


def number(low: float, high: float) -> Values:
    """Numbers from `low` to `high`, both of them among those allowed."""
    return Values(float, lambda value: _is_number(value) and low <= value <= high, f"a number from {low} to {high}")


def above(low: float, high: float) -> Values:
    """Numbers above `low`, up to `high`."""
    words = f"a number above {low}, at most {high}"
    return Values(float, lambda value: _is_number(value) and low < value <= high, words)


def fraction() -> Values:
    """Numbers from 0 up to, and without, 1."""
    return Values(float, lambda value: _is_number(value) and 0 <= value < 1, "0, or a number above 0 and below 1")


def one_of(*choices: Any) -> Values:
    """One of a few values of one type."""

    def holds(value: Any) -> bool:
        return isinstance(value, type(choices[0])) and not _is_stray_bool(value) and value in choices

    return Values(type(choices[0]), holds, f"one of {', '.join(map(str, choices))}")


def truth() -> Values:
    """True and False."""
    return Values(bool, lambda value: isinstance(value, bool), "True or False")


def text(words: str) -> Values:
    """Any text; `words` say what it names."""
    return Values(str, lambda value: isinstance(value, str), words)


def wholes(low: int, high: int, words: str, lengths: Collection[int] | None = None) -> Values:
    """Tuples of different whole numbers from `low` to `high`, or, if lengths are given, of any that many.

    Args:
        low: the least of them.
        high: the largest.
        words: what the error says, without the range.
        lengths: how many there may be; None for any number of different ones.
    """

    def holds(value: Any) -> bool:
        if not isinstance(value, tuple | list) or not all(_is_whole(one) and low <= one <= high for one in value):
            return False
        return len(set(value)) == len(value) if lengths is None else len(value) in lengths

    return Values(tuple, holds, f"{words}, each from {low} to {high}")


def pair(low: float, high: float, words: str) -> Values:
    """Tuples of two different numbers from `low` to `high`, in any order, or of none."""

    def holds(value: Any) -> bool:
        if not isinstance(value, tuple | list) or not all(_is_number(one) and low <= one <= high for one in value):
            return False
        return len(value) == 0 or (len(value) == 2 and value[0] != value[1])

    return Values(tuple, holds, f"{words}, each from {low:g} to {high:g}")


def names(words: str) -> Values:
    """Tuples of texts; `words` say of which."""

    def holds(value: Any) -> bool:
        return isinstance(value, tuple | list) and all(isinstance(one, str) for one in value)

    return Values(tuple, holds, words)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _is_stray_bool(value: Any) -> bool:
    """Python holds True for 1; where numbers are asked for it is none."""
    return isinstance(value, bool)
