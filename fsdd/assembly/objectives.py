"""From a resolved config to the NFR loss in its random networks."""

import jax.numpy as jnp

from fsdd.config import Resolved
from fsdd.methods.nfr import Objective
from fsdd.networks import architectures


def build_objective(config: Resolved, num_classes: int, width: int = 0, scaled: bool = False) -> Objective:
    """The NFR loss in the networks of Theta that a config describes, of another width if one is given."""
    network = architectures.build(
        config.network.architecture,
        num_classes,
        width=width or config.network.width,
        depth=config.network.depth,
        norm=config.network.norm,
        initialisation=config.network.initialisation,
        dtype=jnp.dtype(config.network.dtype),
    )
    real_dtype = jnp.dtype(config.compute.real_dtype)
    return Objective(network, **config.objective, scaled=scaled, factor=config.factor, real_dtype=real_dtype)
