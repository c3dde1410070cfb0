"""Neural feature regression: the loss that every moving part lowers (Eq. 2)."""

import dataclasses

import flax.linen as nn
import jax

from fsdd.core import krr, losses
from fsdd.core.synthetic import SyntheticSet
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
    """

    network: nn.Module
    flip: bool = True
    scale: float = 1.0
    ridge: float = krr.RIDGE

    def __call__(self, synthetic: SyntheticSet, draw: Draw) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Loss of the ridge head fitted on S, on real rows of one network, plus the label margin; and its parts."""
        rows = synthetic.mirrored() if self.flip else synthetic
        features = sampling.features(self.network, draw.variables, rows.images)
        prediction = krr.predict(draw.features, features, rows.labels, self.ridge)
        nfr = self.scale * losses.squared_error(prediction, draw.labels)
        margin = losses.label_margin(synthetic.labels)
        return nfr + margin, {"nfr": nfr, "margin": margin, "accuracy": losses.accuracy(prediction, draw.labels)}
