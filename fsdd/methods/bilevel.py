"""The distillation space moves: the bi-level algorithm that unrolls a distillation (Alg. 1).

Each outer step distils a fresh S for T inner steps in the moving network theta, judges it in a random network theta',
and moves theta by the gradient of that loss through all inner steps. Only S and its optimiser's state are kept between
inner steps; what happened within one is computed again on the way back: memory grows with T by their size alone.
"""

import dataclasses
import functools
from collections.abc import Iterator

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fsdd.core import loop
from fsdd.core.synthetic import SyntheticSet, encode, initial_labels
from fsdd.methods import distillation
from fsdd.methods.nfr import Objective
from fsdd.methods.streams import Draw, Real
from fsdd.networks import sampling

# Adam divides by a root whose slope has no bound where a gradient is zero, as that of a pixel may be: `eps_root` gives
# it one, far below the square of any gradient that matters.
OPTIMISERS = {"sgd": optax.sgd, "adam": functools.partial(optax.adam, eps_root=1e-16)}


@dataclasses.dataclass(frozen=True)
class Inner:
    """The distillation that is unrolled.

    Attributes:
        steps: T.
        optimiser: of images and labels, one of `OPTIMISERS`: "sgd" as Alg. 1 has it, or "adam".
        rate: alpha, its learning rate.
        batch: real images of each of the two losses.
        remat: whether a step is computed again on the way back, instead of kept.
        unroll: steps written out in one turn of the loop; on CPU all, see `fsdd.core.loop`.
    """

    steps: int = 16
    optimiser: str = "adam"
    rate: float = 0.05
    batch: int = 1024
    remat: bool = True
    unroll: int = 1


@flax.struct.dataclass
class State:
    """The distillation space on its way.

    Attributes:
        variables: of theta; its parameters move.
        optimiser: optax's state for the parameters.
    """

    variables: sampling.Variables
    optimiser: optax.OptState


class Classes(flax.struct.PyTreeNode):
    """Which real images are of which class: rows `[classes, most]`, padded, and how many `[classes]`."""

    rows: jax.Array
    counts: jax.Array


def by_class(labels: np.ndarray, num_classes: int) -> Classes:
    """The rows of each class, for int labels `[n]`."""
    rows = [np.flatnonzero(labels == label) for label in range(num_classes)]
    counts = np.array([len(found) for found in rows])
    padded = np.stack([np.pad(found, (0, counts.max() - len(found))) for found in rows])
    return Classes(jnp.asarray(padded), jnp.asarray(counts))


def init(variables: sampling.Variables, optimiser: optax.GradientTransformation) -> State:
    """Start from a network's variables."""
    return State(variables, optimiser.init(variables["params"]))


def start(real: Real, classes: Classes, ipc: int, factor: int, key: jax.Array) -> SyntheticSet:
    """S as random real images, `ipc` different ones of each class, sorted by class; `factor` is that of `encode`."""
    count, most = classes.rows.shape
    order = jnp.where(jnp.arange(most) < classes.counts[:, None], jax.random.uniform(key, (count, most)), 2.0)
    chosen = jnp.take_along_axis(classes.rows, jax.lax.top_k(-order, ipc)[1], axis=1).reshape(-1)
    labels = jnp.asarray(initial_labels(np.repeat(np.arange(count), ipc), count))
    return SyntheticSet(encode(real.images[chosen], factor), labels)


def distil(
    variables: sampling.Variables, synthetic: SyntheticSet, near: Real, objective: Objective, inner: Inner
) -> SyntheticSet:
    """T inner steps in theta on one batch of real images (lines 4-9); differentiable in all it is given."""
    draw = Draw(variables, sampling.features(objective.network, variables, near.images), near.labels)
    optimiser = OPTIMISERS[inner.optimiser](inner.rate)
    move = functools.partial(distillation.step, draw=draw, objective=objective, optimiser=optimiser)

    def one(state, _):
        return move(state)[0], None

    one = jax.checkpoint(one) if inner.remat else one
    start = distillation.init(synthetic, optimiser)
    return jax.lax.scan(one, start, None, length=inner.steps, unroll=min(inner.unroll, inner.steps))[0].synthetic


def loss(
    params: dict, rest: dict, synthetic: SyntheticSet, near: Real, judge: Draw, objective: Objective, inner: Inner
) -> tuple[jax.Array, dict]:
    """Loss in the judge's network of what was distilled from `synthetic` in theta, on the real images `near`."""
    return objective(distil({"params": params, **rest}, synthetic, near, objective, inner), judge)


def some(real: Real, count: int, key: jax.Array) -> Real:
    """`count` random real images, with replacement."""
    rows = jax.random.randint(key, (count,), 0, len(real.images))
    return Real(real.images[rows], real.labels[rows])


def step(
    state: State,
    key: jax.Array,
    real: Real,
    classes: Classes,
    *,
    objective: Objective,
    optimiser: optax.GradientTransformation,
    inner: Inner,
    ipc: int,
) -> tuple[State, dict[str, jax.Array]]:
    """One update of theta (lines 3-13)."""
    start_key, near_key, far_key, network_key = jax.random.split(key, 4)
    synthetic = start(real, classes, ipc, objective.factor, start_key)
    near, far = (some(real, inner.batch, one) for one in (near_key, far_key))
    fresh = sampling.sample(objective.network, network_key, real.images.shape[1:])
    judge = Draw(fresh, sampling.features(objective.network, fresh, far.images), far.labels)
    rest = {name: value for name, value in state.variables.items() if name != "params"}
    params = state.variables["params"]
    found = jax.value_and_grad(loss, has_aux=True)(params, rest, synthetic, near, judge, objective, inner)
    (value, parts), gradient = found
    updates, moments = optimiser.update(gradient, state.optimiser, params)
    return State({"params": optax.apply_updates(params, updates), **rest}, moments), {"loss": value, **parts}


def run(
    state: State, key: jax.Array, real: Real, classes: Classes, steps: int, *, start: int = 0, dispatch: int = 1,
    **settings,
) -> Iterator[tuple[int, State, dict]]:  # fmt: skip
    """Drive `step`, whose `settings` these are, to `steps`; yields like `streams.run`."""
    size = loop.steps_per_dispatch(dispatch, steps, start)
    many = loop.dispatcher(
        lambda carry, t, real, classes: step(carry, jax.random.fold_in(key, t), real, classes, **settings), size
    )
    for position in range(start, steps, size):
        state, metrics = many(state, jnp.int32(position), real, classes)
        yield position + size, state, metrics
