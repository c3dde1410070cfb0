"""Random networks: draws from the distribution Theta, one or many as one stacked pytree."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsdd.core import compilation

Variables = dict


def sample(network: nn.Module, key: jax.Array, image_shape: tuple[int, int, int]) -> Variables:
    """The variables of one random network for images of shape `(h, w, c)`."""
    return network.init(key, jnp.zeros((1, *image_shape)))


def sample_many(network: nn.Module, keys: jax.Array, image_shape: tuple[int, int, int]) -> Variables:
    """The variables of one network a key, `[k, ...]` in every leaf."""
    return jax.vmap(lambda key: sample(network, key, image_shape))(keys)


@functools.cache
def sampler(network: nn.Module, image_shape: tuple[int, int, int]) -> Callable[[jax.Array], Variables]:
    """`sample_many` of keys `[k]`, compiled; one for each architecture and image shape."""
    return compilation.jit(functools.partial(sample_many, network, image_shape=image_shape))


@functools.cache
def feature_size(network: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """d, the number of features of an image of shape `(h, w, c)`; nothing is computed."""

    def one(key):
        return features(network, sample(network, key, image_shape), jnp.zeros((1, *image_shape)))

    return jax.eval_shape(one, jax.random.key(0)).shape[-1]


def features(network: nn.Module, variables: Variables, images: jax.Array) -> jax.Array:
    """Features f_theta(x), `[n, h, w, c]` -> `[n, d]`, with running statistics where there are norms.

    At least float32, whatever the network computes in: what follows them is regression.
    """
    activations = network.apply(variables, images).features
    return activations.astype(jnp.promote_types(activations.dtype, jnp.float32))
