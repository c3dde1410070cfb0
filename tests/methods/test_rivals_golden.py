"""Our numerics against the official functions of the rivals of Table 2, in float64: DC's, DSA's, DM's and IDC's so far.

`FSDD_RIVALS_GOLDEN` may name another file of the same layout; widths, classes, batches and image sizes are read from
it. One channel of its network never fires, so that some rows of its gradients are exactly zero.
"""

import functools
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util

from fsdd.core import compilation, descent
from fsdd.core.synthetic_set import SyntheticSet, decode
from fsdd.methods import dm, idc, optimisers
from fsdd.methods import gradient_matching as matching
from fsdd.networks.dc_convnet import DCConvNet

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "rivals_golden.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(os.environ.get("FSDD_RIVALS_GOLDEN", GOLDEN), allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def _tree(golden, prefix):
    given = {tuple(name.removeprefix(prefix).split("/")): jnp.asarray(value) for name, value in golden.items()
             if name.startswith(prefix)}  # fmt: skip
    return traverse_util.unflatten_dict(given)


@pytest.fixture(scope="module")
def network(golden):
    width = golden["network/params/Conv_0/kernel"].shape[-1]
    depth = sum("/Conv_" in name and name.endswith("kernel") for name in golden if name.startswith("network/"))
    return DCConvNet(len(golden["x_t"]), width=width, depth=depth)


@pytest.fixture
def variables(golden):
    return {"params": _tree(golden, "network/params/")}


def _relative(found, wanted) -> float:
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape and found.dtype == np.float64
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


def _start(golden) -> SyntheticSet:
    labels = np.eye(len(golden["x_t"]))[golden["classes_s"]]
    return SyntheticSet(jnp.asarray(golden["x_s"]), jnp.asarray(labels))


def _by_class(golden):
    return golden["x_s"].reshape(len(golden["x_t"]), -1, *golden["x_s"].shape[1:])


def test_the_network_is_dcs(golden, network, variables):
    apply = compilation.jit(network.apply)
    output = apply(variables, golden["x_s"])
    assert _relative(output.features, golden["features_s"]) < 1e-10
    assert _relative(output.logits, golden["logits_s"]) < 1e-10
    real = apply(variables, golden["x_t"].reshape(-1, *golden["x_t"].shape[2:]))
    assert _relative(real.features.reshape(golden["features_t"].shape), golden["features_t"]) < 1e-10


def test_class_gradients_are_dcs(golden, network, variables):
    gradient = compilation.jit(functools.partial(matching.gradient, network))
    for which, images in (("s", _by_class(golden)), ("t", golden["x_t"])):
        wanted = traverse_util.flatten_dict(_tree(golden, f"dc/gradient_{which}/"))
        found = [traverse_util.flatten_dict(gradient(variables, own, label)) for label, own in enumerate(images)]
        assert found[0].keys() == wanted.keys()
        for name, leaf in wanted.items():
            stacked = np.stack([one[name] for one in found])
            if name[0].startswith("Conv") and name[1] == "bias":
                # An instance norm follows: zero but for rounding.
                assert np.abs(stacked).max() < 1e-12
            else:
                assert _relative(stacked, leaf) < 1e-10, name


@pytest.fixture(scope="module")
def programs(network):
    """The term of a class by the distance, compiled once each."""
    recipes = {name: matching.Recipe(network, distance=name) for name in matching.DISTANCES}
    return {name: compilation.jit(functools.partial(matching.match, recipe=recipe)) for name, recipe in recipes.items()}


def _terms(golden, program, variables, images):
    key = jax.random.key(0)
    return [program(variables, own, real, label, key) for label, (own, real)
            in enumerate(zip(images, golden["x_t"], strict=True))]  # fmt: skip


@pytest.mark.parametrize("distance", matching.DISTANCES)
def test_distances_and_their_gradients_are_dcs(golden, variables, programs, distance):
    distances, gradients = zip(*_terms(golden, programs[distance], variables, _by_class(golden)), strict=True)
    assert _relative(np.stack(distances), golden[f"dc/distance/{distance}"]) < 1e-10
    assert _relative(sum(distances), golden[f"dc/loss/{distance}"]) < 1e-10
    assert _relative(np.concatenate(gradients), golden[f"dc/grad_x/{distance}"]) < 1e-10


