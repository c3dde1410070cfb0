"""The AlexNet of the distillation literature, shrunk to small images: a cross-architecture test of a distilled set."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsdd.networks import layers

# (kernel size, channels in halves of the first block's, whether the block pools)
_BLOCKS = ((5, 2, True), (5, 3, True), (3, 4, False), (3, 3, False), (3, 3, True))


class AlexNet(nn.Module):
    """Five blocks of convolution - [norm] - ReLU - [2x2 max pooling], then a dense layer.

    At the default width the channels are 128, 192, 256, 192, 192, in kernels of 5, 5, 3, 3 and 3; blocks 1, 2 and 5
    pool. A 32x32 image has 4 * 4 * 192 = 3,072 features. An image of one pixel is not pooled further.

    Attributes:
        num_classes: units of the dense layer.
        width: channels of the first block; the others scale in proportion (an odd width rounds them down).
        norm: one of `layers.NORMS`.
        initialisation: one of `layers.INITIALISATIONS`.
        dtype: what activations are computed in; None is float32.
    """

    num_classes: int
    width: int = 128
    norm: str = "none"
    initialisation: str = "lecun"
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> layers.Output:
        """Features and logits of images `[n, h, w, c]`."""
        x = images
        for size, halves, pools in _BLOCKS:
            x = layers.conv(x, self.width * halves // 2, self.initialisation, size=size, dtype=self.dtype)
            x = nn.relu(layers.norm(x, self.norm, train))
            if pools and min(x.shape[1:3]) > 1:
                x = nn.max_pool(x, (2, 2), (2, 2))
        features = x.reshape(len(x), -1)
        return layers.Output(features, layers.dense(features, self.num_classes, self.initialisation, self.dtype))
