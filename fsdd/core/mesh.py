"""A 1-D mesh of devices, over which independent lanes are spread: the leading axis of all that belongs to a lane."""

from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXIS = "lanes"


def build_mesh(devices: Sequence[jax.Device]) -> Mesh:
    """A mesh of these devices."""
    return Mesh(np.array(devices), (AXIS,))


def lane_sharding(mesh: Mesh) -> NamedSharding:
    """The leading axis spread over the mesh."""
    return NamedSharding(mesh, P(AXIS))


def replicated_sharding(mesh: Mesh) -> NamedSharding:
    """A copy on every device, as a sharding."""
    return NamedSharding(mesh, P())


def distribute(mesh: Mesh, tree):
    """Lanes from the host to the devices; each process gives those of its own devices, the same number of them."""
    sharding = lane_sharding(mesh)
    return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), tree)


def replicate(mesh: Mesh, tree):
    """A copy of a tree on every device; all processes give the same."""
    sharding = replicated_sharding(mesh)
    return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), tree)


def build_local_mesh(lanes: int) -> Mesh | None:
    """A mesh of this process's devices, as many as take so many lanes in equal parts; None where that is one."""
    count = max(count for count in range(1, min(lanes, jax.local_device_count()) + 1) if lanes % count == 0)
    return build_mesh(jax.local_devices()[:count]) if count > 1 else None


def axis(mesh: Mesh | None) -> str | None:
    """What a step averages over, within `map_lanes`."""
    return None if mesh is None else AXIS


def share(mesh: Mesh | None, tree):
    """A copy of a tree on every device of a local mesh: once, instead of before every program."""
    return tree if mesh is None else jax.device_put(tree, replicated_sharding(mesh))


def gather_lanes(tree, mesh: Mesh | None):
    """The lanes of all devices, on each of them; within `map_lanes`."""
    return tree if mesh is None else jax.lax.all_gather(tree, AXIS, tiled=True)


def device_place(mesh: Mesh | None) -> jax.Array | int:
    """Which device of a mesh computes, within `map_lanes`."""
    return 0 if mesh is None else jax.lax.axis_index(AXIS)


def map_lanes(function: Callable, mesh: Mesh | None, lanes: int = 0, reduced: bool = False) -> Callable:
    """Let each device work on its own lanes.

    Args:
        function: of one device's lanes; further arguments are the same for all.
        mesh: the devices; without one there is nothing to spread.
        lanes: how many of the arguments, the first, are lanes.
        reduced: whether the results are the same on all devices, by `jax.lax.pmean` over `AXIS`, instead of lanes.
    """
    if mesh is None:
        return function

    def mapped(*arguments):
        specs = [P(AXIS)] * lanes + [P()] * (len(arguments) - lanes)
        out = P() if reduced else P(AXIS)
        # The check for values that differ between devices trips over a jit within vmap (jax 0.10).
        return jax.shard_map(function, mesh=mesh, in_specs=tuple(specs), out_specs=out, check_vma=False)(*arguments)

    return mapped
