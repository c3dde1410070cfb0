"""Classes: in what order they are numbered."""

from collections.abc import Iterable

_FEW = 12


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Different names in the order of their labels: by number if all are whole numbers, else as text."""
    found = set(names)
    if all(name.isascii() and name.isdigit() for name in found):
        return tuple(sorted(found, key=lambda name: (int(name), name)))
    return tuple(sorted(found))


def describe(names: tuple[str, ...]) -> str:
    """The order of classes in a few words."""
    if len(names) <= _FEW:
        return f"{len(names)} classes, in the order of their labels from 0: {', '.join(names)}"
    shown = ", ".join(names[: _FEW - 2])
    return f"{len(names)} classes, in the order of their labels from 0: {shown}, ... {names[-1]}"
