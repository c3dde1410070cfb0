"""A step of distillation on a given draw: kinds of numbers in the network, kinds of heads."""

import functools

import jax
import numpy as np

from experiments.benchmarks.engine import heads
from experiments.benchmarks.engine.bench import Case, program, repeated
from experiments.benchmarks.engine.parts import DTYPES, Parts, nfr_loss, start
from fsdd.methods import distillation

_HEADS = {"a today": heads.today, "b float64": heads.float64}


def cases(parts: Parts) -> list[Case]:
    """Every set in every kind of network, with both heads."""
    listed = [case(parts, size, dtype, name) for name in _HEADS for dtype in DTYPES for size in parts.sizes.images]
    return [*listed, _check(parts)] if jax.default_backend() == "cpu" else listed


def case(parts: Parts, size: int, dtype: str, head: str) -> Case:
    """Steps of a set of so many images, which is regressed on with its mirror images."""
    objective = functools.partial(nfr_loss, parts.network(dtype), _HEADS[head])

    def step(state, _, draw):
        return distillation.step(state, draw, objective=objective, optimiser=parts.adam)

    state, count = start(parts.synthetic(size), parts.adam), parts.sizes.scan
    flops = 2 * size * parts.forward * 2
    return Case(f"{size} images, {dtype}, {head}", program(repeated(step, count), state, parts.draw), count, flops)


def _check(parts: Parts) -> Case:
    """Whether the loss with a head passed in is the objective's."""

    def both(synthetic, draw):
        return [nfr_loss(parts.network(), head, synthetic, draw)[0] for head in (heads.today, None)]

    prepare = program(both, parts.synthetic(parts.sizes.images[0]), parts.draw)
    return Case("loss beside the objective's", prepare, check=lambda pair: {"difference": float(np.ptp(pair))})
