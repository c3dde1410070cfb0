"""The ConvNet of the field: the distribution Theta in which sets are distilled, and the network that scores them."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsdd.networks import layers


class ConvNet(nn.Module):
    """Blocks of [norm] - 3x3 convolution - ReLU - 2x2 average pooling, twice as wide each, then a dense layer.

    The first block has no norm. At 32x32, width 128 and depth 3 an image has 4 * 4 * 512 = 8,192 features and costs
    154 M multiply-adds forward. Images too small for `depth` poolings stop shrinking at one pixel.

    Attributes:
        num_classes: units of the dense layer.
        width: channels of the first block.
        depth: number of blocks.
        norm: one of `layers.NORMS`.
        initialisation: one of `layers.INITIALISATIONS`.
        dtype: what activations are computed in; None is float32.
    """

    num_classes: int
    width: int = 128
    depth: int = 3
    norm: str = "none"
    initialisation: str = "lecun"
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> layers.Output:
        """Features and logits of images `[n, h, w, c]`."""
        x = images
        for block in range(self.depth):
            if block:
                x = layers.norm(x, self.norm, train)
            x = nn.relu(layers.conv(x, self.width * 2**block, self.initialisation, dtype=self.dtype))
            if min(x.shape[1:3]) > 1:
                x = layers.pool(x)
        features = x.reshape(len(x), -1)
        return layers.Output(features, layers.dense(features, self.num_classes, self.initialisation, self.dtype))
