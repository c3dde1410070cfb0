"""A network learns a synthetic set's labels from its images, as in evaluation and in FRePo's pool.

By gradient descent it moves; its dense layer alone is also found in closed form.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from fsdd.core import chunks, descent, krr, losses
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.networks import layers, sampling

# Images that pass a network at once.
CHUNK = 500


def init(variables: sampling.Variables, optimiser: optax.GradientTransformation) -> descent.State:
    """Start from a network's variables: its parameters move, the other collections are the rest."""
    rest = {name: value for name, value in variables.items() if name != "params"}
    return descent.init(variables["params"], optimiser, rest)


def variables(state: descent.State) -> sampling.Variables:
    """The network's variables."""
    return {"params": state.moving, **state.rest}


def fit_head(
    variables: sampling.Variables, synthetic: SyntheticSet, *, network: nn.Module, ridge: float = krr.RIDGE
) -> sampling.Variables:
    """The network with the ridge head that a set has in it (Eq. 2) as its dense layer; all else is as it was.

    Args:
        variables: of the network.
        synthetic: what is fitted, images as networks see them.
        network: the architecture.
        ridge: `krr.ridge_head`'s.
    """
    features = chunks.map_chunks_within(
        lambda rows: sampling.features(network, variables, synthetic.images[rows]), jnp.arange(len(synthetic)), CHUNK
    )
    head = krr.ridge_head(features, synthetic.labels.astype(features.dtype), ridge)
    dense = variables["params"][layers.HEAD]
    fitted = {"kernel": head.astype(dense["kernel"].dtype), "bias": jnp.zeros_like(dense["bias"])}
    return variables | {"params": variables["params"] | {layers.HEAD: fitted}}


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
