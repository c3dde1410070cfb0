"""S moves: `1 Net`, `Refine` and `Baseline` are this on different streams (Alg. 2, lines 6-10)."""

from collections.abc import Sequence

import optax

from fsdd.core import descent
from fsdd.methods.nfr import Objective
from fsdd.methods.streams import Draw


def step(
    state: descent.State,
    draws: Sequence[Draw],
    *,
    objective: Objective,
    optimiser: optax.GradientTransformation,
    axis: str | None = None,
) -> tuple[descent.State, descent.Metrics]:
    """One update of images and labels on the draws of a step of a stream; what moves is a `SyntheticSet`.

    With `axis`, draws are spread over that axis of a mesh, and the mean is over all of it.
    """

    def loss(synthetic, rest):
        value, parts = descent.average([objective(synthetic, draw) for draw in draws])
        return value, (rest, parts)

    return descent.update(state, loss, optimiser, axis)
