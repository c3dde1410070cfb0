"""Our numerics against the official functions of the rivals of Table 2, in float64.

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

from fsdd.core import compilation, descent, losses
from fsdd.core.synthetic_set import SyntheticSet, decode
from fsdd.methods import dd, dm, idc, optimisers, rtp, trajectory_matching, unrolling
from fsdd.methods import gradient_matching as matching
from fsdd.networks.dc_convnet import DCConvNet

pytestmark = pytest.mark.whole
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


def _assert_same_tree(found, golden, prefix):
    wanted, found = traverse_util.flatten_dict(_tree(golden, prefix)), traverse_util.flatten_dict(found)
    assert found.keys() == wanted.keys()
    for name, leaf in wanted.items():
        assert _relative(found[name], leaf) < 1e-10, name


@pytest.mark.parametrize("dispatch", [1, 3], ids="{} steps a dispatch".format)
def test_matched_trajectories_and_their_gradients_are_mtts(golden, network, variables, dispatch):
    recipe = trajectory_matching.Recipe(unrolling.Learning(network), batch=len(golden["x_s"]))
    moving, target = (
        trajectory_matching.Moving(_start(golden), jnp.asarray(golden["mtt/step_size"])),
        _tree(golden, "mtt/target/"),
    )
    given = moving, recipe.learning.begin(variables), 3, jax.random.key(0), (variables["params"], target)
    loss, gradient, last = trajectory_matching.build_unrolling(recipe).value_and_grad(*given, dispatch=dispatch)
    _assert_same_tree(last.moving, golden, "mtt/params_after/")
    assert _relative(losses.squared_distance(variables["params"], target), golden["mtt/distance_start"]) < 1e-10
    assert _relative(losses.squared_distance(last.moving, target), golden["mtt/distance_after"]) < 1e-10
    assert _relative(loss, golden["mtt/loss"]) < 1e-10
    assert _relative(gradient.synthetic.images, golden["mtt/grad_x"]) < 1e-10
    assert _relative(gradient.step_size, golden["mtt/grad_step_size"]) < 1e-10


def _real(golden):
    images = jnp.asarray(golden["x_t"])
    labels = jnp.eye(len(images)).repeat(images.shape[1], 0)
    return images.reshape(-1, *images.shape[2:]), labels


def test_steps_of_their_own_sizes_and_their_gradients_are_dds(golden, network, variables):
    learning, raw = unrolling.Learning(network), jnp.asarray(golden["dd/raw_step_sizes"])
    given = dd.Moving(_start(golden), raw), learning.begin(variables), len(raw), jax.random.key(0), _real(golden)
    loss, gradient, _ = dd.build_unrolling(learning).value_and_grad(*given)
    assert _relative(loss, golden["dd/loss"]) < 1e-10
    assert _relative(gradient.synthetic.images, golden["dd/grad_x"]) < 1e-10
    assert _relative(gradient.raw, golden["dd/grad_raw_step_sizes"]) < 1e-10


@pytest.fixture(scope="module")
def rtp_unrolling(network):
    """RTP's, shared by its two ways of storing a set."""
    recipe = rtp.Recipe(unrolling.Learning(network, momentum=0.9), rate=0.05)
    return recipe, rtp.build_unrolling(recipe)


def _rtp(golden, unrolled, variables, stored):
    recipe, programs = unrolled
    return programs.value_and_grad(stored, recipe.learning.begin(variables), 4, jax.random.key(0), _real(golden))


def test_steps_with_momentum_and_their_gradients_are_rtps(golden, variables, rtp_unrolling):
    loss, gradient, last = _rtp(golden, rtp_unrolling, variables, _start(golden))
    _assert_same_tree(last.moving, golden, "rtp/params_after/")
    assert _relative(loss, golden["rtp/loss"]) < 1e-10
    assert _relative(gradient.images, golden["rtp/grad_x"]) < 1e-10


def test_images_of_bases_and_their_gradients_are_rtps(golden, variables, rtp_unrolling):
    bases, coefficients = (jnp.asarray(golden[f"rtp_basis/{name}"]) for name in ("bases", "coefficients"))
    labels = jnp.eye(len(golden["x_t"])).repeat(len(coefficients) // len(golden["x_t"]), 0)
    stored = rtp.Bases(bases, coefficients, labels)
    assert _relative(stored.recall().images, golden["rtp_basis/images"]) < 1e-10
    loss, gradient, last = _rtp(golden, rtp_unrolling, variables, stored)
    _assert_same_tree(last.moving, golden, "rtp_basis/params_after/")
    assert _relative(loss, golden["rtp_basis/loss"]) < 1e-10
    assert _relative(gradient.bases, golden["rtp_basis/grad_bases"]) < 1e-10
    assert _relative(gradient.coefficients, golden["rtp_basis/grad_coefficients"]) < 1e-10
