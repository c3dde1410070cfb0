"""The distillation space moves: the bi-level algorithm that unrolls a distillation (Alg. 1).

Each outer step distils a fresh S for T inner steps in the moving network theta, judges it in a random network theta',
and moves theta by the gradient of that loss through all inner steps. Only S and its optimiser's state are kept between
inner steps; what happened within one is computed again on the way back: memory grows with T by their size alone.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fsdd.core import descent
from fsdd.core.synthetic_set import SyntheticSet, encode, initial_labels
from fsdd.methods import class_batches, distillation
from fsdd.methods.class_batches import Classes
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
        unroll: steps written out in one turn of the loop; on CPU all, see `fsdd.core.descent`.
    """

    steps: int = 16
    optimiser: str = "adam"
    rate: float = 0.05
    batch: int = 1024
    remat: bool = True
    unroll: int = 1


def choose_start(real: Real, classes: Classes, ipc: int, factor: int, key: jax.Array) -> SyntheticSet:
    """S as random real images, `ipc` of each class, sorted by class; `factor` is that of `encode`.

    They are different ones, unless a class has fewer: then all of them, and some again.
    """
    chosen = class_batches.draw(classes, ipc, key).reshape(-1)
    labels = jnp.asarray(initial_labels(np.repeat(np.arange(len(classes)), ipc), len(classes)))
    return SyntheticSet(encode(real.images[chosen], factor), labels)


def distil(
    variables: sampling.Variables, synthetic: SyntheticSet, near: Real, objective: Objective, inner: Inner
) -> SyntheticSet:
    """T inner steps in theta on one batch of real images (lines 4-9); differentiable in all it is given."""
    draw = Draw(variables, sampling.features(objective.network, variables, near.images), near.labels)
    optimiser = OPTIMISERS[inner.optimiser](inner.rate)
    move = functools.partial(distillation.step, draws=(draw,), objective=objective, optimiser=optimiser)

    def one(state, _):
        return move(state)[0], None

    one = jax.checkpoint(one) if inner.remat else one
    start = descent.init(synthetic, optimiser)
    return jax.lax.scan(one, start, None, length=inner.steps, unroll=min(inner.unroll, inner.steps))[0].moving


def choose_images(real: Real, count: int, key: jax.Array) -> Real:
    """`count` random real images, with replacement."""
    rows = jax.random.randint(key, (count,), 0, len(real.images))
    return Real(real.images[rows], real.labels[rows])


def step(
    state: descent.State,
    key: jax.Array,
    real: Real,
    classes: Classes,
    *,
    objective: Objective,
    optimiser: optax.GradientTransformation,
    inner: Inner,
    ipc: int,
) -> tuple[descent.State, descent.Metrics]:
    """One update of theta (lines 3-13), a network in training as `regression.init` has it."""
    start_key, near_key, far_key, network_key = jax.random.split(key, 4)
    synthetic = choose_start(real, classes, ipc, objective.factor, start_key)
    near, far = (choose_images(real, inner.batch, one) for one in (near_key, far_key))
    fresh = sampling.sample(objective.network, network_key, real.images.shape[1:])
    judge = Draw(fresh, sampling.features(objective.real_network, fresh, far.images), far.labels)

    def loss(params, rest):
        distilled = distil({"params": params, **rest}, synthetic, near, objective, inner)
        value, parts = objective(distilled, judge)
        return value, (rest, parts)

    return descent.update(state, loss, optimiser)
