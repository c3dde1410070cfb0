"""What networks learn of a set, beside what `held_out` judges without training."""

import dataclasses

import flax.linen as nn
import numpy as np

from fsdd.assembly import keys
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.evaluation import training, training_recipes


@dataclasses.dataclass(frozen=True)
class Learner:
    """Trains networks on sets and scores them.

    Attributes:
        network: the architecture.
        recipe: how it is trained.
        images: whitened test images `[n, h, w, c]`.
        classes: theirs, int `[n]`.
        dispatch: the most steps per dispatch.
    """

    network: nn.Module
    recipe: training_recipes.Recipe
    images: np.ndarray
    classes: np.ndarray
    dispatch: int

    def __call__(self, synthetic: SyntheticSet, seed: int, index: int) -> float:
        """Accuracy in percent of the network that a run with this seed evaluates by this index."""
        key = keys.scoring_key(seed, index)[None]
        state = training.train(self.network, self.recipe, synthetic, key, self.dispatch)
        right = training.score(self.network, training.variables(state), self.images, self.classes, chunk=500)
        return 100 * float(right[0])
