"""ResNet18 (He et al.) in its form for small images: a cross-architecture test of a distilled set."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsdd.networks import layers

# (channels as a multiple of the stem's, stride of its first 3x3 convolution) of each block
_BLOCKS = ((1, 1), (1, 1), (2, 2), (2, 1), (4, 2), (4, 1), (8, 2), (8, 1))


class BasicBlock(nn.Module):
    """3x3 convolution - [norm] - ReLU - 3x3 convolution - [norm], plus the block's input, then ReLU.

    Where the shape changes, the input passes a 1x1 convolution - [norm] on its way to the sum. Attributes are those of
    `ResNet18`, `channels` and `stride` apart.
    """

    channels: int
    stride: int
    norm: str
    initialisation: str
    dtype: jnp.dtype | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """`[n, h, w, c]` -> `[n, h / stride, w / stride, channels]`, rounded up."""

        def conv_norm(inputs: jax.Array, size: int, stride: int) -> jax.Array:
            inputs = layers.conv(inputs, self.channels, self.initialisation, size, stride, False, self.dtype)
            return layers.norm(inputs, self.norm, train)

        y = conv_norm(nn.relu(conv_norm(x, 3, self.stride)), 3, 1)
        if x.shape != y.shape:
            x = conv_norm(x, 1, self.stride)
        return nn.relu(x + y)


class ResNet18(nn.Module):
    """A 3x3 stem (convolution - [norm] - ReLU, no pooling), eight basic blocks, global average pooling, a dense layer.

    At the default width the four pairs of blocks have 64, 128, 256 and 512 channels, and an image 512 features. All but
    the first pair halve the side by a stride, which leaves one pixel one pixel. As in the literature's form the
    convolutions have no biases, also without norm.

    Attributes:
        num_classes: units of the dense layer.
        width: channels of the stem and the first pair; the others scale in proportion.
        norm: one of `layers.NORMS`.
        initialisation: one of `layers.INITIALISATIONS`.
        dtype: what activations are computed in; None is float32.
    """

    num_classes: int
    width: int = 64
    norm: str = "none"
    initialisation: str = "lecun"
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> layers.Output:
        """Features and logits of images `[n, h, w, c]`."""
        x = layers.conv(images, self.width, self.initialisation, bias=False, dtype=self.dtype)
        x = nn.relu(layers.norm(x, self.norm, train))
        for multiple, stride in _BLOCKS:
            x = BasicBlock(self.width * multiple, stride, self.norm, self.initialisation, self.dtype)(x, train)
        features = jnp.mean(x, axis=(1, 2))
        return layers.Output(features, layers.dense(features, self.num_classes, self.initialisation, self.dtype))
