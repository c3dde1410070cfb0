"""Streams: who is used, when; the same however it is chunked, dispatched or resumed."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import sum_tolerance

from fsdd import config as configs
from fsdd.assembly import objectives
from fsdd.core import compilation, krr
from fsdd.io.progress import compile_clock
from fsdd.methods import stream_driver, streams
from fsdd.methods.streams import Real, Stream
from fsdd.networks.convnet import ConvNet

NETWORK = ConvNet(3, width=4, depth=2, norm="batch")


def _real(size):
    rng = np.random.default_rng(0)
    labels = np.eye(3, dtype=np.float32)[rng.integers(0, 3, size)]
    return Real(jnp.asarray(rng.normal(size=(size, 8, 8, 1)), jnp.float32), jnp.asarray(labels))


@pytest.fixture(scope="module")
def real():
    return _real(37)


def _keys(seed=0):
    return tuple(jax.random.split(jax.random.key(seed)))


def _remember(count, draws):
    """A step that tells what it saw: each network's fingerprint, and the rows that it was shown; one for all traces."""
    kernels = [draw.variables["params"]["Conv_0"]["kernel"] for draw in draws]
    seen = {
        "network": jnp.stack([kernel.sum() for kernel in kernels]),
        "rows": jnp.stack([draw.features.sum() for draw in draws]),
        "labels": jnp.stack([draw.labels.sum(0) for draw in draws]),
    }
    return count + 1, seen


def _trace(stream, real, start=0, dispatch=1, seed=0):
    """What every step of a stream saw."""
    seen, position = [], start
    taken = stream_driver.run(
        stream, NETWORK, real, _keys(seed), _remember, jnp.int32(start), start=start, dispatch=dispatch
    )
    for position, count, metrics in taken:  # noqa: B007
        seen.append(jax.tree.map(np.asarray, metrics))
    assert position == stream.steps == count
    return jax.tree.map(lambda *parts: np.concatenate(parts), *seen)


def test_balanced_rows_are_of_each_class_alike_and_any_of_its_images():
    classes = np.repeat([0, 1, 3], [900, 90, 10])
    labels = jnp.eye(4)[classes] - 1 / 4
    rows = np.asarray(streams.draw_balanced(jax.random.key(0), labels, 3000))
    # Five standard deviations of a binomial variable of 3,000 draws at 1/3; there is no image of class 2.
    np.testing.assert_allclose(np.bincount(classes[rows], minlength=4), [1000, 1000, 0, 1000], atol=5 * 26)
    assert set(rows[rows >= 990]) == set(range(990, 1000))


@pytest.mark.parametrize(
    "stream",
    [
        Stream(1, 1, batch=600),
        Stream(1, 1, batch=5000),
        Stream(1, 1, real_images=600),
        Stream(1, 1, real_images=600, batch=600),
        Stream(1, 1),
    ],
)
@pytest.mark.parametrize("balanced", [False, True])
def test_a_rare_class_counts_as_much_as_another_only_where_that_is_asked_for(stream, balanced):
    labels = jnp.eye(3)[np.repeat([0, 1, 2], [500, 400, 20])]
    unequal = Real(jnp.asarray(np.random.default_rng(0).normal(size=(920, 8, 8, 1)), jnp.float32), labels)
    stream = dataclasses.replace(stream, balanced=balanced, chunk=920)
    group = streams.fill(stream, NETWORK, unequal, jax.random.key(0))
    (drawn,) = streams.draw(stream, group, jax.random.key(1), jnp.int32(0))
    share = float(drawn.labels[:, 2].mean())
    # 20 of 920 are 0.02; what is drawn twice, first by the network and then by the step, spreads the most.
    assert abs(share - (1 / 3 if balanced else 0.02)) < (0.14 if balanced else 0.02)


@pytest.mark.parametrize(("groups", "group", "uses"), [(1, 1, 3), (3, 1, 1), (2, 2, 3), (3, 3, 2)])
def test_each_network_serves_its_uses_in_turn(groups, group, uses):
    stream = Stream(groups * group, uses, group, real_images=5)
    seen = _trace(stream, _real(9))["network"].reshape(groups, uses, group)
    # In a group the order repeats with every round, and no network is ever met again in another group.
    assert (seen == seen[:, :1]).all()
    assert len(np.unique(seen[:, 0])) == stream.networks


