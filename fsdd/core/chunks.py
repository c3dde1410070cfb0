"""Many rows through one program, a chunk at a time, in one compiled shape."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def chunk_starts(count: int, size: int) -> list[int]:
    """Where chunks of `min(size, count)` rows begin that cover `count` rows; the last overlaps the one before it."""
    return [min(start, max(count - size, 0)) for start in range(0, count, size)]


def map_chunks(
    function: Callable[[jax.Array], jax.Array],
    rows: jax.Array,
    size: int,
    watch: Callable[[int], object] | None = None,
) -> jax.Array:
    """Apply a function to rows, a chunk at a time.

    Args:
        function: `[k, ...] -> [k, ...]`, a row of the result depending on its own row alone.
        rows: `[n, ...]`.
        size: k, or n where that is less.
        watch: is told how many rows are done, one chunk late so that the device has work while we wait; only outside
            compiled functions.

    Returns:
        `[n, ...]`.
    """
    count, parts = len(rows), []
    for place, start in enumerate(chunk_starts(count, size)):
        part = function(rows[start : start + size])
        # What the last chunk has in common with the one before it is cut off.
        parts.append(part[place * size - start :] if start < place * size else part)
        if watch is not None and place:
            jax.block_until_ready(parts[-2])
            watch(place * size)
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts)


def map_chunks_within(function: Callable[[jax.Array], jax.Array], rows: jax.Array, size: int) -> jax.Array:
    """`map_chunks` within a compiled function: by a loop, but on CPU, where convolutions are slow in one."""
    return (map_chunks if jax.default_backend() == "cpu" else loop_over_chunks)(function, rows, size)


def loop_over_chunks(function: Callable[[jax.Array], jax.Array], rows: jax.Array, size: int) -> jax.Array:
    """`map_chunks` by a loop: compiled for one chunk, in memory for one."""
    starts = chunk_starts(len(rows), size)
    if len(starts) == 1:
        return function(rows)
    parts = jax.lax.map(lambda start: function(jax.lax.dynamic_slice_in_dim(rows, start, size)), jnp.array(starts))
    done = size * (len(starts) - 1)
    return jnp.concatenate([parts[:-1].reshape(done, *parts.shape[2:]), parts[-1, done - starts[-1] :]])
