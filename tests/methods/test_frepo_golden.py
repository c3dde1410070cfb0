"""Our numerics against FRePo's own functions: its JAX code (run in float32) and its PyTorch code (run in float64).

`FSDD_GOLDEN` and `FSDD_TORCH_GOLDEN` may name other files of the same layout; widths, classes, steps and image sizes
are read from them.
"""

import functools
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsdd.core import compilation, descent, krr, losses, whitening
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.evaluation import training_recipes
from fsdd.methods import distillation, nfr, optimisers, regression, streams
from fsdd.methods import frepo as frepo_pool
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


def _load(variable: str, default: str) -> dict[str, np.ndarray]:
    with np.load(os.environ.get(variable, GOLDEN / default)) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def frepo():
    return _load("FSDD_GOLDEN", "frepo_golden.npz")


@pytest.fixture(scope="module")
def frepo_torch():
    return _load("FSDD_TORCH_GOLDEN", "frepo_torch_golden.npz")


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def _network(golden: dict[str, np.ndarray], dtype) -> tuple[ConvNet, sampling.Variables]:
    """The network that a golden file describes, and its variables; what the file leaves out is freshly initialised."""
    given = {name.removeprefix("network/"): value for name, value in golden.items() if name.startswith("network/")}
    depth = sum("Conv_" in name and name.endswith("kernel") for name in given)
    classes = golden["y_s"].shape[-1]
    network = ConvNet(classes, width=given["params/Conv_0/kernel"].shape[-1], depth=depth, norm="batch")
    shape = golden["x_s"].shape[1:]
    many = sampling.sampler(network, shape)(jax.random.key(0)[None])
    variables = jax.tree.map(lambda leaf: leaf[0], many)
    used = set()

    def take(path, leaf):
        name = "/".join(key.key for key in path)
        used.add(name)
        return jnp.asarray(given.get(name, leaf), dtype)

    variables = jax.tree.map_with_path(take, variables)
    assert set(given) <= used, f"left out of the network: {set(given) - used}"
    return network, variables


def _relative(found, wanted) -> float:
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    assert found.shape == wanted.shape
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


@functools.cache
def _features(network):
    return compilation.jit(functools.partial(sampling.features, network))


def _draw(network, variables, x_t, y_t, dtype):
    features = _features(network)(variables, jnp.asarray(x_t, dtype))
    return streams.Draw(variables, features, jnp.asarray(y_t, dtype))


def _start(golden, dtype) -> SyntheticSet:
    return SyntheticSet(jnp.asarray(golden["x_s"], dtype), jnp.asarray(golden["y_s"], dtype))


def _recording(optimiser: optax.GradientTransformation) -> optax.GradientTransformation:
    """The same optimiser, whose state begins with the gradient that it was last given."""
    return optax.chain(optax.trace(0.0), optimiser)


def test_features_and_prediction(frepo):
    network, variables = _network(frepo, jnp.float32)
    features_s, features_t = (_features(network)(variables, frepo[name]) for name in ("x_s", "x_t"))
    assert _relative(features_s, frepo["features_s"]) < 1e-3
    assert _relative(features_t, frepo["features_t"]) < 1e-3
    prediction = compilation.jit(krr.predict)(features_t, features_s, jnp.asarray(frepo["y_s"]))
    assert _relative(prediction, frepo["prediction_t"]) < 1e-3


