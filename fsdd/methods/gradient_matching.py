"""DC (Zhao, Mopuri and Bilen, ICLR 2021) and DSA (Zhao and Bilen, ICML 2021): S moves to where its gradients are T's.

An iteration takes a fresh network. Some times over, S moves down the distance between the gradients to the network's
parameters that each class's synthetic and real images give, and the network then trains on S for some epochs. DSA is
DC with augmentation: in the matching one draw holds for all images of a class, real and synthetic.

A class's term depends on its own images alone. So classes are taken one by one, in a program that all of them share,
and what is kept between iterations is S and its momentum.
"""

import collections
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from fsdd.core import augmentation, compilation, descent, losses
from fsdd.core.synthetic_set import SyntheticSet, decode
from fsdd.methods import class_batches, regression
from fsdd.methods.class_batches import Classes
from fsdd.methods.streams import Real
from fsdd.networks import sampling

# How often S moves in a network, and epochs that the network trains in between, by images per class.
LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
# Added to products of norms, as in DC's code.
_LEAST = 1e-6


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How S is matched, and how networks train on it.

    Attributes:
        network: the architecture of the networks.
        outer: how often S moves in each network.
        inner: epochs that the network trains on S after each of these moves but the last.
        distance: one of `DISTANCES`.
        batch: real images of a class in each move.
        policy: one of `augmentation.POLICIES`, for matching and training.
        mirror: whether it may flip images.
        factor: by which stored images are enlarged before networks see them.
        network_rate: learning rate of the networks' plain gradient descent.
        network_batch: synthetic images that a network sees in a step, at most.
    """

    network: nn.Module
    outer: int = 1
    inner: int = 1
    distance: str = "ours"
    batch: int = 256
    policy: str = "none"
    mirror: bool = True
    factor: int = 1
    network_rate: float = 0.01
    network_batch: int = 256


def loops(ipc: int) -> tuple[int, int]:
    """DC's `outer` and `inner`: those of the nearest number of images per class in `LOOPS` that is not larger."""
    return LOOPS[max(size for size in LOOPS if size <= ipc)]


def _norm(squares: jax.Array) -> jax.Array:
    """Square roots of sums of squares, whose derivative at zero is zero: a gradient's row may be, and no NaN follows.

    So it is for a channel that never fires.
    """
    positive = squares > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1.0)), 0.0)


def _cosine_distance(first: jax.Array, second: jax.Array) -> jax.Array:
    """1 - cosine of columns `[k, o]`: `[o]`."""
    norms = _norm(jnp.sum(first**2, 0)) * _norm(jnp.sum(second**2, 0))
    return 1 - jnp.sum(first * second, 0) / (norms + _LEAST)


def _by_output(first: Any, second: Any) -> jax.Array:
    """Cosine distances, an output channel or unit at a time; biases and norms do not count."""
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    columns = [[leaf.reshape(-1, leaf.shape[-1]) for leaf in pair] for pair in pairs if pair[0].ndim > 1]
    return sum(jnp.sum(_cosine_distance(*pair)) for pair in columns)


def _cosine(first: Any, second: Any) -> jax.Array:
    one, other = (jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(tree)]) for tree in (first, second))
    return _cosine_distance(one[:, None], other[:, None])[0]


# Of two gradients, trees like a network's parameters: by output channel, squared of all entries, the cosine of all.
DISTANCES: dict[str, Callable[[Any, Any], jax.Array]] = {
    "ours": _by_output,
    "mse": losses.squared_distance,
    "cos": _cosine,
}


def gradient(network: nn.Module, variables: sampling.Variables, images: jax.Array, label: jax.Array) -> Any:
    """Gradient to the parameters of the cross-entropy of images `[n, h, w, c]`, all of class `label`."""

    def loss(params):
        logits = network.apply(variables | {"params": params}, images).logits
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, jnp.full(len(images), label)))

    return jax.grad(loss)(variables["params"])


def match(
    variables: sampling.Variables,
    images_s: jax.Array,
    images_t: jax.Array,
    label: jax.Array,
    key: jax.Array,
    recipe: Recipe,
) -> tuple[jax.Array, jax.Array]:
    """The term of one class: its distance, and the gradient of that to its stored synthetic images `[n, h, w, c]`."""

    def gradient_of(images):
        seen = augmentation.augment(key, images, recipe.policy, recipe.mirror, siamese=True)
        return gradient(recipe.network, variables, seen, label)

    target = gradient_of(images_t)

    def distance(images):
        return DISTANCES[recipe.distance](gradient_of(decode(images, recipe.factor)), target)

    return jax.value_and_grad(distance)(images_s)


