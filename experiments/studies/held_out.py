"""Score sets without training: the ridge head in networks that no stage has seen, on images of the training split.

    python -m experiments.studies.held_out runs/cifar10_ipc1 --data_dir ~/tensorflow_datasets

A minute for any number of sets, against a minute for each trained network, and no test image is looked at: for choosing
between settings. It does not replace `evaluate`: what it prefers by less than about a point, trained networks may not,
and sets that fit their own network too well (T of thousands) score lower here than they train.
"""

import argparse
import functools
import json
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from fsdd import config as configs
from fsdd.assembly import environment
from fsdd.assembly.objectives import build_objective
from fsdd.assembly.real_sets import load_real_set
from fsdd.config import legacy
from fsdd.core import chunks, compilation, losses, synthetic_set, whitening
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.io.synthetic_files import read_set
from fsdd.methods import streams
from fsdd.methods.nfr import Objective
from fsdd.methods.streams import Draw, Real
from fsdd.networks import sampling

CHUNK = 125


class Judge:
    """Networks that no stage has seen, with the features of real images in them."""

    def __init__(self, objective: Objective, real: Real, networks: int = 16):
        """Of whitened real images `[n, h, w, c]` and centred labels `[n, classes]`."""
        features = streams.feature_program(objective.network)
        # Far from the seeds of stages, which count from 0.
        keys = jax.random.split(jax.random.key(2**31), networks)
        drawn = sampling.sampler(objective.network, real.images.shape[1:])(keys)
        self._draws = []
        for index in range(networks):
            one = jax.tree.map(lambda leaf, index=index: leaf[index], drawn)
            pushed = functools.partial(features, one, real.images)
            seen = chunks.map_chunks(pushed, jnp.arange(len(real.images)), CHUNK)
            self._draws.append(Draw(one, seen, real.labels))
        self._judge = _judge(objective)

    def __call__(self, synthetic: SyntheticSet) -> dict[str, float]:
        """Means over networks of a set's ridge heads.

        `nfr` is the squared error summed over classes, `nfr_std` its spread, `scale` the factor of the predictions that
        is best for it and `nfr_scaled` what it then is; `accuracy` is in percent.
        """
        judged = [self._judge(synthetic, draw) for draw in self._draws]
        figures = {name: np.array([float(one[name]) for one in judged]) for name in judged[0]}
        return {
            "nfr": round(float(figures["nfr"].mean()), 4),
            "nfr_std": round(float(figures["nfr"].std(ddof=1)), 4),
            "scale": round(float(figures["scale"].mean()), 3),
            "nfr_scaled": round(float(figures["nfr_scaled"].mean()), 4),
            "accuracy": round(100 * float(figures["accuracy"].mean()), 2),
        }


@functools.cache
def _judge(objective: Objective) -> Callable[[SyntheticSet, Draw], dict[str, jax.Array]]:
    """What one network says of a set, compiled once for each objective."""

    def judge(synthetic, draw):
        prediction = objective.predict(synthetic, draw)
        scale = losses.best_scale(prediction, draw.labels)
        return {
            "nfr": losses.squared_error(prediction, draw.labels),
            "scale": scale,
            "nfr_scaled": losses.squared_error(scale * prediction, draw.labels),
            "accuracy": losses.accuracy(prediction, draw.labels),
        }

    return compilation.jit(judge)


def read_config(folder: pathlib.Path, data_dir: str | None) -> configs.Resolved:
    """The config with which a finished run was made, but for `compute`: that is this machine's own affair."""
    config: ml_collections.ConfigDict = configs.default()
    known = configs.table()
    fields = legacy.modernise(json.loads((folder / "results.json").read_text())["config"])
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    config.update_from_flattened_dict(
        {name: value for name, value in fields.items() if name in known and not name.startswith("compute.")}
    )
    config.data_dir = data_dir
    return configs.resolve(config)


def judge_target(config: configs.Resolved, networks: int = 16, images: int = 1000) -> Judge:
    """A judge by random training images of a config's set."""
    data = load_real_set(config, config.test_fraction, config.validation_fraction)
    fitted = whitening.fit(data.train_images, config.whitening.kind, config.whitening.regularisation)
    rows = np.random.default_rng(0).permutation(len(data.train_labels))[:images]
    labels = synthetic_set.centred_labels(data.train_labels[rows], data.num_classes)
    real = Real(jnp.asarray(fitted.apply(data.train_images[rows])), jnp.asarray(labels))
    return Judge(build_objective(config, data.num_classes), real, networks)


def main() -> None:
    """Print accuracy and loss of every stage of the given workdirs."""
    parser = argparse.ArgumentParser(prog="python -m experiments.studies.held_out")
    parser.add_argument("workdirs", nargs="+", type=pathlib.Path)
    parser.add_argument("--data_dir")
    parser.add_argument("--networks", type=int, default=16)
    parser.add_argument("--images", type=int, default=1000)
    arguments = parser.parse_args()
    environment.prepare()
    config = read_config(arguments.workdirs[0], arguments.data_dir)
    judge = judge_target(config, arguments.networks, arguments.images)
    for folder in arguments.workdirs:
        for path in sorted(folder.glob("*/set.npz")):
            scores = judge(read_set(path))
            print(f"{path.parent}: {', '.join(f'{name} {value}' for name, value in scores.items())}", flush=True)


if __name__ == "__main__":
    main()
