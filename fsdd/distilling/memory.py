"""What cannot fit into this machine's memory is refused before anything starts.

Counted are the large arrays that a run holds for long: the real images, a network of Theta with its gradient and the
features of the real images that a stage keeps. What passes through once is not, so that a run may still run out.
"""

import functools
import os
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fsdd.assembly import objectives, scorers
from fsdd.config import Resolved
from fsdd.data.real_set import RealSet
from fsdd.errors import UserError
from fsdd.networks import sampling


def check(config: Resolved, data: RealSet) -> None:
    """Check that the arrays of a run fit.

    Raises:
        UserError: one of them does not; it names the field that decides on its size.
    """
    most = _memory()
    if most is None:
        return
    for field, what, size in list_arrays(config, data):
        if size > most:
            section, _, name = field.rpartition(".")
            value = config[section][name] if section else config[field]
            raise UserError(
                f"config.{field} is {value!r}, for which {what} take {_gigabytes(size)}; "
                f"allowed: what fits into the {_gigabytes(most)} of this machine"
            )


class Array(NamedTuple):
    """Large arrays of one kind.

    Attributes:
        field: the config's that decides on their size.
        what: they are.
        bytes: of all of them.
    """

    field: str
    what: str
    bytes: float


def list_arrays(config: Resolved, data: RealSet) -> list[Array]:
    """The large arrays of a run; of `data` only the shape and the numbers of images and classes count."""
    network, shape = objectives.build_objective(config, data.num_classes).network, data.image_shape
    count = len(data.train_labels)
    arrays = [
        Array("image_size", "the real images", 4.0 * count * float(np.prod(shape))),
        # With its gradient.
        Array("network.width", "the variables of a network", 8.0 * _parameters(network, shape)),
    ]
    if config.evaluate.networks:
        scorer, _ = scorers.build_scorer(config, data.num_classes)
        field = "evaluate.width" if config.evaluate.width else "network.width"
        # With its gradient and Adam's moments.
        arrays.append(Array(field, "an evaluation network and its optimiser", 16.0 * _parameters(scorer, shape)))
    feature = float(sampling.feature_size(network, shape)) * jnp.dtype(config.network.cache_dtype).itemsize
    for stage in config.stages:
        if stage == "distill":
            arrays.append(Array("network.width", "the features of the real images", feature * count))
        elif "group" in config[stage]:
            held = config[stage].group * min(config[stage].real_images or count, count)
            arrays.append(Array(f"{stage}.group", "the features of the real images", feature * held))
    return arrays


@functools.cache
def _parameters(network: nn.Module, image_shape: tuple[int, int, int]) -> float:
    variables = jax.eval_shape(lambda key: sampling.sample(network, key, image_shape), jax.random.key(0))
    return sum(float(np.prod(leaf.shape)) for leaf in jax.tree.leaves(variables))


def _memory() -> float | None:
    """Bytes that arrays may take here: the device's, or the host's where it computes; None where neither is known."""
    if stats := jax.devices()[0].memory_stats():
        return float(stats["bytes_limit"])
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):
        return None


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:,.0f} GB"
