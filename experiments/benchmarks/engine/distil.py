"""A step of distillation on a given draw, for kinds of numbers in the network."""

from experiments.benchmarks.engine.bench import Case, program, repeated
from experiments.benchmarks.engine.parts import DTYPES, Parts, start
from fsdd.methods import distillation
from fsdd.methods.nfr import Objective


def cases(parts: Parts) -> list[Case]:
    """Every set in every kind of network."""
    return [case(parts, size, dtype) for dtype in DTYPES for size in parts.sizes.images]


def case(parts: Parts, size: int, dtype: str) -> Case:
    """Steps of a set of so many images, which is regressed on with its mirror images."""
    objective = Objective(parts.network(dtype))

    def step(state, _, draw):
        return distillation.step(state, (draw,), objective=objective, optimiser=parts.adam)

    state, count = start(parts.synthetic(size), parts.adam), parts.sizes.scan
    flops = 2 * size * parts.forward * 2
    return Case(f"{size} images, {dtype}", program(repeated(step, count), state, parts.draw), count, flops)
