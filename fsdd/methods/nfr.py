"""Neural feature regression: the loss that every moving part lowers (Eq. 2)."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsdd.core import krr, losses
from fsdd.core.synthetic_set import Mask, SyntheticSet
from fsdd.methods.streams import Draw
from fsdd.networks import sampling


@dataclasses.dataclass(frozen=True)
class Objective:
    """What a step minimises.

    Attributes:
        network: the architecture of Theta.
        flip: whether S and its mirror image are both regressed on.
        scale: factor of the squared error: 0.5 in FRePo's JAX code, 1 in its PyTorch code.
        ridge: the ridge head's relative regulariser.
        scaled: whether predictions are rescaled by the best scalar before the loss. A synthetic set that fits its own
            network too well makes predictions that are too large in others. Higher contrast cures that and nothing
            else (features grow with it, so that heads shrink); without the rescaling a translator, which cannot move
            labels, mostly learns contrast.
        factor: by which stored images are enlarged before networks see them.
        real_dtype: what real images pass through networks in, which no gradient follows; None is as S does.
    """

    network: nn.Module
    flip: bool = True
    scale: float = 1.0
    ridge: float = krr.RIDGE
    scaled: bool = False
    factor: int = 1
    real_dtype: Any = None

    @property
    def real_network(self) -> nn.Module:
        """The architecture as real images pass through it."""
        return self.network if self.real_dtype is None else self.network.clone(dtype=self.real_dtype)

    def __call__(
        self, synthetic: SyntheticSet, draw: Draw, mask: Mask | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Loss of the ridge head fitted on S, on real rows of one network, plus the label margin; and its parts.

        `mask` says which rows and classes of S are no padding. It covers S only: real rows are never padded.
        """
        kept = mask or Mask(None, None)
        prediction = self.predict(synthetic, draw, kept.rows)
        scaled = self.scale * losses.squared_error(losses.best_scale(prediction, draw.labels) * prediction, draw.labels)
        nfr = self.scale * losses.squared_error(prediction, draw.labels)
        margin = losses.label_margin(synthetic.labels, kept.rows, kept.classes)
        accuracy = losses.accuracy(prediction, draw.labels, classes=kept.classes)
        parts = {"nfr": nfr, "nfr_scaled": scaled, "margin": margin, "accuracy": accuracy}
        return (scaled if self.scaled else nfr) + margin, parts

    def predict(self, synthetic: SyntheticSet, draw: Draw, rows: jax.Array | None = None) -> jax.Array:
        """What the ridge head fitted on S predicts for the real rows of a draw, `[b, classes]`."""
        synthetic = synthetic.decoded(self.factor)
        if self.flip:
            synthetic = synthetic.mirrored()
            rows = None if rows is None else jnp.concatenate([rows, rows])
        features = sampling.features(self.network, draw.variables, synthetic.images)
        return krr.predict(draw.features, features, synthetic.labels, self.ridge, rows)
