"""A 1-D mesh of devices, over which independent lanes are spread: the leading axis of all that belongs to a lane."""

from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXIS = "lanes"


def over(devices: Sequence[jax.Device]) -> Mesh:
    """A mesh of these devices."""
    return Mesh(np.array(devices), (AXIS,))


def lanes(mesh: Mesh) -> NamedSharding:
    """The leading axis spread over the mesh."""
    return NamedSharding(mesh, P(AXIS))


def everywhere(mesh: Mesh) -> NamedSharding:
    """A copy on every device."""
    return NamedSharding(mesh, P())


def side_by_side(mesh: Mesh, tree):
    """Lanes on the device, from the host: each process gives its own, the same number of them."""
    sharding = lanes(mesh)
    return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), tree)


def copied(mesh: Mesh, tree):
    """A copy of a tree on every device; all processes give the same."""
    sharding = everywhere(mesh)
    return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), tree)


def spread(function: Callable, mesh: Mesh, constants: int, reduced: bool = False) -> Callable:
    """Let each device work on its own lanes.

    Args:
        function: of one device's lanes; its last arguments, so many, are the same for all.
        mesh: the devices.
        constants: how many of the arguments are not lanes.
        reduced: whether the results are the same on all devices, by `jax.lax.pmean` over `AXIS`, instead of lanes.
    """

    def mapped(*arguments):
        specs = [P(AXIS)] * (len(arguments) - constants) + [P()] * constants
        out = P() if reduced else P(AXIS)
        # The check for values that differ between devices trips over a jit within vmap (jax 0.10).
        return jax.shard_map(function, mesh=mesh, in_specs=tuple(specs), out_specs=out, check_vma=False)(*arguments)

    return mapped
