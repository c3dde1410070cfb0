"""The translator G_omega: an image-to-image network (Sec. 3.3; "an auto-encoder with 3 Conv-BatchNorm-ReLU blocks").

Fully convolutional, so any resolution passes. What the paper leaves open is a field here.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsdd.networks import convolutions


class Translator(nn.Module):
    """Three Conv-BatchNorm-ReLU blocks and an output convolution.

    Grey images pass through a translator of colour images as three equal channels, whose mean comes out.

    Attributes:
        channels: image channels.
        widths: channels of the three blocks.
        stride: side of the pooling before the middle block; its output is repeated back to full size. 1 keeps every
            pixel: whitened images carry most of their energy in the finest detail, which a bottleneck loses.
        residual: whether the output is added to the input. The output convolution then starts at zero, so that a
            fresh translator is the identity.
    """

    channels: int = 3
    widths: tuple[int, int, int] = (64, 64, 64)
    stride: int = 1
    residual: bool = True

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = True, rows: jax.Array | None = None) -> jax.Array:
        """Translate whitened images `[n, h, w, c]`; `train` normalises by this batch's own statistics.

        `rows`, bool `[n]`, is false for images that are padding: they take no part in the statistics.
        """
        grey = images.shape[-1] == 1 < self.channels
        x = jnp.repeat(images, self.channels, axis=-1) if grey else images
        mask = None if rows is None else rows[:, None, None, None]
        for block, width in enumerate(self.widths):
            if block == 1 and self.stride > 1:
                x = nn.avg_pool(x, (self.stride, self.stride), (self.stride, self.stride))
            norm = nn.BatchNorm(use_running_average=not train, momentum=0.9)
            # No bias: the norm takes it away again, and Adam would make large steps of its gradient's rounding.
            x = nn.relu(norm(_conv(x, width, use_bias=False), mask=mask))
            if block == 1 and self.stride > 1:
                x = jnp.repeat(jnp.repeat(x, self.stride, 1), self.stride, 2)
        start = nn.initializers.zeros_init() if self.residual else nn.initializers.lecun_normal()
        x = _conv(x, self.channels, kernel_init=start)
        x = jnp.mean(x, axis=-1, keepdims=True) if grey else x
        return images + x if self.residual else x


def _conv(x: jax.Array, channels: int, **options) -> jax.Array:
    special = convolutions.choose(x.shape, 3, 1)
    return nn.Conv(channels, (3, 3), padding=1, conv_general_dilated=special, **options)(x)
