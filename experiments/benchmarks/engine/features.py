"""Real images forward through random networks, and the first layer done in other ways."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.engine.bench import Case, program
from experiments.benchmarks.engine.parts import DTYPES, SHAPE, Parts
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet

_NETWORKS = 4


def cases(parts: Parts) -> list[Case]:
    """Kinds of numbers, chunks, first layers."""
    images, variables = parts.normal(parts.sizes.real, *SHAPE), parts.variables(count=_NETWORKS)
    listed = []
    for dtype in DTYPES:
        for chunk in (parts.sizes.real, parts.sizes.real // 4):
            listed.append(
                _case(parts, f"{dtype}, chunk {chunk}", _chunked(parts.network(dtype), chunk), variables, images)
            )
    for dtype in ("float32", "float16"):
        network = parts.network(dtype)
        for channels in (4, 8):
            name = f"{dtype}, {channels} input channels"
            listed.append(_case(parts, name, _padded(network, channels), variables, images))
        listed.append(_case(parts, f"{dtype}, first layer by patches", _by_patches(network), variables, images))
    return listed


def _case(parts: Parts, name: str, forward: Callable, variables: dict, images: jax.Array) -> Case:
    """One network after another; each one's features take the place of those before."""

    def run(variables, images, scales):
        like = jax.eval_shape(forward, jax.tree.map(lambda leaf: leaf[0], variables), images)
        last = jnp.zeros(like.shape, like.dtype)
        return jax.lax.scan(lambda _, one: (forward(one[0], images * one[1]), ()), last, (variables, scales))[0]

    # Images times one, which the compiler does not know: else what is done to them alone would be done only once.
    scales = jnp.asarray(np.ones(_NETWORKS, np.float32))
    return Case(name, program(run, variables, images, scales), _NETWORKS, len(images) * parts.forward)


def _chunked(network: ConvNet, chunk: int) -> Callable:
    def forward(variables, images):
        if chunk == len(images):
            return sampling.features(network, variables, images)
        some = images.reshape(-1, chunk, *images.shape[1:])
        return jax.lax.map(lambda part: sampling.features(network, variables, part), some).reshape(len(images), -1)

    return forward


def _padded(network: ConvNet, channels: int) -> Callable:
    """Zero channels after the images' three, and zeros for them in the kernel."""

    def forward(variables, images):
        params, more = variables["params"], channels - images.shape[-1]
        kernel = jnp.pad(params["Conv_0"]["kernel"], ((0, 0), (0, 0), (0, more), (0, 0)))
        params = {**params, "Conv_0": {**params["Conv_0"], "kernel": kernel}}
        images = jnp.pad(images, ((0, 0), (0, 0), (0, 0), (0, more)))
        return sampling.features(network, {**variables, "params": params}, images)

    return forward


def _by_patches(network: ConvNet) -> Callable:
    """The first convolution as a product of patches, 27 numbers and 5 zeros each, and the kernel."""

    def first(next_function, arguments, keywords, context):
        if context.module.name != "Conv_0":
            return next_function(*arguments, **keywords)
        (images,), dtype = arguments, network.dtype or jnp.float32
        kernel, bias = (context.module.get_variable("params", name).astype(dtype) for name in ("kernel", "bias"))
        wide, side = jnp.pad(images.astype(dtype), ((0, 0), (1, 1), (1, 1), (0, 0))), images.shape[1]
        patches = [wide[:, i : i + side, j : j + side] for i in range(3) for j in range(3)]
        patches = jnp.pad(jnp.concatenate(patches, -1), ((0, 0), (0, 0), (0, 0), (0, 5)))
        return patches @ jnp.pad(kernel.reshape(27, -1), ((0, 5), (0, 0))) + bias

    def forward(variables, images):
        with nn.intercept_methods(first):
            return sampling.features(network, variables, images)

    return forward
