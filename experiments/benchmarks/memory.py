"""Device memory of an adaptation step beside a step of `1 Net`, by XLA's own analysis of the compiled programs.

    python -m experiments.benchmarks.memory

CIFAR-10 shapes, and images of twice the side; 1,024 real rows a step; nothing is run. Beside the step itself stands
what its stream keeps: `1 Net` the features of all 50,000 real images in its one network, adaptation those of 1,024 in
the network of the step. Writes results/memory.json.
"""

import functools

import jax
import jax.numpy as jnp

from experiments import records
from fsdd.core import descent
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.io import provenance, workdir
from fsdd.methods import bilevel, distillation, nfr, optimisers, streams, translation, unrolling
from fsdd.methods import trajectory_matching as matching
from fsdd.networks import sampling
from fsdd.networks.convnet import ConvNet
from fsdd.networks.dc_convnet import DCConvNet
from fsdd.networks.translator import Translator

SHAPE, CLASSES, REAL, TARGET = (32, 32, 3), 10, 1024, 50_000


def _bytes(step, state, *given) -> int:
    """What a compiled step holds at its peak: arguments, and temporaries; its results take the state's place."""
    found = jax.jit(step, donate_argnums=0).lower(state, *given).compile().memory_analysis()
    return found.argument_size_in_bytes + found.temp_size_in_bytes


def measure(ipc: int, side: int) -> dict:
    """Bytes at one IPC and one size of images."""
    shape = (side, side, 3)
    network, adam, key = ConvNet(CLASSES, norm="batch"), optimisers.build("adam", 1e-3), jax.random.key(0)
    objective, translator = nfr.Objective(network), Translator()
    source = SyntheticSet(jnp.zeros((ipc * CLASSES, *shape)), jnp.zeros((ipc * CLASSES, CLASSES)))
    size = sampling.feature_size(network, shape)
    variables = jax.eval_shape(lambda: sampling.sample(network, key, shape))
    rows = jax.ShapeDtypeStruct((REAL, size), jnp.float32), jax.ShapeDtypeStruct((REAL, CLASSES), jnp.float32)
    draw = streams.Draw(variables, *rows)
    distil = functools.partial(distillation.step, objective=objective, optimiser=adam)
    state = jax.eval_shape(functools.partial(descent.init, optimiser=adam), source)
    moving = translation.build_optimiser(adam, adam)
    adapt = functools.partial(translation.step, translator=translator, objective=objective, optimiser=moving)
    translating = jax.eval_shape(lambda: translation.init(translation.fresh(translator, key, shape), (source,), moving))
    found = {"distill": _bytes(distil, state, (draw,)), "translate": _bytes(adapt, translating, (draw,), (source,))}
    kept = 4 * (TARGET - REAL) * (size + CLASSES)
    found |= {"distill_with_target": found["distill"] + kept}
    return {"ipc": ipc, "side": side} | found | {"ratio": round(found["translate"] / found["distill"], 2)}


def unroll(steps: int) -> dict:
    """Bytes of the bi-level gradient through so many inner steps at IPC 1, with steps computed again and without."""
    network, key = ConvNet(CLASSES, norm="batch"), jax.random.key(0)
    objective = nfr.Objective(network)
    variables = jax.eval_shape(lambda: sampling.sample(network, key, SHAPE))
    rest = {"batch_stats": variables["batch_stats"]}
    source = SyntheticSet(_shape(CLASSES, *SHAPE), _shape(CLASSES, CLASSES))
    near = streams.Real(_shape(REAL, *SHAPE), _shape(REAL, CLASSES))
    judge = streams.Draw(variables, _shape(REAL, sampling.feature_size(network, SHAPE)), near.labels)
    found = {}
    for name, remat in (("again", True), ("kept", False)):
        inner = bilevel.Inner(steps, batch=REAL, remat=remat)

        def loss(params, rest, source, near, judge, inner=inner):
            return objective(bilevel.distil({"params": params, **rest}, source, near, objective, inner), judge)

        gradient = jax.jit(jax.grad(loss, has_aux=True))
        analysis = gradient.lower(variables["params"], rest, source, near, judge).compile().memory_analysis()
        found[name] = analysis.argument_size_in_bytes + analysis.temp_size_in_bytes
    return {"inner": steps} | found


def trajectories(steps: int) -> dict:
    """Bytes of MTT's gradient through so many steps on 10 images, by how they are taken.

    All in one program, with steps computed again on the way back and without, and one after the other as on CPU: the
    program of one step, and a network for each.
    """
    network, key = DCConvNet(CLASSES), jax.random.key(0)
    variables = jax.eval_shape(lambda: sampling.sample(network, key, SHAPE))
    recipe = matching.Recipe(unrolling.Learning(network, policy="dsa"), batch=CLASSES)
    moving = matching.Moving(SyntheticSet(_shape(CLASSES, *SHAPE), _shape(CLASSES, CLASSES)), _shape())
    member = jax.eval_shape(recipe.learning.begin, variables)

    def gradient(step, steps):
        def loss(moving, member, target, key):
            last, _ = descent.take(lambda one, index: (step(moving, one, index, key), {}), steps, member, jnp.int32(0))
            return matching.judge(last, member.moving, target)

        found = jax.jit(jax.grad(loss)).lower(moving, member, variables["params"], key).compile().memory_analysis()
        return found.argument_size_in_bytes + found.temp_size_in_bytes

    step = functools.partial(matching.step, recipe=recipe)
    networks = steps * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(variables))
    found = {"again": gradient(jax.checkpoint(step), steps), "kept": gradient(step, steps)}
    return {"steps": steps} | found | {"singly": gradient(step, 1) + networks}


def _shape(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def markdown() -> str:
    """Bytes of the two steps."""
    rows = []
    for row in (records.load("memory") or {"rows": []})["rows"]:
        sizes = [f"{row[name] / 1e6:.0f}" for name in ("distill", "distill_with_target", "translate")]
        rows.append([row["side"], row["ipc"], *sizes, f"{row['ratio']:.2f}"])
    head = ["side", "IPC", "`1 Net` step (MB)", "with its cached features", "adaptation step", "ratio"]
    return records.table(head, rows)


def unrolled_table() -> str:
    """Bytes of the bi-level gradient."""
    rows = []
    for row in (records.load("memory") or {}).get("bilevel", []):
        rows.append([row["inner"], f"{row['again'] / 1e6:.0f}", f"{row['kept'] / 1e6:.0f}"])
    return records.table(["inner steps", "computed again (MB)", "kept (MB)"], rows)


def trajectories_table() -> str:
    """Bytes of MTT's gradient."""
    rows = []
    for row in (records.load("memory") or {}).get("mtt", []):
        rows.append([row["steps"], *(f"{row[name] / 1e6:.0f}" for name in ("singly", "again", "kept"))])
    return records.table(["steps on S", "one after the other (MB)", "in one program, computed again", "kept"], rows)


def main() -> None:
    """Measure at the paper's IPCs, at 64x64, and at several numbers of inner steps."""
    sizes = ((1, 32), (10, 32), (50, 32), (1, 64), (10, 64))
    report = {"rows": [measure(*size) for size in sizes], "bilevel": [unroll(steps) for steps in (1, 4, 16, 64)]}
    report |= {"mtt": [trajectories(steps) for steps in (2, 10, 50)]}
    print(*report["rows"], *report["bilevel"], *report["mtt"], sep="\n", flush=True)
    workdir.write(records.FOLDER / "memory.json", report | provenance.summary())


if __name__ == "__main__":
    main()