def test_three_moves_are_dcs(golden, variables, programs):
    optimiser = optimisers.hold_labels(optax.sgd(0.1, momentum=0.5))
    move = compilation.jit(functools.partial(matching.move, optimiser=optimiser))
    state = descent.init(_start(golden), optimiser)
    for _ in range(3):
        images = state.moving.images.reshape(_by_class(golden).shape)
        state, _ = move(state, _terms(golden, programs["ours"], variables, images))
    assert _relative(state.moving.images, golden["dc/x_after"]) < 1e-10
    np.testing.assert_array_equal(state.moving.labels, _start(golden).labels)


def test_mean_features_and_their_gradients_are_dms(golden, network, variables):
    recipe, optimiser = dm.Recipe(network, policy="none", chunk=4), optax.sgd(1.0)
    move = compilation.jit(functools.partial(dm.move, recipe=recipe, optimiser=optimiser))
    start = _start(golden)
    state, metrics = move(descent.init(start, optimiser), jnp.asarray(golden["x_t"]), variables, jax.random.key(0))
    assert _relative(metrics["loss"], golden["dm/loss"]) < 1e-10
    assert _relative(start.images - state.moving.images, golden["dm/grad_x"]) < 1e-10
    features_s = golden["features_s"].reshape(len(golden["x_t"]), -1, golden["features_s"].shape[-1])
    assert _relative(dm.distances(features_s, golden["features_t"]), golden["dm/distance"]) < 1e-10


@pytest.fixture(scope="module")
def idc_programs(network):
    """The same for IDC's distances."""
    recipes = {name: idc.Recipe(network, distance=name, policy="none") for name in idc.DISTANCES}
    return {name: compilation.jit(functools.partial(idc.match, recipe=recipe)) for name, recipe in recipes.items()}


@pytest.mark.parametrize("distance", idc.DISTANCES)
def test_distances_of_kernels_gradients_are_idcs(golden, variables, idc_programs, distance):
    terms = _terms(golden, idc_programs[distance], variables, _by_class(golden))
    distances, gradients = zip(*terms, strict=True)
    assert _relative(np.stack(distances), golden[f"idc/distance/{distance}"]) < 1e-10
    assert _relative(np.concatenate(gradients), golden[f"idc/grad_x/{distance}"]) < 1e-10


def test_two_sweeps_are_idcs(golden, variables, idc_programs):
    """A move after each class, of one optimiser for all."""
    optimiser, shape = optimisers.hold_labels(optax.sgd(0.05, momentum=0.5)), _by_class(golden).shape
    move = compilation.jit(functools.partial(idc.move, optimiser=optimiser))
    state = descent.init(_start(golden), optimiser)
    for label in [*range(shape[0])] * 2:
        images_s, images_t = state.moving.images.reshape(shape)[label], golden["x_t"][label]
        _, gradient = idc_programs["mse"](variables, images_s, images_t, label, jax.random.key(0))
        state = move(state, label, gradient)
    assert _relative(state.moving.images, golden["idc/x_after"]) < 1e-10
    np.testing.assert_array_equal(state.moving.labels, _start(golden).labels)


def test_stored_tiles_are_decoded_as_idc_decodes_images(golden):
    """IDC stores the tiles of an image in its quarters: first those of all images on the upper left, and so on."""
    stored, rows = golden["idc/stored"], golden["idc/decoded_rows"]
    height, width = (side // 2 for side in stored.shape[1:3])
    tiles = [stored[:, i : i + height, j : j + width] for i in (0, height) for j in (0, width)]
    np.testing.assert_array_equal(rows, np.tile(np.arange(len(stored)), 4))
    assert _relative(decode(jnp.asarray(np.concatenate(tiles)), 2), golden["idc/decoded"]) < 1e-10
