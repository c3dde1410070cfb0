"""What training on S makes of a network, as a function of S: steps of gradient descent, and the way back through them.

MTT, DD and RTP move S, and what else a method learns with it, down a loss of the network after N steps on S. The steps
are taken a few in a dispatch, as all others (`fsdd.core.descent`). The network before each dispatch is kept, and what
happened within a dispatch is computed again on the way back, step by step. Memory grows with N by a network alone, and
with the images of S by the graph of one step. A program is compiled for each number of steps in a dispatch, whatever N.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from fsdd.core import augmentation, compilation, descent, losses
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.methods import regression
from fsdd.networks import sampling

# `(moving, member, index, key) -> member`: a step of a network in training, differentiable in what moves.
Step = Callable[[Any, descent.State, jax.Array, jax.Array], descent.State]
# `(member, *target) -> loss`: how far the network is after the last step from where it should be.
Judge = Callable[..., jax.Array]


@dataclasses.dataclass(frozen=True)
class Learning:
    """How a network learns S, what its steps share.

    Attributes:
        network: the architecture.
        momentum: of its gradient descent.
        policy: one of `augmentation.POLICIES`, parameters drawn for each image.
        mirror: whether it may flip images.
        factor: by which stored images are enlarged before networks see them.
    """

    network: nn.Module
    momentum: float = 0.0
    policy: str = "none"
    mirror: bool = True
    factor: int = 1

    def begin(self, variables: sampling.Variables) -> descent.State:
        """A network before its first step."""
        return regression.init(variables, self._optimiser(1.0))

    def step(self, member: descent.State, seen: SyntheticSet, rate: jax.Array, key: jax.Array) -> descent.State:
        """One step down the cross-entropy of stored images and their classes."""
        seen = seen.decoded(self.factor)
        images = augmentation.augment(key, seen.images, self.policy, self.mirror)
        fixed = {"network": self.network, "optimiser": self._optimiser(rate), "loss": losses.cross_entropy}
        return regression.step(member, images, seen.labels, **fixed)[0]

    def cross_entropy(self, member: descent.State, images: jax.Array, labels: jax.Array) -> jax.Array:
        """Of real images `[r, h, w, c]` and the classes for which labels `[r, classes]` are highest."""
        variables = regression.variables(member)
        output, _ = self.network.apply(variables, images, train=True, mutable=list(member.rest))
        return losses.cross_entropy(output.logits, labels)

    def _optimiser(self, rate):
        return optax.sgd(rate, self.momentum or None)


class Unrolling:
    """The compiled programs of a loss after so many steps, and of its gradient."""

    def __init__(self, step: Step, judge: Judge):
        """Of one step, and of the loss after the last."""
        self._step = step
        self._ahead = compilation.jit(self._take, static_argnums=0)
        self._behind = compilation.jit(self._return, static_argnums=0)
        self._judge = compilation.jit(jax.value_and_grad(judge))
        self._add = compilation.jit(lambda first, second: jax.tree.map(jnp.add, first, second))

    def value_and_grad(
        self, moving: Any, member: descent.State, steps: int, key: jax.Array, target: tuple, dispatch: int = 1
    ) -> tuple[jax.Array, Any, descent.State]:
        """The loss, its gradient to what moves, and the network after the last step.

        Args:
            moving: what the steps depend on, a tree of float arrays.
            member: the network before the first step.
            steps: N.
            key: what the steps draw from.
            target: what `judge` is given beside the network.
            dispatch: the most steps in a dispatch.
        """
        size = descent.steps_per_dispatch(dispatch, steps)
        firsts, members = [jnp.int32(first) for first in range(0, steps, size)], [member]
        for first in firsts:
            members.append(self._ahead(size, moving, members[-1], first, key))
        last = members.pop()
        loss, adjoint = self._judge(last, *target)
        gradient = None
        for first in reversed(firsts):
            adjoint, part = self._behind(size, adjoint, moving, members.pop(), first, key)
            gradient = part if gradient is None else self._add(gradient, part)
        return loss, gradient, last

    def _take(self, size, moving, member, first, key):
        @jax.checkpoint
        def one(member, index, moving, key):
            return self._step(moving, member, index, key), {}

        return descent.take(one, size, member, first, moving, key)[0]

    def _return(self, size, adjoint, moving, member, first, key):
        back = jax.vjp(lambda member, moving: self._take(size, moving, member, first, key), member, moving)[1]
        return back(adjoint)


class Programs:
    """An iteration of a method on `Unrolling`, and what drives it.

    What an iteration draws depends on the key and its number.
    """

    def __init__(self, unrolling: Unrolling, inner: int, optimiser: optax.GradientTransformation):
        """So many inner steps; `optimiser` is of what moves."""
        self._unrolling, self._inner = unrolling, inner
        self._follow = compilation.jit(compilation.bind(descent.follow, optimiser=optimiser), donate_argnums=0)

    def run(
        self,
        state: descent.State,
        steps: int,
        key: jax.Array,
        draw: Callable[[int], tuple[descent.State, tuple]],
        *,
        start: int = 0,
        dispatch: int = 1,
    ) -> Iterator[tuple[int, descent.State, descent.Metrics]]:
        """Iterations from `start` to `steps`; yields as `descent.Loop.run`, an iteration at a time.

        Args:
            state: of what moves; donated.
            steps: where to end.
            key: what the inner steps draw from.
            draw: the network before its first step and what it is judged by, of an iteration.
            start: the iteration that `state` has reached.
            dispatch: the most inner steps in a dispatch.
        """
        for iteration in range(start, steps):
            member, target = draw(iteration)
            own = jax.random.fold_in(key, iteration)
            given = state.moving, member, self._inner, own, target, dispatch
            loss, gradient, _ = self._unrolling.value_and_grad(*given)
            state = self._follow(state, gradient)
            yield iteration + 1, state, {"loss": loss[None]}
