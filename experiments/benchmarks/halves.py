"""What fewer bits in the networks cost: in a step, in the sets that come of it, and whether values fit.

    python -m experiments.benchmarks.halves --data_dir ~/tensorflow_datasets

Real images, which no gradient follows, and synthetic ones are rounded separately. On CPU half types are emulated, and
so is TF32, in which GPUs multiply float32: float32 whose factors are rounded to 10 bits. Writes results/halves.json.
"""

import argparse
import tempfile

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import fsdd
from experiments import records
from fsdd.core import krr, losses, synthetic_set, whitening
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.data import sources
from fsdd.io import provenance, workdir
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet

KINDS = ("float32", "TF32", "float16", "bfloat16")
# Dataset, width, depth, initialisation, images per class.
CASES = (
    ("digits", 32, 3, "torch", 1),
    ("digits", 32, 3, "torch", 10),
    ("cifar10", 128, 3, "torch", 1),
    ("cifar10", 128, 3, "lecun", 1),
)
REAL = 128
STARTS = 3


def features(network, variables, images, kind):
    """Features in one of `KINDS`, or in the precision of the images."""
    if kind in ("float16", "bfloat16"):
        return sampling.features(network.clone(dtype=jnp.dtype(kind)), variables, images)
    if kind != "TF32":
        return sampling.features(network, variables, images)

    def rounded(array):
        return jax.lax.reduce_precision(array, exponent_bits=8, mantissa_bits=10)

    def round_factors(call, arguments, keywords, context):
        of_conv = isinstance(context.module, nn.Conv) and context.method_name == "__call__"
        return call(*map(rounded, arguments) if of_conv else arguments, **keywords)

    kernels = jax.tree_util.tree_map_with_path(
        lambda path, leaf: rounded(leaf) if path[-1].key == "kernel" else leaf, variables
    )
    with nn.intercept_methods(round_factors):
        return sampling.features(network, kernels, images)


def step(network, arrays, real, synthetic):
    """Prediction, loss and gradient with real and synthetic images each in a kind of numbers; float64 as given."""
    variables, x_s, y_s, *targets = arrays

    # What it is given are arguments, not constants, which XLA would fold for minutes.
    def loss(moved, variables, x_t, y_t):
        both = moved.mirrored()
        seen = features(network, variables, x_t, real).astype(x_t.dtype)
        own = features(network, variables, both.images, synthetic).astype(x_t.dtype)
        prediction = krr.predict(seen, own, both.labels)
        return losses.squared_error(prediction, y_t), prediction

    there_and_back = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, prediction), gradient = there_and_back(SyntheticSet(x_s, y_s), variables, *targets)
    found = {"prediction": prediction, "loss": value, "images": gradient.images, "labels": gradient.labels}
    return {name: np.asarray(array, np.float64) for name, array in found.items()}


def errors(case: tuple, data) -> list[dict]:
    """Relative errors of one step, real or synthetic images in each kind and the others in float32."""
    dataset, width, depth, initialisation, ipc = case
    labels, count = data.train_labels, data.num_classes
    whitened = whitening.fit(data.train_images[:10_000]).apply(data.train_images[:10_000])
    labels = labels[: len(whitened)]
    network = ConvNet(count, width=width, depth=depth, norm="batch", initialisation=initialisation)
    chosen = synthetic_set.choose_real(labels, count, ipc, 0)
    variables = sampling.sampler(network, whitened.shape[1:])(jax.random.split(jax.random.key(0), 1))
    variables = jax.tree.map(lambda leaf: np.asarray(leaf[0]), variables)
    targets = synthetic_set.centred_labels(labels[-REAL:], count)
    # A set on its way: at the start its gradient is larger and easier.
    moved = whitened[chosen] + 0.1 * np.random.default_rng(0).standard_normal(whitened[chosen].shape, np.float32)
    arrays = variables, moved, synthetic_set.initial_labels(labels[chosen], count), whitened[-REAL:], targets
    with jax.enable_x64(True):
        exact = step(network, jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), arrays), "", "")
    narrow, rows = jax.tree.map(jnp.asarray, arrays), []
    for rounded, kind in [("real", kind) for kind in KINDS] + [("synthetic", kind) for kind in KINDS[1:]]:
        kinds = {"real": "float32", "synthetic": "float32"} | {rounded: kind}
        found = step(network, narrow, **kinds)
        error = {name: float(np.linalg.norm(found[name] - exact[name]) / np.linalg.norm(exact[name])) for name in exact}
        about = {"dataset": dataset, "initialisation": initialisation, "ipc": ipc, "rounded": rounded, "kind": kind}
        rows.append(about | error)
        print(rows[-1], flush=True)
    return rows


