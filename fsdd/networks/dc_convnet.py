"""The ConvNet of dataset condensation: what DC, DSA, DM, MTT and IDC distil in, and what scores their sets."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsdd.networks import layers


class DCConvNet(nn.Module):
    """Blocks of 3x3 convolution - norm - ReLU - 2x2 average pooling, all of one width, then a dense layer.

    The order, and the width that stays, are what differs from `ConvNet`, which is FRePo's. At 32x32, width 128 and
    depth 3 an image has 4 * 4 * 128 = 2,048 features and costs 51 M multiply-adds forward. Images too small for `depth`
    poolings stop shrinking at one pixel. Images of 8x8 want a depth of 2: over the 2x2 pixels of a third block an
    instance norm may divide by next to nothing, and sets that match its gradients grow without bound. Ahead of an
    instance norm the gradient to the convolution's bias is zero but for rounding; DC's code has that bias all the same.

    Attributes:
        num_classes: units of the dense layer.
        width: channels of every block.
        depth: number of blocks.
        norm: one of `layers.NORMS`; "instance" is DC's.
        initialisation: one of `layers.INITIALISATIONS`; "torch" is DC's.
        dtype: what activations are computed in; None is float32.
    """

    num_classes: int
    width: int = 128
    depth: int = 3
    norm: str = "instance"
    initialisation: str = "torch"
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> layers.Output:
        """Features and logits of images `[n, h, w, c]`."""
        x = images
        for _ in range(self.depth):
            x = layers.conv(x, self.width, self.initialisation, dtype=self.dtype)
            x = nn.relu(layers.norm(x, self.norm, train))
            if min(x.shape[1:3]) > 1:
                x = layers.pool(x)
        features = x.reshape(len(x), -1)
        return layers.Output(features, layers.dense(features, self.num_classes, self.initialisation, self.dtype))
