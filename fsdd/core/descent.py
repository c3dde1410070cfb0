"""Gradient descent on whatever moves: one state, one update, and one loop over many steps.

A synthetic set, a translator, an auto-encoder, a network in training, FRePo's pool and the distillation space all move
by these. On accelerators many steps run per dispatch, in `lax.scan`. On CPU, XLA runs a convolution inside a loop
without its multi-threaded kernels (jax-ml/jax issue 12868), so there each step is a dispatch of its own. Both ways
compute the same.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from fsdd.core import compilation

Metrics = dict[str, jax.Array]
# Of what moves and the rest: the value, and with it the new rest and the parts that are worth recording.
Loss = Callable[[Any, Any], tuple[jax.Array, tuple[Any, Metrics]]]


@flax.struct.dataclass
class State:
    """What descends, on its way.

    Attributes:
        moving: the tree of arrays that the gradient reaches.
        rest: what a step replaces without a gradient, such as running statistics; `()` where there is none.
        optimiser: optax's state for `moving`.
    """

    moving: Any
    rest: Any
    optimiser: optax.OptState


def init(moving: Any, optimiser: optax.GradientTransformation, rest: Any = ()) -> State:
    """The state before the first step."""
    return State(moving, rest, optimiser.init(moving))


def update(
    state: State, loss: Loss, optimiser: optax.GradientTransformation, axis: str | None = None
) -> tuple[State, Metrics]:
    """One step down the gradient.

    Args:
        state: where it is.
        loss: `(moving, rest) -> (value, (rest, parts))`.
        optimiser: moves it.
        axis: a mesh axis over which value, parts, rest and gradient are averaged, if any.

    Returns:
        The next state, and the metrics of the step: the loss before it and its parts.
    """
    (value, (rest, parts)), gradient = jax.value_and_grad(loss, has_aux=True)(state.moving, state.rest)
    if axis is not None:
        (value, (rest, parts)), gradient = jax.lax.pmean(((value, (rest, parts)), gradient), axis)
    return follow(state.replace(rest=rest), gradient, optimiser), {"loss": value, **parts}


def follow(state: State, gradient: Any, optimiser: optax.GradientTransformation) -> State:
    """The state after one step down a gradient, a tree like what moves."""
    updates, moments = optimiser.update(gradient, state.optimiser, state.moving)
    return state.replace(moving=optax.apply_updates(state.moving, updates), optimiser=moments)


def average(trees: Sequence[Any]) -> Any:
    """The mean of trees of one structure: of what a loss has in several networks, or on several sets."""
    return jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *trees)


def steps_per_dispatch(limit: int, *stops: int, together: int = 1) -> int:
    """The largest divisor up to `limit` of all steps at which a dispatch has to end; 0 does not count.

    One compiled shape then serves from any of them to any other: from where a run resumes, say, to its last step. Where
    so many steps belong `together`, it is a part of them that divides them, or a multiple of them.
    """
    whole = math.gcd(*stops) or 1
    sizes = [size for size in range(1, min(limit, whole) + 1) if whole % size == 0]
    return max(size for size in sizes if size % together == 0 or together % size == 0)


def take(step: Callable, size: int, state: Any, first: jax.Array, *constants: Any) -> tuple[Any, Metrics]:
    """`Loop`'s step so many times, from index `first`, within a compiled function; a single one without a loop."""
    if size == 1:
        state, metrics = step(state, first, *constants)
        return state, jax.tree.map(lambda metric: metric[None], metrics)
    return jax.lax.scan(lambda carry, index: step(carry, index, *constants), state, first + jnp.arange(size))


def fold_key(state: Any, index: jax.Array, key: jax.Array, *constants: Any, step: Callable) -> tuple[Any, Metrics]:
    """`Loop`'s step of one that draws from a key, `(state, key, *constants)`: each index has a key of its own."""
    return step(state, jax.random.fold_in(key, index), *constants)


def _take_some(state: Any, first: jax.Array, *constants: Any, step: Callable, size: int) -> tuple[Any, Metrics]:
    return take(step, size, state, first, *constants)


class Loop:
    """A step, compiled once for each number of steps per dispatch, and driven; equal steps share their programs.

    Attributes:
        many: `(size) -> (state, first, *constants) -> (state, metrics)`: so many steps in one call, metrics stacked to
            `[size, ...]`; the state is donated.
    """

    def __init__(self, step: Callable[..., tuple[Any, Metrics]]):
        """Of a pure step `(state, index, *constants) -> (state, metrics)`; the index is an int32 scalar."""
        self._step = step
        self._compiled: dict[int, Callable] = {}

    def many(self, size: int) -> Callable:
        """The program of `size` steps."""
        if size not in self._compiled:
            some = compilation.bind(_take_some, step=self._step, size=size)
            self._compiled[size] = compilation.jit(some, donate_argnums=0)
        return self._compiled[size]

    def run(
        self, state: Any, steps: int, *constants: Any, start: int = 0, dispatch: int = 1
    ) -> Iterator[tuple[int, Any, Metrics]]:
        """Take the steps from `start` to `steps`.

        Args:
            state: where to begin; donated.
            steps: where to end.
            constants: what every step is given besides the state and its index.
            start: the step that `state` has reached.
            dispatch: the most steps per dispatch.

        Yields:
            `(steps done, state, metrics)` after each dispatch, metrics stacked to `[steps of it]` on the device. The
            state is donated to the next dispatch: copy it to keep it.
        """
        size = steps_per_dispatch(dispatch, steps, start)
        many = self.many(size)
        for position in range(start, steps, size):
            state, metrics = many(state, jnp.int32(position), *constants)
            yield position + size, state, metrics
