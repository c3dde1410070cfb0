"""What float32 costs at full width, against float64 throughout, for each way of fitting the ridge head.

    python -m experiments.benchmarks.precision --data_dir ~/tensorflow_datasets

Writes results/precision.json: relative errors for each initialisation of the network (both protocols), number of
synthetic images, and way of solving.
"""

import argparse
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from experiments import records
from fsdd.core import cholesky_qr, krr, losses, synthetic_set, whitening
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.data import sources
from fsdd.io import provenance, workdir
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet


def from_features(features_t, features_s, labels):
    """By Cholesky QR of the features, in float32."""
    head = cholesky_qr.head(features_s, labels, jnp.asarray(krr.RIDGE / len(labels), features_s.dtype))
    return jnp.matmul(features_t, head.T, precision="highest")


def from_gram(features_t, features_s, labels):
    """The textbook way in float32, for comparison: form the Gram matrix, factor it by Cholesky."""
    gram = jnp.matmul(features_s, features_s.T, precision="highest")
    ridge = krr.RIDGE * jnp.trace(gram) / len(gram) * jnp.eye(len(gram), dtype=gram.dtype)
    head = features_s.T @ jax.scipy.linalg.solve(gram + ridge, labels, assume_a="pos")
    return jnp.matmul(features_t, head, precision="highest")


# The first is what the package does, but on TPUs, where it does the second.
SOLVERS = {"Gram matrix, float64": krr.predict, "features": from_features, "Gram matrix, float32": from_gram}


def evaluate(network, predict, arrays, dtype) -> dict[str, np.ndarray]:
    """Prediction, loss and gradient in one precision; the network's variables are the same float32 numbers."""
    variables, x_s, y_s, x_t, y_t = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), arrays)

    # What it is given are arguments, not constants, which XLA would fold for minutes.
    def loss(rows, variables, x_t, y_t):
        both = rows.mirrored()
        features = sampling.features(network, variables, both.images)
        prediction = predict(sampling.features(network, variables, x_t), features, both.labels)
        return losses.squared_error(prediction, y_t), prediction

    there_and_back = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, prediction), gradient = there_and_back(SyntheticSet(x_s, y_s), variables, x_t, y_t)
    found = {"prediction": prediction, "loss": value, "images": gradient.images, "labels": gradient.labels}
    return {name: np.asarray(array, np.float64) for name, array in found.items()}


def markdown() -> str:
    """Relative errors of float32."""
    rows = []
    for row in (records.load("precision") or {"rows": []})["rows"]:
        errors = [f"{row[name]:.1e}" for name in ("prediction", "loss", "labels", "images")]
        rows.append([row["initialisation"], 10 * row["ipc"], row["factored"], *errors])
    head = ["initialisation", "images", "factored", "prediction", "loss", "gradient (labels)", "gradient (images)"]
    return records.table(head, rows)


def main() -> None:
    """Measure all combinations."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.precision")
    parser.add_argument("--data_dir")
    arguments = parser.parse_args()
    data = sources.load("cifar10", data_dir=arguments.data_dir)
    whitened = whitening.fit(data.train_images).apply(data.train_images[:20_000])
    labels = data.train_labels[:20_000]
    rows = []
    with jax.enable_x64(True):
        for initialisation, ipc in itertools.product(("torch", "lecun"), (1, 10)):
            network = ConvNet(10, norm="batch", initialisation=initialisation)
            chosen = synthetic_set.choose_real(labels, 10, ipc, 0)
            variables = jax.tree.map(np.asarray, sampling.sample(network, jax.random.key(0), (32, 32, 3)))
            start = synthetic_set.initial_labels(labels[chosen], 10)
            real = synthetic_set.centred_labels(labels[-256:], 10)
            arrays = (variables, whitened[chosen], start, whitened[-256:], real)
            exact = evaluate(network, krr.predict, arrays, jnp.float64)
            for name, predict in SOLVERS.items():
                found = evaluate(network, predict, arrays, jnp.float32)
                errors = {
                    key: float(np.linalg.norm(found[key] - exact[key]) / np.linalg.norm(exact[key])) for key in exact
                }
                rows.append({"initialisation": initialisation, "ipc": ipc, "factored": name} | errors)
                print(rows[-1], flush=True)
    workdir.write(records.FOLDER / "precision.json", {"rows": rows} | provenance.summary())


if __name__ == "__main__":
    main()
