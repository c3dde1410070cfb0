"""Today's other steps: subsets side by side, FRePo, the bi-level algorithm, pre-training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.engine.bench import Case, program, repeated
from experiments.benchmarks.engine.fresh import moving
from experiments.benchmarks.engine.parts import CLASSES, SHAPE, Parts, start
from fsdd.core.whitening import Whitening
from fsdd.methods import bilevel, class_batches, frepo, lanes, regression, translation
from fsdd.methods.nfr import Objective
from fsdd.methods.streams import Draw, Real
from fsdd.networks.translator import Translator

_IMAGES, _CASES = 20, 4


def cases(parts: Parts) -> list[Case]:
    """One of each."""
    return [_lanes(parts), _frepo(parts), _bilevel(parts), _pretrain(parts)]


def _lanes(parts: Parts) -> Case:
    """Subsets of 20 images in one fixed network, by the cache's own program, which starts anew in each call."""
    real, many, count, rng = parts.sizes.real, parts.sizes.subsets, parts.sizes.scan, np.random.default_rng(2)

    def prepare():
        recipe = lanes.Recipe(Objective(parts.network()), parts.adam, count, real, 1, "none")
        plain = Whitening(np.zeros(3, np.float32), np.ones(3, np.float32))
        lane = lanes.lane(
            rng.standard_normal((real, *SHAPE), np.float32), np.arange(real) % CLASSES, np.arange(_IMAGES),
            jax.random.key(0), whitening=plain, real=real, rows=_IMAGES, classes=CLASSES,
        )  # fmt: skip
        distiller = lanes.LaneDistiller(recipe, parts.draw.variables, plain, jax.devices()[:1], dispatch=count)
        placed = distiller.place(lanes.stack([lane] * many))
        features = distiller.place(np.stack([np.asarray(parts.draw.features)[None]] * many))

        def call():
            return next(distiller.run(placed, features, distiller.init(placed)))[1:]

        jax.block_until_ready(call())
        return call

    flops = many * 2 * _IMAGES * 2 * parts.forward
    return Case(f"cache, {many} subsets of {_IMAGES} images at once", prepare, count, flops)


def _real(parts: Parts) -> Real:
    return Real(parts.normal(parts.sizes.real, *SHAPE), parts.labels(parts.sizes.real))


def _frepo(parts: Parts) -> Case:
    """10 images, in a scan."""
    objective, pool, count = Objective(parts.network()), frepo.Pool(), parts.sizes.scan
    synthetic, real, size = parts.synthetic(parts.sizes.images[0]), _real(parts), parts.sizes.real

    def step(state, index, real):
        key = jax.random.fold_in(jax.random.key(0), index)
        settings = {"objective": objective, "optimiser": parts.adam, "pool": pool, "batch": size, "chunk": size}
        return frepo.step(state, key, real, **settings)

    def prepare():
        state = frepo.init(synthetic, parts.adam, objective, pool, jax.random.key(0), SHAPE)
        return program(repeated(step, count), state, real)()

    flops = (size + (4 + 3) * len(synthetic)) * parts.forward
    return Case(f"frepo, {len(synthetic)} images", prepare, count, flops)


def _bilevel(parts: Parts) -> Case:
    """One outer step of 10 images."""
    inner, objective = bilevel.Inner(parts.sizes.inner, batch=parts.sizes.batch), Objective(parts.network())
    real = _real(parts)
    classes = class_batches.rows_by_class(np.argmax(real.labels, -1), CLASSES)
    state = regression.init(parts.variables(), parts.adam)

    def step(state, real, classes):
        settings = {"objective": objective, "optimiser": parts.adam, "inner": inner, "ipc": 1}
        return bilevel.step(state, jax.random.key(0), real, classes, **settings)

    flops = (inner.steps * 6 * 2 * CLASSES + 4 * CLASSES + 4 * inner.batch) * parts.forward
    name = f"bilevel, {inner.steps} inner steps, {inner.batch} real images"
    return Case(name, program(step, state, real, classes), 1, flops)


def _pretrain(parts: Parts) -> Case:
    """Subsets of 20 images, each in a network of its own."""
    _, begin, _ = moving(parts, _IMAGES)
    optimiser, count = translation.build_optimiser(parts.adam, None), parts.sizes.scan
    settings = {
        "translator": Translator(widths=parts.sizes.translator),
        "objective": Objective(parts.network()),
        "optimiser": optimiser,
    }
    single = translation.Case(parts.synthetic(_IMAGES), Draw(*parts.draw))
    stacked = jax.tree.map(lambda leaf: jnp.asarray(np.stack([leaf] * _CASES)), single)
    begun = begin()
    state = start(translation.Moving(begun.moving.params, ()), optimiser, begun.rest)

    def step(state, _, stacked):
        return functools.partial(translation.pretrain, **settings)(state, stacked)

    flops = _CASES * 2 * _IMAGES * 2 * parts.forward
    return Case(f"pre-training, {_CASES} subsets of {_IMAGES} images",
                program(repeated(step, count), state, stacked), count, flops)  # fmt: skip
