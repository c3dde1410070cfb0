"""AlexNet, VGG11 and ResNet18: sizes by hand, forward passes in plain NumPy, norms and initialisations."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import sum_tolerance

from fsdd.core import compilation
from fsdd.networks import architectures, convolutions
from fsdd.networks.alexnet import AlexNet
from fsdd.networks.convnet import ConvNet
from fsdd.networks.dc_convnet import DCConvNet
from fsdd.networks.layers import Output
from fsdd.networks.resnet import ResNet18
from fsdd.networks.vgg import VGG11

CROSS = ("alexnet", "vgg11", "resnet18")
KEY = jax.random.key(3)
QUICK_KEY = jax.random.key(3, impl="unsafe_rbg")  # the default generator compiles for seconds in every shape


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def shapes(network, image_shape):
    """Variables and output of a network as shapes, at no cost."""
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    variables = jax.eval_shape(network.init, KEY, images)
    return variables, jax.eval_shape(network.apply, variables, images)


def count(tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def random_variables(network, images):
    """Variables of the right shapes, all random: scales, biases and running statistics too. Compiles nothing."""

    def fill(path, leaf):
        values = noise(*leaf.shape, seed=len(jax.tree_util.keystr(path)) + leaf.size)
        if path[-1].key == "kernel":
            return values * math.sqrt(2 / math.prod(leaf.shape[:-1]))
        return np.abs(1 + 0.3 * values) if path[-1].key in ("scale", "var") else 0.1 * values

    return jax.tree_util.tree_map_with_path(fill, shapes(network, images.shape[1:])[0])


# Each number is the sum, over the layer table, of size^2 * in * out + out (no biases in ResNet18's convolutions), of
# two for each normalised channel, and of (features + 1) * classes. VGG11's and ResNet18's with batch norm and ten
# classes, 9,231,114 and 11,173,962, are the counts of the common PyTorch versions for CIFAR.
@pytest.mark.parametrize(
    "architecture, norm, classes, image_shape, parameters",
    [
        ("alexnet", "none", 10, (32, 32, 3), 9_728 + 614_592 + 442_624 + 442_560 + 331_968 + 3_073 * 10),
        # Three convolutions with biases and norms, and 4 * 4 * 128 features: as counted in DC's code.
        ("dc_convnet", "instance", 10, (32, 32, 3), 320_010),
        ("dc_convnet", "instance", 100, (32, 32, 3), 504_420),
        ("alexnet", "batch", 10, (32, 32, 3), 1_872_202 + 2 * (128 + 3 * 192 + 256)),
        ("vgg11", "none", 100, (32, 32, 3), 9_225_610 + 513 * 90),
        ("vgg11", "batch", 10, (32, 32, 3), 9_231_114),
        ("vgg11", "instance", 10, (64, 64, 3), 9_231_114 + 3 * 512 * 10),
        ("resnet18", "batch", 10, (32, 32, 3), 11_173_962),
        ("resnet18", "none", 10, (28, 28, 1), 11_173_962 - 2 * 9 * 64 - 2 * (5 * 64 + 5 * (128 + 256 + 512))),
    ],
)
def test_parameter_counts(architecture, norm, classes, image_shape, parameters):
    variables, _ = shapes(architectures.build(architecture, classes, norm=norm), image_shape)
    assert count(variables["params"]) == parameters


@pytest.mark.parametrize(
    "architecture, image_shape, features",
    [
        ("alexnet", (8, 8, 1), 192),
        ("alexnet", (32, 32, 3), 4 * 4 * 192),
        ("alexnet", (64, 64, 3), 8 * 8 * 192),
        ("vgg11", (8, 8, 1), 512),
        ("vgg11", (32, 32, 3), 512),
        ("vgg11", (64, 64, 3), 4 * 512),
        ("resnet18", (8, 8, 1), 512),
        ("resnet18", (32, 32, 3), 512),
        ("resnet18", (64, 64, 3), 512),
        ("convnet", (32, 32, 3), 8192),
    ],
)
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_output_shapes(architecture, image_shape, features, norm):
    _, output = shapes(architectures.build(architecture, 7, norm=norm), image_shape)
    assert isinstance(output, Output)
    assert output.features.shape == (2, features)
    assert output.logits.shape == (2, 7)


@pytest.mark.parametrize("architecture", CROSS)
def test_small_grey_images_reach_the_logits(architecture):
    images = noise(3, 8, 8, 1)
    network = architectures.build(architecture, 4, width=8)
    output = compilation.jit(network.apply)(random_variables(network, images), images)
    assert np.isfinite(output.logits).all()
    assert np.ptp(output.logits, axis=0).min() > 1e-3


# A forward pass in plain NumPy, from the variables' names.


def numpy_conv(x, parameters, stride=1):
    kernel = np.asarray(parameters["kernel"], np.float64)
    size = len(kernel)
    x = np.pad(x, ((0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)))
    height, width = ((side - size) // stride + 1 for side in x.shape[1:3])
    total = 0
    for row in range(size):
        for column in range(size):
            window = x[:, row::stride, column::stride][:, :height, :width]
            total = total + window @ kernel[row, column]
    return total + np.asarray(parameters.get("bias", 0))


def numpy_norm(x, kind, variables, path, index):
    if kind == "none":
        return x
    name = {"batch": "BatchNorm", "instance": "GroupNorm"}[kind] + f"_{index}"
    parameters, statistics = variables["params"], variables.get("batch_stats", {})
    for part in path:
        parameters, statistics = parameters[part], statistics.get(part, {})
    if kind == "batch":
        mean, variance = np.asarray(statistics[name]["mean"]), np.asarray(statistics[name]["var"])
    else:
        mean, variance = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * parameters[name]["scale"] + parameters[name]["bias"]


def numpy_max_pool(x):
    n, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))


def numpy_plain(variables, images, norm, pools):
    x = images.astype(np.float64)
    for index, pool in enumerate(pools):
        x = numpy_conv(x, variables["params"][f"Conv_{index}"])
        x = np.maximum(numpy_norm(x, norm, variables, (), index), 0)
        x = numpy_max_pool(x) if pool and x.shape[1] > 1 else x
    return x.reshape(len(x), -1)


def numpy_resnet(variables, images, norm):
    x = numpy_conv(images.astype(np.float64), variables["params"]["Conv_0"])
    x = np.maximum(numpy_norm(x, norm, variables, (), 0), 0)
    for index, stride in enumerate([1, 1, 2, 1, 2, 1, 2, 1]):
        path = (f"BasicBlock_{index}",)
        block = variables["params"][path[0]]
        y = np.maximum(numpy_norm(numpy_conv(x, block["Conv_0"], stride), norm, variables, path, 0), 0)
        y = numpy_norm(numpy_conv(y, block["Conv_1"]), norm, variables, path, 1)
        shortcut = stride == 2
        assert ("Conv_2" in block) == shortcut
        x = np.maximum(
            y + (numpy_norm(numpy_conv(x, block["Conv_2"], 2), norm, variables, path, 2) if shortcut else x), 0
        )
    return x.mean((1, 2))


NUMPY = {
    "alexnet": lambda *arguments: numpy_plain(*arguments, pools=(1, 1, 0, 0, 1)),
    "vgg11": lambda *arguments: numpy_plain(*arguments, pools=(1, 1, 0, 1, 0, 1, 0, 1)),
    "resnet18": numpy_resnet,
}


@pytest.mark.parametrize(
    "architecture, side, norm",
    [("alexnet", 15, "none"), ("alexnet", 16, "batch"), ("vgg11", 32, "instance"), ("resnet18", 15, "batch")],
)
def test_forward_agrees_with_numpy(architecture, side, norm):
    images = noise(2, side, side, 3)
    network = architectures.build(architecture, 5, width=4, norm=norm)
    variables = random_variables(network, images)
    output = compilation.jit(network.apply)(variables, images)
    features = NUMPY[architecture](variables, images, norm)
    assert np.abs(features).max() > 1e-2
    np.testing.assert_allclose(output.features, features, rtol=1e-3, atol=1e-4)
    dense = variables["params"]["Dense_0"]
    np.testing.assert_allclose(output.logits, features @ dense["kernel"] + dense["bias"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("architecture", ["vgg11", pytest.param("resnet18", marks=pytest.mark.whole)])
def test_batch_norm_trains_on_the_batch_and_evaluates_on_what_it_saw(architecture):
    images = 3 * noise(6, 16, 16, 3) + 1
    network = architectures.build(architecture, 4, width=4, norm="batch")
    variables = random_variables(network, images)
    trained, moved = compilation.jit(lambda v, x: network.apply(v, x, train=True, mutable=["batch_stats"]))(
        variables, images
    )
    evaluate = compilation.jit(network.apply)
    before = evaluate(variables, images)
    assert np.abs(trained.logits - before.logits).max() > 1e-2

    # One image's result depends on the others only in training.
    alone = evaluate(variables, images[:1])
    np.testing.assert_allclose(alone.logits, before.logits[:1], rtol=1e-4, atol=1e-4)

    first = moved["batch_stats"]["BatchNorm_0"]
    conv = {"kernel": variables["params"]["Conv_0"]["kernel"]}
    if architecture == "vgg11":
        conv["bias"] = variables["params"]["Conv_0"]["bias"]
    activations = numpy_conv(images.astype(np.float64), conv)
    seen = variables["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(
        first["mean"], 0.1 * seen["mean"] + 0.9 * activations.mean((0, 1, 2)), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(first["var"], 0.1 * seen["var"] + 0.9 * activations.var((0, 1, 2)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("architecture", ["vgg11", "resnet18"])
def test_instance_norm_standardises_each_channel_of_each_image(architecture):
    images = noise(2, 16, 16, 3) * np.array([1, 7], np.float32)[:, None, None, None] + 2
    network = architectures.build(architecture, 4, width=4, norm="instance")
    variables = random_variables(network, images)
    _, state = compilation.jit(lambda v, x: network.apply(v, x, capture_intermediates=True))(variables, images)
    normalised = np.asarray(state["intermediates"]["GroupNorm_0"]["__call__"][0])
    parameters = variables["params"]["GroupNorm_0"]
    mean, deviation = normalised.mean((1, 2)), normalised.std((1, 2))
    np.testing.assert_allclose(mean, np.broadcast_to(parameters["bias"], mean.shape), atol=1e-4)
    np.testing.assert_allclose(deviation, np.broadcast_to(parameters["scale"], mean.shape), rtol=1e-3)
    assert "batch_stats" not in variables


@pytest.mark.parametrize(
    "architecture", [pytest.param(name, marks=pytest.mark.whole if name != "alexnet" else ()) for name in CROSS]
)
def test_torch_initialisation_is_uniform_in_one_over_root_fan_in(architecture):
    network = architectures.build(architecture, 10, width=16, initialisation="torch")
    parameters = compilation.jit(network.init)(QUICK_KEY, noise(1, 16, 16, 3))["params"]
    layers = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(parameters):
        layers.setdefault(jax.tree_util.keystr(path[:-1]), {})[path[-1].key] = np.asarray(leaf)
    assert len(layers) == {"alexnet": 6, "vgg11": 9, "resnet18": 21}[architecture]
    for layer in layers.values():
        bound = 1 / math.sqrt(math.prod(layer["kernel"].shape[:-1]))
        for weights in layer.values():
            assert np.abs(weights).max() <= bound
        assert np.abs(layer["kernel"]).max() > 0.95 * bound
        assert np.var(layer["kernel"]) == pytest.approx(bound**2 / 3, rel=0.2)
    biases = [layer["bias"] for layer in layers.values() if "bias" in layer]
    assert len(biases) == (1 if architecture == "resnet18" else len(layers))
    assert all(np.std(bias) > 0 for bias in biases)


def test_lecun_initialisation_has_unit_gain_and_no_biases():
    parameters = compilation.jit(AlexNet(10, width=16).init)(QUICK_KEY, noise(1, 16, 16, 3))["params"]
    for path, leaf in jax.tree_util.tree_leaves_with_path(parameters):
        if path[-1].key == "bias":
            assert not np.any(leaf)
        else:
            assert np.var(leaf) * math.prod(leaf.shape[:-1]) == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize("architecture", CROSS)
def test_bfloat16_keeps_float32_parameters(architecture):
    network = architectures.build(architecture, 3, width=4, dtype=jnp.bfloat16)
    variables, output = shapes(network, (16, 16, 3))
    assert output.logits.dtype == output.features.dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))


def test_registry_builds_what_it_names():
    assert architectures.ARCHITECTURES == ("convnet", "dc_convnet", "alexnet", "vgg11", "resnet18")
    assert architectures.build("dc_convnet", 10, width=32, depth=2, norm="none") == DCConvNet(
        10, 32, 2, "none", "lecun"
    )
    assert architectures.build("convnet", 10) == ConvNet(10)
    assert architectures.build("convnet", 10, width=32, depth=2, norm="batch") == ConvNet(10, 32, 2, "batch")
    assert architectures.build("alexnet", 10) == AlexNet(10, 128)
    assert architectures.build("vgg11", 10, initialisation="torch") == VGG11(10, 64, "none", "torch")
    assert architectures.build("resnet18", 5, width=8, depth=9, dtype=jnp.bfloat16) == ResNet18(
        5, 8, dtype=jnp.bfloat16
    )


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="lenet"):
        architectures.build("lenet", 10)
    with pytest.raises(ValueError, match="layer"):
        shapes(architectures.build("vgg11", 10, norm="layer"), (8, 8, 1))
    with pytest.raises(ValueError, match="xavier"):
        shapes(architectures.build("resnet18", 10, initialisation="xavier"), (8, 8, 1))


def test_small_images_take_the_fast_way_and_the_same_values():
    """The last block of a ConvNet sees 8x8 images as 2x2."""
    network, images = ConvNet(3, width=4, depth=3), noise(2, 8, 8, 1)
    variables = random_variables(network, images)
    features = compilation.jit(network.apply)(variables, images).features
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolutions, "choose", lambda *_: None)  # Flax's own
        usual = compilation.jit(lambda *given: network.apply(*given))(variables, images).features
    # Sums of 9, 36 and 36 products, one after the other.
    np.testing.assert_allclose(usual, features, **sum_tolerance(81, np.abs(features).max()))
    assert str(jax.make_jaxpr(network.apply)(variables, images)).count("conv_general_dilated[") == 2