def extremes(data) -> list[dict]:
    """The largest activation, and the typical size of features, in float32: what float16 has to hold."""
    whitened, rows = whitening.fit(data.train_images[:10_000]).apply(data.train_images[:32]), []
    for initialisation in ("torch", "lecun"):
        for width, depth in ((128, 3), (512, 3), (128, 5)):
            network = ConvNet(10, width=width, depth=depth, norm="batch", initialisation=initialisation)
            for largest in (float(np.abs(whitened).max()), 100.0):
                images = whitened * np.float32(largest / np.abs(whitened).max())
                variables = sampling.sample(network, jax.random.key(0), images.shape[1:])
                found, seen = network.apply(variables, images, capture_intermediates=True)
                top = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(seen))
                size = float(np.sqrt(np.mean(np.square(found.features))))
                rows.append({"initialisation": initialisation, "width": width, "depth": depth, "pixels": largest,
                             "largest": top, "features": size})  # fmt: skip
                print(rows[-1], flush=True)
    return rows


def distilled() -> list[dict]:
    """Accuracy of sets of digits distilled with real images, or both, in each kind that the package has."""
    rows, kinds = [], [("float32", "float32"), ("float16", "float32"), ("bfloat16", "float32"), ("bfloat16",) * 2]
    for seed in range(STARTS):
        for real, synthetic in kinds:
            fields = {"seed": seed, "network": {"width": 32, "dtype": synthetic}, "compute": {"real_dtype": real}}
            fields |= {"distill": {"steps": 300}, "evaluate": {"networks": 2, "steps": 300}}
            with tempfile.TemporaryDirectory() as folder:
                found = fsdd.distill("digits", workdir=folder, ipc=1, method="distill", fields=fields)
                scores = found.provenance["evaluations"][-1]["accuracies"]
            rows.append({"seed": seed, "real": real, "synthetic": synthetic, "accuracies": scores})
            print(rows[-1], flush=True)
    return rows


def markdown() -> str:
    """Relative errors of a step, accuracies, extremes."""
    found = records.load("halves")
    if not found:
        return ""
    names = ("prediction", "loss", "labels", "images")
    steps = [
        [row["dataset"], row["initialisation"], 10 * row["ipc"], row["rounded"], row["kind"]]
        + [f"{row[name]:.1e}" for name in names]
        for row in found["errors"]
    ]
    parts = [
        records.table(
            ["dataset", "initialisation", "images", "rounded images", "kind", "prediction", "loss",
             "gradient (labels)", "gradient (images)"], steps),
    ]  # fmt: skip
    pairs = list(dict.fromkeys((row["real"], row["synthetic"]) for row in found["distilled"]))
    scores = [
        [
            *pair,
            *(
                f"{np.mean(row['accuracies']):.1f}"
                for row in found["distilled"]
                if (row["real"], row["synthetic"]) == pair
            ),
        ]
        for pair in pairs
    ]
    parts.append(records.table(["real images", "synthetic images", *(f"start {i} (%)" for i in range(STARTS))], scores))
    sizes = [
        [f"{value:.3g}" if isinstance(value, float) else value for value in row.values()] for row in found["extremes"]
    ]
    head = ["initialisation", "width", "depth", "largest pixel", "largest activation", "features (root mean square)"]
    return "\n\n".join([*parts, records.table(head, sizes)])


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.halves")
    parser.add_argument("--data_dir")
    arguments = parser.parse_args()
    sets = {name: sources.load(name, data_dir=arguments.data_dir) for name in ("digits", "cifar10")}
    found = {"extremes": extremes(sets["cifar10"])}
    found["errors"] = [row for case in CASES for row in errors(case, sets[case[0]])]
    found["distilled"] = distilled()
    workdir.write(records.FOLDER / "halves.json", found | provenance.summary())


if __name__ == "__main__":
    main()
