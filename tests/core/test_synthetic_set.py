"""The synthetic set and its start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsdd.core import compilation, synthetic_set
from fsdd.core.synthetic_set import SyntheticSet

# Compiled once for each count; taken op by op, a permutation is many programs.
subsample = compilation.jit(SyntheticSet.subsample, static_argnums=2)


@given(st.integers(1, 4), st.integers(2, 6), st.integers(0, 100))
def test_start_is_real_distinct_and_sorted(ipc, classes, seed):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(classes), rng.integers(ipc, ipc + 3, classes)))
    chosen = synthetic_set.choose_real(labels, classes, ipc, seed)
    assert len(set(chosen.tolist())) == classes * ipc
    np.testing.assert_array_equal(labels[chosen], np.repeat(np.arange(classes), ipc))
    np.testing.assert_array_equal(chosen, synthetic_set.choose_real(labels, classes, ipc, seed))


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_labels_are_centred(classes):
    rows = np.arange(classes)
    real, start = synthetic_set.centred_labels(rows, classes), synthetic_set.initial_labels(rows, classes)
    np.testing.assert_allclose(real, np.eye(classes) - 1 / classes, atol=1e-7)
    np.testing.assert_allclose(start * np.sqrt(classes / 10), real, atol=1e-6)


def test_mirror_flips_columns_only():
    images = jnp.arange(2 * 3 * 4 * 1.0).reshape(2, 3, 4, 1)
    both = SyntheticSet(images, jnp.eye(2)).mirrored()
    np.testing.assert_array_equal(both.images[:2], images)
    np.testing.assert_array_equal(both.images[2:], np.asarray(images)[:, :, ::-1])
    np.testing.assert_array_equal(both.labels, np.concatenate([np.eye(2), np.eye(2)]))


@given(st.sampled_from([2, 5, 6, 9]), st.integers(0, 100))
def test_a_subsample_has_distinct_rows_that_keep_their_labels(count, seed):
    row = np.arange(6, dtype=np.float32)
    made = SyntheticSet(row.reshape(6, 1, 1, 1), 10 + row.reshape(6, 1))
    some = subsample(made, jax.random.key(seed), count)
    rows = np.asarray(some.images).reshape(-1)
    assert len(set(rows.tolist())) == len(some) == min(count, 6)
    np.testing.assert_array_equal(some.labels[:, 0], 10 + rows)


def test_different_seeds_start_elsewhere():
    labels = np.repeat(np.arange(5), 50)
    assert (synthetic_set.choose_real(labels, 5, 3, 0) != synthetic_set.choose_real(labels, 5, 3, 1)).any()


def _bilinear(image, factor):
    """Bilinear enlargement of `[h, w]` by its definition: pixels are squares, the border's values go on outside."""
    h, w = image.shape
    found = np.zeros((h * factor, w * factor))
    for y in range(h * factor):
        for x in range(w * factor):
            at = np.clip((np.array([y, x]) + 0.5) / factor - 0.5, 0, [h - 1, w - 1])
            (y0, x0), (v, u) = np.floor(at).astype(int), at % 1
            y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
            top, bottom = (row[x0] * (1 - u) + row[x1] * u for row in (image[y0], image[y1]))
            found[y, x] = top * (1 - v) + bottom * v
    return found


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_decoding_is_bilinear_and_encoding_averages(factor):
    images = np.random.default_rng(0).normal(size=(2, 4, 8, 3)).astype(np.float32)
    large = np.asarray(synthetic_set.decode(jnp.asarray(images), factor))
    wanted = [[_bilinear(image[..., c], factor) for c in range(3)] for image in images]
    np.testing.assert_allclose(large, np.moveaxis(wanted, 1, -1), atol=1e-5)
    small = np.asarray(synthetic_set.encode(jnp.asarray(images), factor))
    for y in range(4 // factor):
        for x in range(8 // factor):
            square = images[:, y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
            np.testing.assert_allclose(small[:, y, x], square.mean((1, 2)), atol=1e-6)


@pytest.mark.parametrize("factor", [2, 4])
def test_a_decoded_set_keeps_constants_and_labels(factor):
    small = SyntheticSet(jnp.full((3, 2, 2, 1), 0.7), jnp.eye(3))
    large = small.decoded(factor)
    assert large.images.shape == (3, 2 * factor, 2 * factor, 1)
    np.testing.assert_allclose(large.images, 0.7, rtol=1e-6)
    np.testing.assert_allclose(synthetic_set.encode(large.images, factor), small.images, rtol=1e-6)
    np.testing.assert_array_equal(large.labels, small.labels)


@given(st.integers(1, 6), st.integers(6, 12), st.integers(0, 100))
def test_herding_brings_the_mean_closest_each_time(count, n, seed):
    features = np.random.default_rng(seed).normal(size=(n, 5))
    chosen = synthetic_set.herd(features, count).tolist()
    assert len(set(chosen)) == count
    for size in range(1, count + 1):
        before, left = chosen[: size - 1], [row for row in range(n) if row not in chosen[: size - 1]]
        distances = {row: np.linalg.norm(features.mean(0) - features[[*before, row]].mean(0)) for row in left}
        assert distances[chosen[size - 1]] <= min(distances.values()) + 1e-9


@given(st.integers(1, 9), st.integers(1, 20), st.integers(0, 100))
def test_a_rare_class_starts_from_all_it_has_and_changes_no_other(rare, ipc, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat([0, 1, 2], [20, rare, 20]))
    chosen = synthetic_set.choose_real(labels, 3, ipc, seed)
    np.testing.assert_array_equal(labels[chosen], np.repeat(np.arange(3), ipc))
    counts = np.unique(chosen[ipc : 2 * ipc], return_counts=True)[1]
    assert len(counts) == min(rare, ipc) and counts.max() - counts.min() <= 1
    assert len(set(chosen[:ipc].tolist())) == len(set(chosen[2 * ipc :].tolist())) == ipc


@pytest.mark.parametrize("mirror", [False, True])
def test_repeated_images_are_mirrored_and_slightly_perturbed(mirror):
    images = np.random.default_rng(0).standard_normal((6, 5, 4, 3)).astype(np.float32)
    chosen = np.array([2, 0, 4, 1, 4, 1, 4])
    made = np.asarray(synthetic_set.varied(jnp.asarray(images[chosen]), chosen, mirror, 7))
    np.testing.assert_array_equal(made[:4], images[chosen[:4]])  # the first version is the image itself
    for row, turned in {4: mirror, 5: mirror, 6: False}.items():
        plain = images[chosen[row]][:, ::-1] if turned else images[chosen[row]]
        assert 0.05 < (made[row] - plain).std() < 0.2
    again = np.asarray(synthetic_set.varied(jnp.asarray(images[chosen]), chosen, mirror, 7))
    np.testing.assert_array_equal(made, again)
    assert (made != np.asarray(synthetic_set.varied(jnp.asarray(images[chosen]), chosen, mirror, 8))).any()
