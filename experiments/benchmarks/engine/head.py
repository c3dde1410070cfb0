"""Ridge heads there and back: time, and errors against float64 on the host."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.engine.bench import Case, program, repeated
from experiments.benchmarks.engine.parts import SHAPE, Parts, ill_conditioned, predict
from fsdd.core import cholesky_qr, krr, losses
from fsdd.networks import sampling

_SETS = 16
HEADS = {"float64": krr.float64_head, "Cholesky QR": cholesky_qr.head}


def cases(parts: Parts) -> list[Case]:
    """Every variant at every number of rows, then many small sets at once."""
    size, rng = sampling.feature_size(parts.network(), SHAPE), np.random.default_rng(1)
    real, targets = parts.draw.features, parts.draw.labels
    listed = []
    for rows in parts.sizes.rows:
        features, labels = ill_conditioned(rng, rows, size), np.asarray(parts.labels(rows))
        exact = closed_form(features, labels, np.asarray(real), np.asarray(targets))
        about = {"rows": rows, "condition": exact.pop("condition")}
        inputs = jnp.asarray(features), jnp.asarray(labels), real, targets, jnp.zeros(())
        for name, head in HEADS.items():
            run, check = _scanned(head, parts.sizes.scan), _comparison(exact)
            prepare = program(run, *inputs)
            listed.append(Case(f"{name}, {rows} rows", prepare, parts.sizes.scan, about=about, check=check))
    many = jnp.asarray(np.stack([ill_conditioned(rng, parts.sizes.rows[0], size) for _ in range(_SETS)]))
    labels = jnp.asarray(np.stack([parts.labels(parts.sizes.rows[0])] * _SETS))
    for name, head in HEADS.items():
        run = _scanned(head, parts.sizes.scan, many=True)
        prepare = program(run, many, labels, real, targets, jnp.zeros(()))
        listed.append(Case(f"{name}, {_SETS} sets of {parts.sizes.rows[0]} rows", prepare, parts.sizes.scan))
    return listed


def _scanned(head: Callable, count: int, many: bool = False) -> Callable:
    """The gradient so many times, at one and the same place: the rate is zero, which the compiler does not know."""

    def loss(features, labels, real, targets):
        weights = head(features, labels, jnp.float32(krr.RIDGE / len(features)))
        prediction = predict(weights, real)
        return losses.squared_error(prediction, targets), (weights, prediction)

    def step(state, _, real, targets, rate):
        features, labels = state[:2]
        (_, parts), bars = jax.value_and_grad(loss, (0, 1), has_aux=True)(features, labels, real, targets)
        moved = features - rate * bars[0], labels - rate * bars[1]
        return (*moved, (*parts, bars[0])), ()

    mapped = jax.vmap(step, (0, None, None, None, None)) if many else step

    def run(features, labels, real, targets, rate):
        lead, classes = features.shape[:-2], labels.shape[-1]
        shapes = (*lead, classes, real.shape[-1]), (*lead, len(real), classes), features.shape
        last = tuple(jnp.zeros(shape, "float32") for shape in shapes)
        return repeated(mapped, count)((features, labels, last), real, targets, rate)[0][2]

    return run


def closed_form(features: np.ndarray, labels: np.ndarray, real: np.ndarray, targets: np.ndarray) -> dict:
    """Head, prediction and gradient of features in float64, and the condition number of the Gram matrix."""
    f, y, t, z = (one.astype(np.float64) for one in (features, labels, real, targets))
    relative, gram = krr.RIDGE / len(f), f @ f.T
    condition = float(np.linalg.cond(gram))
    gram += relative * np.trace(gram) * np.eye(len(f))
    alpha = np.linalg.solve(gram, y)
    head = alpha.T @ f
    prediction = t @ head.T
    head_bar = 2 / len(t) * (prediction - z).T @ t
    g = np.linalg.solve(gram, f @ head_bar.T)
    gradient = alpha @ (head_bar - g.T @ f) - g @ head - 2 * relative * np.sum(g * alpha) * f
    return {"condition": condition, "head": head, "prediction": prediction, "gradient": gradient}


def _comparison(exact: dict[str, np.ndarray]) -> Callable:
    """Relative errors, in the norm of all entries."""

    def compare(output):
        pairs = zip(exact.items(), output, strict=True)
        return {f"{name}_error": float(np.linalg.norm(np.asarray(found, np.float64) - wanted) / np.linalg.norm(wanted))
                for (name, wanted), found in pairs}  # fmt: skip

    return compare
