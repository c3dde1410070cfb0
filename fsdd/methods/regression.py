"""A network moves: it learns a synthetic set's labels from its images, as in evaluation and in FRePo's pool."""

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
    scale: float = 0.5,
) -> tuple[State, jax.Array]:
    """One update on images `[n, h, w, c]` and labels `[n, classes]`, norms in training; with it the loss before.

    `scale` is the factor of the squared error summed over classes.
    """
    rest = {name: value for name, value in state.variables.items() if name != "params"}

    def loss(params):
        output, updated = network.apply({"params": params, **rest}, images, train=True, mutable=list(rest))
        return scale * losses.squared_error(output.logits, labels), updated

    params = state.variables["params"]
    (value, updated), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    updates, moments = optimiser.update(gradient, state.optimiser, params)
    return State({"params": optax.apply_updates(params, updates), **updated}, moments), value
