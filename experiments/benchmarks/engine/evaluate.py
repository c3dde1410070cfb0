"""Training steps of evaluation networks: kinds of numbers, several networks at once, augmentation."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.engine.bench import Case, program
from experiments.benchmarks.engine.parts import DTYPES, SHAPE, Parts, start
from fsdd.core import augmentation
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.evaluation import training_recipes
from fsdd.methods import optimisers, regression

_MANY = 3
_RECIPE = training_recipes.Recipe("adam", schedule="warmup_cosine", steps=1000)


def cases(parts: Parts) -> list[Case]:
    """One network, three at once or in turn, one without augmentation."""
    sizes = parts.sizes.images
    listed = [case(parts, size, dtype) for dtype in DTYPES for size in sizes]
    listed += [case(parts, size, policy="none") for size in sizes]
    listed.append(case(parts, sizes[0], unroll=4))
    maps = {
        "vmap": jax.vmap,
        "lax.map": lambda function: lambda *lanes: jax.lax.map(lambda lane: function(*lane), lanes),
    }
    return listed + [case(parts, size, over=name, mapped=mapped) for name, mapped in maps.items() for size in sizes]


def case(
    parts: Parts, size: int, dtype: str = "float32", policy: str = "dsa", unroll: int = 1,
    over: str = "", mapped: Callable | None = None,
) -> Case:  # fmt: skip
    """Steps of one network, or of three by a map, on a set of so many images. Three in turn take thrice one's time."""
    optimiser = optimisers.build(_RECIPE.optimiser, training_recipes.rate_schedule(_RECIPE, 1000))
    network, count = parts.network(dtype, norm="none"), parts.sizes.scan

    def one(state, index, key, synthetic):
        images = augmentation.augment(jax.random.fold_in(key, index), synthetic.images, policy)
        loss = _RECIPE.loss_function
        return regression.step(state, images, synthetic.labels, network=network, optimiser=optimiser, loss=loss)

    def run(states, data, images, labels):
        keys, synthetic = jax.random.wrap_key_data(data), SyntheticSet(images, labels)

        def step(states, index):
            if mapped is None:
                return one(states, index, keys[0], synthetic)
            return mapped(lambda state, key: one(state, index, key, synthetic))(states, keys)

        return jax.lax.scan(step, states, jnp.arange(count), unroll=min(unroll, count))

    many = None if mapped is None else _MANY
    states = _states(parts, optimiser, many)
    data = jnp.asarray(np.arange(2 * _MANY, dtype=np.uint32).reshape(_MANY, 2))
    synthetic = parts.synthetic(size)
    name = (
        f"{size} images, {dtype}, {policy}"
        + f", unroll {unroll}" * (unroll > 1)
        + f", {_MANY} networks by {over}" * bool(over)
    )
    first = 2 * 9 * 3 * parts.sizes.width * SHAPE[0] * SHAPE[1]
    flops = (many or 1) * size * (3 * parts.forward - first)
    return Case(name, program(run, states, data, synthetic.images, synthetic.labels), count, flops)


def _states(parts: Parts, optimiser, many: int | None):
    """Networks at the start of training."""
    variables = parts.variables("none", many)
    if many is None:
        return start(variables["params"], optimiser, {})
    one = start(jax.tree.map(lambda leaf: leaf[0], variables)["params"], optimiser, {})
    stacked = jax.tree.map(lambda leaf: jnp.asarray(np.stack([leaf] * many)), one)
    return stacked.replace(moving=variables["params"])
