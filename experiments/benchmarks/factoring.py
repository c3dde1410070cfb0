"""What factoring features for the ridge head takes: shifted Cholesky QR, as `fsdd/core/krr.py` does, or Householder's.

    python -m experiments.benchmarks.factoring

Random features, 8,192 a row as at width 128; caching factors several sets at once. Writes
results/factoring.json, or factoring_gpu.json where there is a GPU.
"""

import jax
import jax.numpy as jnp

from experiments import records
from experiments.benchmarks.steps import median_seconds
from fsdd.core import krr
from fsdd.io import provenance, workdir

# Sets at once, and rows of each: synthetic images and their mirror images.
SIZES = ((1, 20), (1, 200), (1, 1000), (16, 60))


def householder(features: jax.Array, relative: float) -> tuple[jax.Array, jax.Array]:
    """The same factors by Householder's reflections, as LAPACK and cuSOLVER have them."""
    scale = jnp.sqrt(relative * jnp.sum(jnp.square(features)))
    q, r = jnp.linalg.qr(jnp.concatenate([features.T, scale * jnp.eye(len(features))]))
    return q[: features.shape[1]].T, r.T


def markdown() -> str:
    """Milliseconds on each machine that measured them."""
    rows = []
    for found in filter(None, map(records.load, ("factoring", "factoring_gpu"))):
        for row in found["rows"]:
            taken = [f"{row[name]:.1f}" if name in row else None for name in ("cholesky", "householder")]
            rows.append([found["device"], row["sets"], row["rows"], *taken])
    head = ["device", "sets at once", "rows of each (images, mirrored)", "Cholesky (ms)", "Householder (ms)"]
    return records.table(head, rows)


def main() -> None:
    """Measure."""
    rows = []
    for sets, count in SIZES:
        features = 1 + jnp.square(jax.random.normal(jax.random.key(0), (sets, count, 8192)))
        row = {"sets": sets, "rows": count}
        for name, factor in (("cholesky", krr.factor), ("householder", householder)):
            many = jax.jit(jax.vmap(lambda one, factor=factor: factor(one, krr.RIDGE / len(one))))
            row[name] = 1e3 * median_seconds(many, features, repeats=5)
        rows.append(row)
        print(row, flush=True)
    name = "factoring" if jax.default_backend() == "cpu" else "factoring_gpu"
    workdir.write(records.FOLDER / f"{name}.json", {"rows": rows} | provenance.summary())


if __name__ == "__main__":
    main()
