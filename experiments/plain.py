"""What a set gives whoever takes plain images of it: 8-bit pixels, hard labels, cross-entropy; and sets made for that.

    python -m experiments.plain --data_dir ~/tensorflow_datasets

`refined` is the set of Table 3's `Refine`, taken from there if it is there; `standardized` is made like it, but without
ZCA, and `plain` also with the labels that it started with (`protocol=plain`). The rest of a row's name says what
networks learn from.
"""

import dataclasses

from experiments import rescored, sweep
from experiments.sweep import Row

_PIXELS, _HARD = {"evaluate.images": "pixels"}, {"evaluate.labels": "hard"}
_ENTROPY = {"evaluate.loss": "cross_entropy"}
_PLAIN = _PIXELS | _HARD | _ENTROPY
_STANDARDIZED = {"whitening.kind": "standardize"}


def _row(name: str, cell: str, fields: dict, after: str | None = None) -> Row:
    """A row on what a cell of Table 3 makes, with some fields changed, from that cell's stages or those of a row."""
    made = rescored.row(cell, "cifar10", 1, "cpu", fields)
    return dataclasses.replace(made, name=name, after=after or f"cpu/{made.name}")


ROWS = [
    _row("random_plain", "random", _PLAIN),
    _row("refined_rounded", "refine", {"evaluate.images": "rounded"}),
    _row("refined_hard", "refine", _HARD),
    _row("refined_hard_entropy", "refine", _HARD | _ENTROPY),
    _row("refined_plain", "refine", _PLAIN),
    _row("standardized", "refine", _STANDARDIZED),
    _row("standardized_pixels", "refine", _STANDARDIZED | _PIXELS, "standardized"),
    _row("standardized_plain", "refine", _STANDARDIZED | _PLAIN, "standardized"),
    _row("plain", "refine", {"protocol": "plain"}),
    _row("plain_pixels_hard", "refine", {"protocol": "plain", "evaluate.loss": "squared"}, "plain"),
]

if __name__ == "__main__":
    sweep.main("plain", ROWS)
