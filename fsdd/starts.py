"""Where a run starts: the real images that S starts as, and the one fixed network."""

import numpy as np

from fsdd.core import compiling, synthetic
from fsdd.core.synthetic import SyntheticSet
from fsdd.io import progress
from fsdd.methods import streams
from fsdd.networks import sampling
from fsdd.run import Run, fixed_key


def fixed_network(run: Run) -> sampling.Variables:
    """The one network in which sets are distilled, as it is drawn."""
    return streams.fixed_network(run.objective.network, fixed_key(run.config), run.data.image_shape)


def start(run: Run, ipc: int) -> SyntheticSet:
    """The real images that S starts from; with a factor, so many more of them, each so much smaller."""
    config, labels = run.config, run.data.train_labels
    count = ipc * config.factor**2
    if config.start == "herding":
        chosen = _herded(run, count)
    else:
        chosen = synthetic.choose_real(labels, run.data.num_classes, count, config.seed)
    return synthetic.from_real(run.real.images, labels, chosen, run.data.num_classes, config.factor)


def _herded(run: Run, count: int) -> np.ndarray:
    """Indices of `count` real images of each class, herded by their features in the one fixed network."""
    network, labels, chunk = run.objective.network, run.data.train_labels, run.config.compute.chunk
    variables = fixed_network(run)
    features_of = compiling.jit(lambda images: sampling.features(network, variables, images))
    found = []
    with progress.bar("herding", len(labels), unit="image") as bar:
        for label in range(run.data.num_classes):
            rows = np.flatnonzero(labels == label)
            # Filled up to whole chunks: one compiled shape.
            padded = np.pad(rows, (0, -len(rows) % chunk))
            parts = [features_of(run.real.images[padded[at : at + chunk]]) for at in range(0, len(rows), chunk)]
            features = np.concatenate([np.asarray(part) for part in parts])[: len(rows)]
            found.append(rows[synthetic.herd(features, count)])
            bar.update(len(rows))
    return np.concatenate(found)
