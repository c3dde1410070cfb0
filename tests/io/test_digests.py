"""Digests: what changes them, and that they are SHA-256 of bytes."""

import hashlib

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsdd.io import digests

ARRAYS = (np.arange(6, dtype=np.uint8).reshape(2, 3), np.array([1.5, -0.0], np.float32))


def test_arrays_are_digested_as_their_bytes():
    wanted = hashlib.sha256(b"".join(array.tobytes() for array in ARRAYS)).hexdigest()
    assert digests.digest_arrays(ARRAYS) == wanted
    assert digests.digest_arrays(ARRAYS, short=True) == wanted[:16]
    # On the device, transposed in memory or one by one, they are the same arrays.
    assert digests.digest_arrays(map(jnp.asarray, ARRAYS)) == wanted
    assert digests.digest_arrays(np.asfortranarray(array) for array in ARRAYS) == wanted


@given(st.integers(0, 7), st.integers(0, 7))
def test_any_bit_and_the_order_count(byte, bit):
    array = np.arange(8, dtype=np.uint8)
    changed = array.copy()
    changed[byte] ^= 1 << bit
    assert digests.digest_arrays([array]) != digests.digest_arrays([changed])
    assert digests.digest_arrays([array, changed]) != digests.digest_arrays([changed, array])


def test_a_file_is_digested_as_its_bytes(tmp_path):
    content = bytes(range(256)) * 1000
    (tmp_path / "file").write_bytes(content)
    wanted = hashlib.sha256(content).hexdigest()
    assert digests.digest_file(tmp_path / "file") == wanted
    assert digests.digest_file(tmp_path / "file", short=True) == wanted[:16]
    with pytest.raises(FileNotFoundError):
        digests.digest_file(tmp_path / "none")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_the_order_of_keys_does_not_count(value):
    turned = dict(reversed(value.items()))
    assert digests.digest_json(value) == digests.digest_json(turned)
    assert digests.digest_json(value) != digests.digest_json([value])
    assert len(digests.digest_json(value)) == 16


def test_what_json_tells_apart_has_other_digests():
    values = [1, 1.0, "1", [1], True, None, {"a": 1}, {"a": 2}, {"b": 1}, [1, 2], [2, 1]]
    assert len({digests.digest_json(value) for value in values}) == len(values)
    with pytest.raises(TypeError):
        digests.digest_json({"when": object()})
