"""VGG11 (Simonyan and Zisserman, configuration A) for small images: a cross-architecture test of a distilled set."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsdd.networks import layers

# (channels as a multiple of the first block's, whether the block pools)
_BLOCKS = ((1, True), (2, True), (4, False), (4, True), (8, False), (8, True), (8, False), (8, True))


class VGG11(nn.Module):
    """Eight blocks of 3x3 convolution - [norm] - ReLU - [2x2 max pooling], then one dense layer.

    At the default width the channels are 64, 128, 256, 256, 512, 512, 512, 512; blocks 1, 2, 4, 6 and 8 pool. As is
    usual for small images, one dense layer replaces the original's three, so a 32x32 image has 512 features. An image
    of one pixel is not pooled further.

    Attributes:
        num_classes: units of the dense layer.
        width: channels of the first block; the others scale in proportion.
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
        x = images
        for multiple, pools in _BLOCKS:
            x = layers.conv(x, self.width * multiple, self.initialisation, dtype=self.dtype)
            x = nn.relu(layers.norm(x, self.norm, train))
            if pools and min(x.shape[1:3]) > 1:
                x = nn.max_pool(x, (2, 2), (2, 2))
        features = x.reshape(len(x), -1)
        return layers.Output(features, layers.dense(features, self.num_classes, self.initialisation, self.dtype))
