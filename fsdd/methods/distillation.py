"""S moves: `1 Net`, `Refine` and `Baseline` are this on different streams (Alg. 2, lines 6-10)."""

import optax

from fsdd.core import descent
from fsdd.methods.nfr import Objective
from fsdd.methods.streams import Draw


def step(
    state: descent.State, draw: Draw, *, objective: Objective, optimiser: optax.GradientTransformation
) -> tuple[descent.State, descent.Metrics]:
    """One update of images and labels on one draw of a stream; what moves is a `SyntheticSet`."""

    def loss(synthetic, rest):
        value, parts = objective(synthetic, draw)
        return value, (rest, parts)

    return descent.update(state, loss, optimiser)
