"""Architectures by name."""

import flax.linen as nn
import jax.numpy as jnp

from fsdd.networks.alexnet import AlexNet
from fsdd.networks.convnet import ConvNet
from fsdd.networks.dc_convnet import DCConvNet
from fsdd.networks.resnet import ResNet18
from fsdd.networks.vgg import VGG11

_CONVNETS = {"convnet": ConvNet, "dc_convnet": DCConvNet}
_MODULES = {**_CONVNETS, "alexnet": AlexNet, "vgg11": VGG11, "resnet18": ResNet18}
ARCHITECTURES = tuple(_MODULES)
# Those that have a width and a depth to choose, in which sets are distilled.
CONVNETS = tuple(_CONVNETS)


def build(
    architecture: str,
    num_classes: int,
    *,
    width: int = 0,
    depth: int = 3,
    norm: str = "none",
    initialisation: str = "lecun",
    dtype: jnp.dtype | None = None,
) -> nn.Module:
    """A network that maps images `[n, h, w, c]` to `layers.Output`.

    Args:
        architecture: one of `ARCHITECTURES`.
        num_classes: units of the dense layer.
        width: channels of the first block; 0 is the architecture's own default.
        depth: blocks of one of `CONVNETS`; the others have a fixed depth and ignore it.
        norm: one of `layers.NORMS`.
        initialisation: one of `layers.INITIALISATIONS`.
        dtype: what activations are computed in; None is float32.
    """
    if architecture not in _MODULES:
        raise ValueError(f"architecture {architecture!r} is none of {ARCHITECTURES}")
    module = _MODULES[architecture]
    chosen = {"width": width} if width else {}
    if architecture in CONVNETS:
        chosen["depth"] = depth
    return module(num_classes, norm=norm, initialisation=initialisation, dtype=dtype, **chosen)