def test_networks_serve_steps_together():
    """Two at once: as one at a time, in pairs; a network of a group is never in two pairs."""
    stream = Stream(8, 3, 4, real_images=5, at_once=2)
    assert (stream.steps, stream.group_steps, stream.rounds) == (12, 6, 2)
    seen = _trace(stream, _real(9))["network"].reshape(2, 3, 4)
    assert (seen == seen[:, :1]).all()
    assert len(np.unique(seen[:, 0])) == stream.networks
    alone = _trace(dataclasses.replace(stream, at_once=1), _real(9))["network"].reshape(2, 3, 4)
    np.testing.assert_array_equal(np.sort(seen), np.sort(alone))


@pytest.mark.parametrize(
    "stream",
    [
        Stream(1, 12, batch=8),
        Stream(6, 2, 3, real_images=10, batch=5),
        pytest.param(Stream(24, 1, 2, real_images=10, batch=5, at_once=2), marks=pytest.mark.whole),
    ],
)
def test_dispatch_chunk_and_resumption_change_nothing(real, stream):
    whole = _trace(stream, real)
    # Each trace adds up its own features, all of a batch.
    close = sum_tolerance(10 * 64)
    for other in (
        _trace(stream, real, dispatch=4),
        # Whole groups in a dispatch draw their own networks.
        _trace(stream, real, dispatch=6),
        _trace(dataclasses.replace(stream, chunk=4), real),
    ):
        jax.tree.map(functools.partial(np.testing.assert_allclose, **close), other, whole)
    for start in (1, 11) if stream.group_steps == 1 or stream.networks == 1 else (5,):
        rest = _trace(stream, real, start=start)
        jax.tree.map(lambda a, b, start=start: np.testing.assert_array_equal(a, b[start:]), rest, whole)
        # Who goes on with more steps a dispatch still ends with the last one, and groups where they end.
        many = _trace(stream, real, start=start, dispatch=4)
        jax.tree.map(lambda a, b, start=start: np.testing.assert_allclose(a, b[start:], **close), many, whole)


@pytest.mark.parametrize("stream", [
    Stream(4, 1, real_images=10, chunk=4), Stream(4, 1, real_images=10, cache_dtype="float16"), Stream(4, 1, 2),
])  # fmt: skip
def test_groups_are_the_same_drawn_within_a_program_or_before_it(real, stream):
    keys = jax.random.split(jax.random.key(0), 2)
    within = compilation.jit(lambda real, key: streams.fill_within(stream, NETWORK, real, key))
    for key in keys:
        ours, theirs = within(real, key), streams.fill(stream, NETWORK, real, key)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        # Drawn by a few operations each, which a compiler may join.
        rounding = functools.partial(np.testing.assert_allclose, rtol=5e-7, atol=5e-7)
        jax.tree.map(rounding, ours.variables, theirs.variables)
        assert ours.features.dtype == theirs.features.dtype
        close = sum_tolerance(10 * 64) if stream.cache_dtype == "float32" else {"rtol": 2e-3, "atol": 1e-4}
        np.testing.assert_allclose(np.float32(ours.features), np.float32(theirs.features), **close)


def test_one_fixed_network_sees_all_of_the_set(real):
    stream = Stream(1, 1)
    group = streams.fill(stream, NETWORK, real, jax.random.key(0))
    variables = jax.tree.map(lambda leaf: leaf[0], group.variables)
    wanted = compilation.jit(NETWORK.apply)(variables, real.images).features
    # A feature is a sum of 4 * 9 products, whose inputs are sums of 9.
    np.testing.assert_allclose(group.features[0], wanted, **sum_tolerance(5 * 9, np.abs(wanted).max()))
    np.testing.assert_array_equal(group.labels[0], real.labels)


def test_minibatches_are_rows_of_the_set_and_vary(real):
    stream = Stream(1, 2, batch=8)
    group = streams.fill(stream, NETWORK, real, jax.random.key(0))
    draw = compilation.jit(streams.draw, static_argnums=0)
    rows = [np.asarray(draw(stream, group, jax.random.key(1), step)[0].features) for step in (0, 1)]
    everything = {row.tobytes() for row in np.asarray(group.features[0])}
    assert all(row.tobytes() in everything for batch in rows for row in batch)
    assert (rows[0] != rows[1]).any()


