"""What a ridge head takes, there and back: in float64, as `fsdd/core/krr.py` does, or by Cholesky QR in float32.

    taskset -c 0 python -m experiments.benchmarks.factoring

Random features; caching fits several sets at once. On one core, since threads that wait count as processor time. Writes
results/factoring.json, or factoring_gpu.json where there is a GPU.
"""

import statistics
import time

import jax
import jax.numpy as jnp

from experiments import records
from fsdd.core import cholesky_qr, compilation, krr
from fsdd.io import provenance, workdir

# Sets at once, rows of each (synthetic images and their mirror images), features (widths 32 and 128).
SIZES = ((1, 20, 2048), (1, 20, 8192), (1, 200, 2048), (1, 200, 8192), (1, 1000, 2048), (1, 1000, 8192), (16, 20, 8192))
HEADS = {"float64": krr.float64_head, "cholesky_qr": cholesky_qr.head}


def there_and_back(head, features, labels, bar):
    """A head and the gradients of features and labels, for a cotangent of the head."""
    found, pull_back = jax.vjp(lambda *both: head(*both, jnp.float32(krr.RIDGE / len(features))), features, labels)
    return found, pull_back(bar)


def milliseconds(sets: int, rows: int, size: int) -> dict[str, float]:
    """Median of each head, taken in turn: process time on CPU, where other work runs beside it, else wall time."""
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    keys = jax.random.split(jax.random.key(0), 3)
    features = 1 + jnp.square(jax.random.normal(keys[0], (sets, rows, size)))
    labels, bar = jax.random.normal(keys[1], (sets, rows, 10)), jax.random.normal(keys[2], (sets, 10, size))
    programs = {
        name: compilation.jit(jax.vmap(lambda *one, head=head: there_and_back(head, *one)))
        for name, head in HEADS.items()
    }
    taken = {name: [] for name in programs}
    for _ in range(6):
        for name, program in programs.items():
            began = clock()
            jax.block_until_ready(program(features, labels, bar))
            taken[name].append(1e3 * (clock() - began))
    # The first compiles.
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


def markdown() -> str:
    """Milliseconds on each machine that measured them."""
    rows = []
    for found in filter(None, map(records.load, ("factoring", "factoring_gpu"))):
        for row in found["rows"]:
            taken = [f"{row[name]:.1f}" for name in HEADS]
            rows.append([found["device"], row["sets"], row["rows"], row["features"], *taken])
    head = ["device", "sets at once", "rows of each (images, mirrored)", "features", "float64 (ms)", "Cholesky QR (ms)"]
    return records.table(head, rows)


def main() -> None:
    """Measure."""
    rows = []
    for sets, count, size in SIZES:
        rows.append({"sets": sets, "rows": count, "features": size} | milliseconds(sets, count, size))
        print(rows[-1], flush=True)
    name = "factoring" if jax.default_backend() == "cpu" else "factoring_gpu"
    workdir.write(records.FOLDER / f"{name}.json", {"rows": rows} | provenance.summary())


if __name__ == "__main__":
    main()
