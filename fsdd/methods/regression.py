"""A network moves: it learns a synthetic set's labels from its images, as in evaluation and in FRePo's pool."""

from collections.abc import Callable

import flax.linen as nn
import flax.struct
import jax
import optax

from fsdd.core import losses
from fsdd.networks import sampling


@flax.struct.dataclass
class State:
    """A network in training: its variables and optax's state."""

    variables: sampling.Variables
    optimiser: optax.OptState


def init(variables: sampling.Variables, optimiser: optax.GradientTransformation) -> State:
    """Start from a network's variables."""
    return State(variables, optimiser.init(variables["params"]))


def step(
    state: State,
    images: jax.Array,
    labels: jax.Array,
    *,
    network: nn.Module,
    optimiser: optax.GradientTransformation,
    loss: Callable[[jax.Array, jax.Array], jax.Array] = losses.half_squared_error,
) -> tuple[State, jax.Array]:
    """One update on images `[n, h, w, c]` and labels `[n, classes]`, norms in training; with it the loss before.

    `loss` is that of logits and labels, both `[n, classes]`.
    """
    rest = {name: value for name, value in state.variables.items() if name != "params"}

    def loss_of(params):
        output, updated = network.apply({"params": params, **rest}, images, train=True, mutable=list(rest))
        return loss(output.logits, labels), updated

    params = state.variables["params"]
    (value, updated), gradient = jax.value_and_grad(loss_of, has_aux=True)(params)
    updates, moments = optimiser.update(gradient, state.optimiser, params)
    return State({"params": optax.apply_updates(params, updates), **updated}, moments), value
