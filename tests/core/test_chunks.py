"""Chunks: the same as all at once, in one shape, and what a watcher is told."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsdd.core import chunks, compilation
from fsdd.io.progress import compile_clock

sizes = st.tuples(st.integers(1, 40), st.integers(1, 45))
# Each shape compiles what puts the parts together.
few_sizes = st.tuples(st.integers(1, 9), st.integers(1, 11))


@given(sizes)
def test_chunks_cover_all_rows_in_one_shape(given_sizes):
    count, size = given_sizes
    starts, width = chunks.chunk_starts(count, size), min(size, count)
    covered = [row for start in starts for row in range(start, start + width)]
    assert set(covered) == set(range(count))
    assert starts == sorted(set(starts)) and len(starts) == -(-count // size)
    # All but the last are side by side.
    assert starts[:-1] == list(range(0, size * (len(starts) - 1), size))


@settings(max_examples=40)
@given(few_sizes)
def test_the_result_is_that_of_all_rows_at_once(given_sizes):
    count, size = given_sizes
    rows = np.arange(3 * count).reshape(count, 3)
    seen = []

    def function(some):
        seen.append(some.shape)
        return jnp.asarray(10 * some[:, :2])

    np.testing.assert_array_equal(chunks.map_chunks(function, rows, size), 10 * rows[:, :2])
    assert set(seen) == {(min(size, count), 3)} and len(seen) == -(-count // size)


@settings(max_examples=40)
@given(few_sizes)
def test_a_watcher_is_told_of_every_chunk_but_the_last(given_sizes):
    count, size = given_sizes
    told = []
    chunks.map_chunks(jnp.asarray, np.zeros(count), size, told.append)
    assert told == list(range(size, count, size))


def test_who_watches_is_told_when_the_rows_are_done():
    """Of a chunk only after the one behind it has been handed out: the device has work while we wait."""
    events = []

    def function(some):
        events.append("work")
        return jnp.asarray(some)

    chunks.map_chunks(function, np.zeros(10), 4, events.append)
    assert events == ["work", "work", 4, "work", 8]


@pytest.mark.parametrize("size", [4, 6])
def test_whether_the_size_divides_or_not_one_program_serves(size):
    program = compilation.jit(lambda some: 2 * some)
    rows = jnp.arange(12.0 + size)[:12]
    # What puts the parts together is compiled, too, but not the function itself.
    chunks.map_chunks(lambda some: some, rows, size)
    before = compile_clock.programs
    np.testing.assert_array_equal(chunks.map_chunks(program, rows, size), 2 * rows)
    assert compile_clock.programs - before <= 2
    assert program._cache_size() == 1


@pytest.mark.parametrize("size", [3, 5, 10, 20])
@pytest.mark.parametrize("way", [chunks.map_chunks, chunks.loop_over_chunks])
def test_within_a_compiled_function_it_is_unrolled_or_a_loop(way, size):
    rows = np.arange(20.0, dtype=np.float32).reshape(10, 2)
    program = compilation.jit(lambda rows: way(lambda some: some + 1, rows, size))
    np.testing.assert_array_equal(program(rows), rows + 1)
