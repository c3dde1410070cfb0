"""The one network in which sets are distilled: as it is drawn, or as the stage `bilevel` learned it."""

import pathlib

import jax

from fsdd.assembly import keys
from fsdd.distilling.context import Context
from fsdd.io import checkpoint, provenance
from fsdd.methods import streams
from fsdd.networks import sampling


def draw_fixed(context: Context) -> sampling.Variables:
    """The one fixed network."""
    key = keys.fixed_network_key(context.config)
    return streams.fixed_network(context.objective.network, key, context.data.image_shape)


def write_learned(folder: pathlib.Path, variables: sampling.Variables) -> None:
    """Store the network that a stage has learned in its folder."""
    checkpoint.save_variables(folder / "network", variables, provenance.summary())


def read_learned(context: Context, ipc: int) -> sampling.Variables:
    """The network that the stage `bilevel` left.

    Raises:
        UserError: it is missing or damaged.
    """
    network, shape = context.objective.network, context.data.image_shape
    template = jax.eval_shape(lambda key: sampling.sample(network, key, shape), jax.random.key(0))
    return checkpoint.load_variables(context.stage_folder("bilevel", ipc) / "network", template, "network")
