"""Where ridge heads rank sets as trained networks do: the cheap judge beside what it stands for.

`side_by_side` scores many sets both ways: variants of a recipe from several starts, each judged by ridge heads in
random networks and by networks trained on it. Rank correlations of the two say how far the judge may be used in place
of training: among recipes, by means over starts; among recipes at one start; and among the starts of one recipe.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats

from experiments import records

# What a judge says, and the sign by which more is better.
FIGURES = {"accuracy": ("ridge accuracy", 1), "nfr": ("NFR loss", -1), "nfr_scaled": ("NFR loss at the best scale", -1)}
# Of sets whose values were multiplied, which no recipe does.
_MULTIPLIED = "_times_"


def correlate(judged: np.ndarray, trained: np.ndarray) -> dict[str, float]:
    """Spearman's rank correlations of two tables `[recipes, starts]`.

    Returns:
        `sets`, of all entries; `recipes`, of means over starts; `start`, the mean over starts of those among recipes;
        `recipe` and `recipe_error`, the mean over recipes of those among starts and its standard error.
    """

    def rank(one: np.ndarray, two: np.ndarray) -> float:
        return float(scipy.stats.spearmanr(one, two).statistic)

    among_starts = np.array([rank(*pair) for pair in zip(judged, trained, strict=True)])
    return {
        "sets": rank(judged.ravel(), trained.ravel()),
        "recipes": rank(judged.mean(axis=1), trained.mean(axis=1)),
        "start": float(np.mean([rank(*pair) for pair in zip(judged.T, trained.T, strict=True)])),
        "recipe": float(np.nanmean(among_starts)),
        "recipe_error": float(np.nanstd(among_starts, ddof=1) / np.sqrt(np.isfinite(among_starts).sum())),
    }


def tabulate(rows: Sequence[dict[str, Any]], figure: str) -> tuple[np.ndarray, np.ndarray]:
    """What the judge says and what trained networks have, each `[recipes, starts]`, of the rows that have both."""
    scored = [row for row in rows if all(row.get("accuracies", [[]]))]
    sign = FIGURES[figure][1]
    judged = np.array([[sign * one[figure] for one in row["ridge"]] for row in scored])
    return judged, np.array([[np.mean(networks) for networks in row["accuracies"]] for row in scored])


def markdown() -> str:
    """A line for each number of images per class and figure of the judge, with multiplied sets and without."""
    lines = []
    for ipc in (1, 10):
        found = records.load(f"side_by_side_ipc{ipc}")
        if not found:
            continue
        recipes = [row for row in found["rows"] if _MULTIPLIED not in row["row"]]
        for what, rows in (("recipes", recipes), ("and values multiplied", found["rows"])):
            for figure, (title, _) in FIGURES.items():
                judged, trained = tabulate(rows, figure)
                got = correlate(judged, trained)
                within = f"{got['recipe']:.2f} ± {got['recipe_error']:.2f}"
                others = (f"{got[name]:.2f}" for name in ("sets", "recipes", "start"))
                lines.append([ipc, what, judged.size, title, *others, within])
    head = ["IPC", "of", "sets", "judge", "all sets", "recipes, by means", "recipes, at a start", "starts of a recipe"]
    return records.table(head, lines)