@pytest.mark.parametrize("flip", [False, True])
def test_losses_gradients_and_a_step_of_the_pool(frepo, flip):
    """FRePo's step is the golden gradient for S, then a step of the network on the S that has moved."""
    network, variables = _network(frepo, jnp.float32)
    wanted = {name.split("/")[1]: value for name, value in frepo.items() if name.startswith(f"flip{int(flip)}/")}
    objective = nfr.Objective(network, flip=flip, scale=0.5)
    draw = _draw(network, variables, frepo["x_t"], frepo["y_t"], jnp.float32)
    optimiser, pool, start = _recording(optax.sgd(1.0)), frepo_pool.Pool(size=1), _start(frepo, jnp.float32)
    move = compilation.jit(functools.partial(frepo_pool.move, objective=objective, optimiser=optimiser, pool=pool))
    member = regression.init(variables, pool.optimiser)
    moved, (member,), parts = move(descent.init(start, optimiser), [member], [draw], jax.random.key(0)[None])
    assert abs(parts["loss"] - wanted["loss_total"]) < 1e-4
    assert abs(parts["nfr"] - wanted["loss_nfr"]) < 1e-4
    assert abs(parts["margin"] - wanted["loss_label"]) < 1e-4
    assert abs(parts["accuracy"] - wanted["accuracy"]) < 1e-6
    gradient = moved.optimiser[0].trace
    for found in (
        gradient,
        SyntheticSet(start.images - moved.moving.images, start.labels - moved.moving.labels),
    ):
        assert _relative(found.images, wanted["grad_x"]) < 1e-3
        assert _relative(found.labels, wanted["grad_y"]) < 1e-3
    train = compilation.jit(functools.partial(network.apply, train=True, mutable=["batch_stats"]))
    _, updated = train(variables, moved.moving.images)
    for one, other in zip(*map(jax.tree.leaves, (updated, member.rest)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_whitening(frepo):
    golden = {name.removeprefix("zca/"): value for name, value in frepo.items() if name.startswith("zca/")}
    fitted = whitening.fit(golden["pixels"], "zca", 0.1)
    for name in ("channel_mean", "channel_std", "transform", "inverse"):
        assert _relative(getattr(fitted, name), golden[name]) < 1e-3, name
    whitened = fitted.apply(golden["pixels"])
    assert _relative(whitened, golden["whitened"]) < 1e-3
    # The mean of standardised images is rounding noise around zero in most pixels: compare it to their spread of 1.
    assert np.abs(fitted.mean - golden["mean"]).max() < 1e-3
    assert np.abs(fitted.invert(whitened) - golden["pixels"]).max() < 1e-4


@pytest.mark.parametrize("flip", [pytest.param(False, marks=pytest.mark.slow), True])
def test_torch_first_step_and_steps_of_adam(frepo_torch, float64, flip):
    case, steps = f"flip{int(flip)}", len(frepo_torch["x_t"])
    network, variables = _network(frepo_torch, jnp.float64)
    rate = optimisers.cosine(float(frepo_torch[f"{case}/step0/rate"]), steps)
    optimiser = _recording(optimisers.build("adam", rate))
    objective = nfr.Objective(network, flip=flip, scale=1.0)
    step = compilation.jit(functools.partial(distillation.step, objective=objective, optimiser=optimiser))
    start = _start(frepo_torch, jnp.float64)
    state = descent.init(start, optimiser)
    for index in range(steps):
        assert abs(rate(index) / frepo_torch[f"{case}/step{index}/rate"] - 1) < 1e-6
        draw = _draw(network, variables, frepo_torch["x_t"][index], frepo_torch["y_t"][index], jnp.float64)
        state, parts = step(state, (draw,))
        if index == 0:
            # The file keeps the losses in float32.
            assert abs(parts["nfr"] / frepo_torch[f"{case}/step0/loss_nfr"] - 1) < 1e-6
            assert abs(parts["margin"] - frepo_torch[f"{case}/step0/loss_label"]) < 1e-6
            gradient = state.optimiser[0].trace
            assert _relative(gradient.images, frepo_torch[f"{case}/grad_x"]) < 1e-6
            assert _relative(gradient.labels, frepo_torch[f"{case}/grad_y"]) < 1e-6
            prediction = compilation.jit(objective.predict)(start, draw)
            assert _relative(prediction, frepo_torch[f"{case}/prediction_t"]) < 1e-6
        assert abs(parts["nfr"] / frepo_torch[f"{case}/step{index}/loss_nfr"] - 1) < 1e-4
        assert abs(parts["margin"] - frepo_torch[f"{case}/step{index}/loss_label"]) < 1e-4
    assert _relative(state.moving.images, frepo_torch[f"{case}/x_after"]) < 1e-4
    assert _relative(state.moving.labels, frepo_torch[f"{case}/y_after"]) < 1e-4


def test_torch_evaluation_rates(frepo_torch):
    for name, wanted in frepo_torch.items():
        if name.startswith("evaluation/rate_"):
            schedule = training_recipes.rate_schedule(training_recipes.Recipe(rate=3e-4), len(wanted))
            rates = np.asarray(schedule(np.arange(len(wanted))))
            assert np.abs(rates / wanted - 1).max() < 1e-3


def test_label_margin_of_golden_labels(frepo):
    assert abs(losses.label_margin(frepo["y_s"]) - frepo["flip0/loss_label"]) < 1e-6
