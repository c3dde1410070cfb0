"""A network moves: it learns a synthetic set's labels from its images, as in evaluation and in FRePo's pool."""

from collections.abc import Callable

import flax.linen as nn
import jax
import optax

from fsdd.core import descent, losses
from fsdd.networks import sampling


def init(variables: sampling.Variables, optimiser: optax.GradientTransformation) -> descent.State:
    """Start from a network's variables: its parameters move, the other collections are the rest."""
    rest = {name: value for name, value in variables.items() if name != "params"}
    return descent.init(variables["params"], optimiser, rest)


def variables(state: descent.State) -> sampling.Variables:
    """The network's variables."""
    return {"params": state.moving, **state.rest}


def step(
    state: descent.State,
    images: jax.Array,
    labels: jax.Array,
    *,
    network: nn.Module,
    optimiser: optax.GradientTransformation,
    loss: Callable[[jax.Array, jax.Array], jax.Array] = losses.half_squared_error,
) -> tuple[descent.State, descent.Metrics]:
    """One update on images `[n, h, w, c]` and labels `[n, classes]`, norms in training.

    `loss` is that of logits and labels, both `[n, classes]`.
    """

    def loss_of(params, rest):
        output, updated = network.apply({"params": params, **rest}, images, train=True, mutable=list(rest))
        return loss(output.logits, labels), (updated, {})

    return descent.update(state, loss_of, optimiser)