def learn(
    member: descent.State, synthetic: SyntheticSet, key: jax.Array, recipe: Recipe
) -> tuple[descent.State, descent.Metrics]:
    """One step of a network on S, or on a part of it that `key` draws."""
    rows_key, augment_key = jax.random.split(key)
    seen = synthetic.subsample(rows_key, recipe.network_batch).decoded(recipe.factor)
    images = augmentation.augment(augment_key, seen.images, recipe.policy, recipe.mirror)
    fixed = {"network": recipe.network, "optimiser": _network_optimiser(recipe), "loss": losses.cross_entropy}
    return regression.step(member, images, seen.labels, **fixed)


def _network_optimiser(recipe: Recipe) -> optax.GradientTransformation:
    return optax.sgd(recipe.network_rate)


def move(
    state: descent.State, terms: list[tuple[jax.Array, jax.Array]], *, optimiser: optax.GradientTransformation
) -> tuple[descent.State, jax.Array]:
    """One step of S down the sum of all classes' terms, and that sum."""
    distances, gradients = zip(*terms, strict=True)
    towards = SyntheticSet(jnp.concatenate(gradients), jnp.zeros_like(state.moving.labels))
    return descent.follow(state, towards, optimiser), sum(distances)


class Programs:
    """The compiled programs of an iteration, and what drives them.

    What is drawn depends on the key, the iteration, the move within it, and the class or the step of training.
    """

    def __init__(self, recipe: Recipe, optimiser: optax.GradientTransformation):
        """For a recipe, and what moves S."""
        self._recipe = recipe
        self._fresh = compilation.jit(self._draw, static_argnums=1)
        self._term = compilation.jit(self._match)
        self._move = compilation.jit(compilation.bind(move, optimiser=optimiser), donate_argnums=0)
        self._learning = descent.Loop(self._learn)

    def run(
        self,
        state: descent.State,
        steps: int,
        key: jax.Array,
        real: Real,
        classes: Classes,
        *,
        start: int = 0,
        dispatch: int = 1,
    ) -> Iterator[tuple[int, descent.State, descent.Metrics]]:
        """Iterations from `start` to `steps`; yields as `descent.Loop.run`, an iteration at a time.

        `dispatch` is the most steps of a network in training that one dispatch takes.
        """
        for iteration in range(start, steps):
            own = jax.random.fold_in(key, iteration)
            member, distances = self._fresh(own, real.images.shape[1:]), []
            for turn in range(self._recipe.outer):
                if turn:
                    member = self._train(member, state.moving, own, turn, dispatch)
                seen = state.moving.images, real, classes
                terms = [self._term(member, *seen, own, turn, label) for label in range(len(classes))]
                state, distance = self._move(state, terms)
                distances.append(distance)
            yield iteration + 1, state, {"loss": jnp.mean(jnp.stack(distances), keepdims=True)}

    def _train(self, member, synthetic, key, turn, dispatch):
        """The network after so many epochs on S."""
        steps = self._recipe.inner * math.ceil(len(synthetic) / self._recipe.network_batch)
        taken = self._learning.run(member, steps, synthetic, key, turn, dispatch=dispatch)
        return collections.deque(taken, maxlen=1).pop()[1]

    def _draw(self, key, image_shape):
        variables = sampling.sample(self._recipe.network, fold_in(key, 0), image_shape)
        return regression.init(variables, _network_optimiser(self._recipe))

    def _match(self, member, images, real, classes, key, turn, label):
        rows_key, augment_key = jax.random.split(fold_in(key, 1, turn, label))
        own = jax.lax.dynamic_index_in_dim(images.reshape(len(classes), -1, *images.shape[1:]), label, keepdims=False)
        rows = class_batches.draw(class_batches.of_class(classes, label), self._recipe.batch, rows_key)[0]
        return match(regression.variables(member), own, real.images[rows], label, augment_key, self._recipe)

    def _learn(self, member, step, synthetic, key, turn):
        return learn(member, synthetic, fold_in(key, 2, turn, step), self._recipe)


@functools.lru_cache(8)
def build_programs(recipe: Recipe, optimiser: optax.GradientTransformation) -> Programs:
    """The programs of a recipe and what moves S, the same for equal ones."""
    return Programs(recipe, optimiser)


def fold_in(key: jax.Array, *numbers: int | jax.Array) -> jax.Array:
    """A key of its own for some numbers in turn: an iteration's move, say, and the class in it."""
    return functools.reduce(jax.random.fold_in, numbers, key)
