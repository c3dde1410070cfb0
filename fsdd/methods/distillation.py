"""S moves: `1 Net`, `Refine` and `Baseline` are this on different streams (Alg. 2, lines 6-10)."""

import flax.struct
import jax
import optax

from fsdd.core.synthetic import SyntheticSet
from fsdd.methods.nfr import Objective
from fsdd.methods.streams import Draw


@flax.struct.dataclass
class State:
    """A synthetic set on its way.

    Attributes:
        synthetic: S.
        optimiser: optax's state for its images and labels.
    """

    synthetic: SyntheticSet
    optimiser: optax.OptState


def init(synthetic: SyntheticSet, optimiser: optax.GradientTransformation) -> State:
    """Start from a synthetic set."""
    return State(synthetic, optimiser.init(synthetic))


def step(
    state: State, draw: Draw, *, objective: Objective, optimiser: optax.GradientTransformation
) -> tuple[State, dict[str, jax.Array]]:
    """One update of images and labels on one draw of a stream."""
    (loss, parts), gradient = jax.value_and_grad(objective, has_aux=True)(state.synthetic, draw)
    updates, moments = optimiser.update(gradient, state.optimiser, state.synthetic)
    synthetic = optax.apply_updates(state.synthetic, updates)
    return State(synthetic, moments), {"loss": loss, **parts}
