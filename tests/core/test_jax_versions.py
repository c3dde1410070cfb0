"""Canaries: programs that releases of JAX have got wrong, or that all else rests on, against float64 NumPy.

They run on CPU even where there is a GPU: elsewhere float32 products may be of fewer bits by default.
"""

import jax
import jax.numpy as jnp
import jaxlib.version
import numpy as np
import pytest

from fsdd.core import krr, synthetic_set
from fsdd.methods import nfr, streams
from fsdd.networks import convnet, sampling

CLASSES, SIZE, REAL, WIDTHS = 3, 4, 16, (3, 8, 16)


def jit(function):
    """`jax.jit` as for users, where the tests' own XLA_FLAGS compile less well, in less time."""
    options = {"xla_backend_optimization_level": 3}
    if jaxlib.version.__version_info__ < (0, 11):
        options["xla_cpu_use_fusion_emitters"] = True
    return jax.jit(function, compiler_options=options)


@pytest.fixture(autouse=True)
def cpu():
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        yield


@pytest.mark.parametrize(("dtype", "rows"), [("float32", 32_769), ("float64", 16_385)])
def test_many_matrix_vector_products_followed_by_a_sum(dtype, rows):
    """JAX issue 39103: jaxlib 0.10.2 is 0.2 % off in the last row, and right where there is one row fewer."""
    with jax.enable_x64(dtype == "float64"):
        matrix = jnp.eye(3, dtype=dtype)
        counted = jnp.arange(rows, dtype=dtype)
        x = jnp.stack([counted, jnp.zeros_like(counted), jnp.zeros_like(counted)], axis=1)
        found = jit(jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2)))(x)
    assert found.dtype == dtype
    wanted = np.sum(np.square(np.float64(x) @ np.float64(matrix).T), axis=1)
    # Nothing cancels, so that relative errors add up: three products and their sum round 3 times, which the square
    # doubles and adds 1 to; the sum of three squares adds 2.
    rounded = 2 * 3 + 1 + 2
    np.testing.assert_allclose(found, wanted, rtol=rounded * np.finfo(dtype).eps / 2, atol=0)


def _features(params: dict, images: np.ndarray) -> np.ndarray:
    """`convnet.ConvNet` of two blocks without norms, in NumPy: convolutions as products of patches."""
    x = images
    for block in range(2):
        layer = params[f"Conv_{block}"]
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        x = np.maximum(np.einsum("nhwcij,ijcd->nhwd", patches, layer["kernel"]) + layer["bias"], 0)
        n, h, w, c = x.shape
        x = x.reshape(n, h // 2, 2, w // 2, 2, c).mean(axis=(2, 4))
    return x.reshape(len(x), -1)


def _loss(
    params: dict, images: np.ndarray, labels: np.ndarray, real: np.ndarray, target: np.ndarray
) -> tuple[float, float]:
    """`nfr.Objective` in NumPy: Eq. 2 as it is written, on S and its mirror image, and the label margin.

    Returns:
        The loss, and the condition number of what `krr.factor` factors: the root of the Gram matrix's.
    """
    features = _features(params, np.concatenate([images, images[:, :, ::-1]]))
    gram = features @ features.T
    gram += krr.RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    head = features.T @ np.linalg.solve(gram, np.concatenate([labels, labels]))
    ordered = np.sort(labels, axis=-1)
    margin = np.mean(-np.minimum(ordered[:, -1] - ordered[:, -2], 1 / CLASSES))
    error = np.mean(np.sum(np.square(_features(params, real) @ head - target), axis=-1))
    return error + margin, np.sqrt(np.linalg.cond(gram))


def _network(rng: np.random.Generator) -> dict:
    """Parameters of a random network, float32."""

    def layer(*shape):
        bound = 1 / np.sqrt(np.prod(shape[:-1]))
        sizes = {"kernel": shape, "bias": shape[-1:]}
        return {name: rng.uniform(-bound, bound, size=size).astype(np.float32) for name, size in sizes.items()}

    convolutions = {f"Conv_{block}": layer(3, 3, *WIDTHS[block : block + 2]) for block in range(2)}
    return {"params": {**convolutions, "Dense_0": layer(WIDTHS[-1], CLASSES)}}


def test_loss_and_gradient_of_a_step_in_two_networks_at_once():
    """The smallest of what every run does, from convolutions to the gradient of a ridge head's loss.

    The gradient, of images and labels together, is measured along its own direction, where an error of scale shows in
    full, and along random ones.
    """
    rng = np.random.default_rng(0)
    networks = [_network(rng) for _ in range(2)]
    images, real = (rng.normal(size=(count, SIZE, SIZE, 3)).astype(np.float32) for count in (CLASSES, REAL))
    labels = (np.eye(CLASSES) - 1 / CLASSES + 0.1 * rng.normal(size=(CLASSES, CLASSES))).astype(np.float32)
    target = synthetic_set.centred_labels(rng.integers(CLASSES, size=REAL), CLASSES)
    network = convnet.ConvNet(CLASSES, width=WIDTHS[1], depth=2)
    objective = nfr.Objective(network)

    def loss(moved, variables):
        draw = streams.Draw(variables, sampling.features(network, variables, real), target)
        return objective(moved, draw)[0]

    moved = synthetic_set.SyntheticSet(jnp.asarray(images), jnp.asarray(labels))
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *networks)
    found, gradients = jit(jax.vmap(jax.value_and_grad(loss), (None, 0)))(moved, stacked)
    assert found.dtype == gradients.images.dtype == gradients.labels.dtype == jnp.float32

    # Rounding of sums of n terms adds up like a random walk, to sqrt(n) units; the ridge head magnifies what is in its
    # features by a condition number. Sums are over the patches of each block, and over features.
    lengths = [9 * channels for channels in WIDTHS[:-1]] + [WIDTHS[-1]]
    rounding = np.finfo(np.float32).eps / 2 * np.sum(np.sqrt(lengths))
    h = 1e-5
    for one, variables in enumerate(networks):
        params = jax.tree.map(np.float64, variables["params"])
        exact = [np.float64(values) for values in (images, labels, real, target)]
        wanted, condition = _loss(params, *exact)
        # An error of 0.2 %, as above, must not pass.
        assert rounding * condition < 5e-4
        np.testing.assert_allclose(found[one], wanted, rtol=rounding * condition)
        gradient = [np.float64(part[one]) for part in (gradients.images, gradients.labels)]
        size = np.sqrt(sum(np.vdot(part, part) for part in gradient))
        for along in (gradient, *([rng.normal(size=part.shape) for part in gradient] for _ in range(3))):
            length = np.sqrt(sum(np.vdot(part, part) for part in along))
            step = [h / length * part for part in along]
            up, down = (
                _loss(params, *(at + sign * part for at, part in zip(exact[:2], step, strict=True)), *exact[2:])[0]
                for sign in (1, -1)
            )
            slope = sum(np.vdot(part, other) for part, other in zip(gradient, along, strict=True)) / length
            # Twice: there and back.
            assert abs(slope - (up - down) / (2 * h)) < 2 * rounding * condition * size
