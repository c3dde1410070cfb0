"""Accuracies of several networks, as results give them: in percent, with mean and standard deviation."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Accuracies:
    """Test accuracies of networks that were trained alike; an array of them for NumPy.

    Attributes:
        values: float64 `[networks]`, in percent.
        recipe: the fields `evaluate.*` by which they were trained.
    """

    values: np.ndarray
    recipe: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def mean(self) -> float:
        """Their mean, in percent."""
        return float(self.values.mean())

    @property
    def std(self) -> float | None:
        """Their standard deviation, in points of percent; None where there is one network."""
        return float(self.values.std(ddof=1)) if len(self.values) > 1 else None

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[float]:
        return iter(self.values.tolist())

    def __getitem__(self, index: int) -> float:
        return float(self.values[index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype)

    def __str__(self) -> str:
        spread = f" +- {self.std:.2f}" if self.std is not None else ""
        return f"{self.mean:.2f}{spread} %"

    def __repr__(self) -> str:
        return f"<Accuracies {self} of {len(self)} networks: {', '.join(f'{value:.2f}' for value in self)}>"