def test_kept_images_are_drawn_without_replacement(real):
    stream = Stream(2, 1, 2, real_images=36)
    group = streams.fill(stream, NETWORK, real, jax.random.key(0))
    for features in np.asarray(group.features):
        assert len(np.unique(features, axis=0)) == 36


@pytest.mark.parametrize(("stream", "told"), [
    (Stream(1, 1, chunk=10), [(10, 37), (20, 37), (30, 37)]),
    (Stream(2, 1, 2, real_images=8, chunk=5), [(5, 16), (13, 16)]),
    (Stream(2, 1, 2, real_images=8), []),
])  # fmt: skip
def test_who_watches_is_told_what_has_passed_and_changes_nothing(real, stream, told):
    seen = []
    silent = streams.fill(stream, NETWORK, real, jax.random.key(0))
    watched = streams.fill(stream, NETWORK, real, jax.random.key(0), watch=lambda *at: seen.append(at))
    assert seen == told
    jax.tree.map(np.testing.assert_array_equal, watched, silent)


def test_cached_features_may_be_bfloat16(real):
    exact = _trace(Stream(1, 3, batch=8), real)["rows"]
    rounded = _trace(Stream(1, 3, batch=8, cache_dtype="bfloat16"), real)["rows"]
    np.testing.assert_allclose(rounded, exact, rtol=2e-2)
    assert (rounded != exact).any()


def test_networks_may_compute_in_bfloat16(real):
    """Predictions move by a few percent of their size, not more."""
    network = ConvNet(3, width=16, depth=2, norm="batch")
    variables = streams.fixed_network(network, jax.random.key(0), (8, 8, 1))
    predict, predictions = compilation.jit(krr.predict), []
    for dtype in (None, jnp.bfloat16):
        features = streams.feature_program(network.clone(dtype=dtype))(variables, real.images, np.arange(37))
        assert features.dtype == jnp.float32
        predictions.append(np.asarray(predict(features[12:], features[:12], real.labels[:12])))
    distance = np.linalg.norm(predictions[1] - predictions[0]) / np.linalg.norm(predictions[0])
    assert 0 < distance < 0.1


def test_real_images_pass_in_a_type_of_their_own_and_synthetic_ones_do_not(real):
    config = configs.resolve(configs.default())
    assert config.compute.real_dtype == "float32" or jax.default_backend() != "cpu"
    unlocked = configs.default()
    unlocked.update_from_flattened_dict({"network.width": 4, "network.depth": 2, "compute.real_dtype": "float16"})
    objective = objectives.build_objective(configs.resolve(unlocked), 3)
    assert (objective.network.dtype, objective.real_network.dtype) == (jnp.float32, jnp.float16)
    # Drawn as networks always are: in float32, and the same.
    drawn = [streams.fixed_network(one, jax.random.key(0), (8, 8, 1)) for one in (NETWORK, objective.real_network)]
    assert jax.tree.structure(drawn[0]) == jax.tree.structure(drawn[1])
    assert {leaf.dtype for leaf in jax.tree.leaves(drawn[1])} == {np.dtype("float32")}
    rows = np.arange(37)
    exact, rounded = (
        np.asarray(streams.feature_program(network)(drawn[1], real.images, rows))
        for network in (objective.network, objective.real_network)
    )
    # Each of a few sums is rounded once, to 11 bits.
    assert 0 < np.linalg.norm(rounded - exact) < 2**-10 * np.linalg.norm(exact)


def test_a_group_divides_the_networks():
    with pytest.raises(ValueError, match="group of 3 does not divide 4"):
        Stream(4, 1, 3)
    with pytest.raises(ValueError, match="3 networks at once do not divide a group of 4"):
        Stream(4, 1, 4, at_once=3)


def test_compilations_do_not_grow_with_the_number_of_networks(real):
    def compilations(networks):
        before = compile_clock.programs
        _trace(Stream(networks, 2, real_images=10), real)
        return compile_clock.programs - before

    # What draws networks and computes their features is compiled by the first; the step by each kind of stream.
    compilations(2)
    few = compilations(3)
    assert 0 < few == compilations(7)
