"""IDC (Kim et al., ICML 2022): S moves to where its gradients are T's, in networks that are trained on T meanwhile.

A step is a sweep over the classes and then some training of the network on T, never on S. In the sweep S moves right
after each class, down the distance between the gradients to the convolutions' kernels that the class's synthetic and
real images give. One optimiser holds all classes, and the gradient to the others' images is zero: momentum goes on
moving a class's images while the others have their turns. Momentum by class, or one move for all, is another method.

Images are pixels, brought back into [0, 1] when a network begins, and standardised on their way into it.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from fsdd.core import augmentation, compilation, descent, losses
from fsdd.core.synthetic_set import SyntheticSet, decode
from fsdd.methods import class_batches, gradient_matching, regression
from fsdd.methods.class_batches import Classes
from fsdd.methods.streams import Real
from fsdd.networks import sampling

# Of networks in training.
_MOMENTUM = 0.9


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How S is matched, and how networks train on T.

    Attributes:
        network: the architecture of the networks.
        uses: steps that each network serves.
        distance: one of `DISTANCES`.
        batch: real images of a class in each move.
        most: its synthetic images in a move, as networks see them, at most.
        policy: one of `augmentation.POLICIES`; a draw holds for all real and synthetic images of a class.
        mirror: whether it, or that of the training, may flip images.
        factor: by which stored images are enlarged before networks see them.
        updates: steps of the network in training after each sweep.
        network_rate: learning rate of these.
        weight_decay: a part of their gradient.
        network_batch: real images that each sees.
        network_policy: how these are augmented, each on its own.
        cutmix: the probability that they are then mixed.
    """

    network: nn.Module
    uses: int = 100
    distance: str = "mse"
    batch: int = 64
    most: int = 128
    policy: str = "idc_matching"
    mirror: bool = True
    factor: int = 1
    updates: int = 32
    network_rate: float = 0.01
    weight_decay: float = 5e-4
    network_batch: int = 64
    network_policy: str = "idc_training"
    cutmix: float = 0.5


class Given(NamedTuple):
    """What all steps are given.

    Attributes:
        real: the real images, standardised, and their labels.
        classes: which of them are of which class.
        mean: of each channel of pixels, `[c]`.
        std: the deviation of each by which they are standardised, `[c]`.
    """

    real: Real
    classes: Classes
    mean: jax.Array
    std: jax.Array


# Of two lists of kernels' gradients: IDC's for colour images, and the one it has for digits.
DISTANCES: dict[str, Callable[[Any, Any], jax.Array]] = {
    "mse": losses.squared_distance,
    "l1": lambda first, second: sum(jnp.sum(jnp.abs(one - other)) for one, other in zip(first, second, strict=True)),
}


def _kernels(gradient: Any) -> list[jax.Array]:
    """The leaves of convolutions' kernels; biases, norms and the dense layer do not count."""
    return [leaf for leaf in jax.tree.leaves(gradient) if leaf.ndim == 4]


def match(
    variables: sampling.Variables,
    images_s: jax.Array,
    images_t: jax.Array,
    label: jax.Array,
    key: jax.Array,
    recipe: Recipe,
    mean: jax.Array | float = 0.0,
    std: jax.Array | float = 1.0,
) -> tuple[jax.Array, jax.Array]:
    """The term of one class: its distance, and the gradient of that to its stored pixels `[n, h, w, c]`.

    Args:
        variables: of the network.
        images_s: stored pixels, which `mean` and `std` standardise.
        images_t: real images `[r, h', w', c]`, standardised.
        label: the class.
        key: augments both, and draws synthetic images where they are more than `recipe.most`.
        recipe: how they are compared.
        mean: `[c]`.
        std: `[c]`.
    """
    augment_key, rows_key = jax.random.split(key)

    def kernels_of(images):
        seen = augmentation.augment(augment_key, images, recipe.policy, recipe.mirror, siamese=True)
        return _kernels(gradient_matching.gradient(recipe.network, variables, seen, label))

    target, distance_of = kernels_of(images_t), DISTANCES[recipe.distance]

    def distance(images):
        if len(images) > recipe.most:
            images = images[jax.random.permutation(rows_key, len(images))[: recipe.most]]
        found = kernels_of((decode(images, recipe.factor) - mean) / std)
        return distance_of(found, target)

    return jax.value_and_grad(distance)(images_s)


def move(
    state: descent.State, label: jax.Array, gradient: jax.Array, *, optimiser: optax.GradientTransformation
) -> descent.State:
    """S after the turn of one class, given the gradient to its images `[n, h, w, c]`; momentum moves all classes."""
    nothing = jax.tree.map(jnp.zeros_like, state.moving)
    first = (label * len(gradient), 0, 0, 0)
    towards = nothing.replace(images=jax.lax.dynamic_update_slice(nothing.images, gradient, first))
    return descent.follow(state, towards, optimiser)


def learn(
    member: descent.State, images: jax.Array, labels: jax.Array, key: jax.Array, recipe: Recipe
) -> tuple[descent.State, descent.Metrics]:
    """One step of a network on real images `[n, h, w, c]` and labels `[n, C]`, augmented and mixed by `key`."""
    augment_key, mix_key = jax.random.split(key)
    images = augmentation.augment(augment_key, images, recipe.network_policy, recipe.mirror)
    images, partners, share = augmentation.cutmix(mix_key, images, recipe.cutmix)
    loss = losses.mixed(losses.cross_entropy, partners, share)
    fixed = {"network": recipe.network, "optimiser": _network_optimiser(recipe), "loss": loss}
    return regression.step(member, images, labels, **fixed)


def _network_optimiser(recipe: Recipe) -> optax.GradientTransformation:
    return optax.chain(optax.add_decayed_weights(recipe.weight_decay), optax.sgd(recipe.network_rate, _MOMENTUM))


class Programs:
    """The compiled programs of a step, and what drives them.

    The state is that of S, its network in training the rest. What is drawn depends on the key, the step, and the class
    or the step of training.
    """

    def __init__(self, recipe: Recipe, optimiser: optax.GradientTransformation):
        """For a recipe, and what moves S."""
        self._recipe, self._optimiser = recipe, optimiser
        self._fresh = compilation.jit(self._draw, static_argnums=1)
        self._sweeping, self._learning = descent.Loop(self._match), descent.Loop(self._learn)

    def init(self, pixels: SyntheticSet, key: jax.Array, image_shape: tuple[int, int, int]) -> descent.State:
        """The state before the first step, of its own arrays; images `[n, h, w, c]` of the set are pixels."""
        return descent.init(jax.tree.map(jnp.copy, pixels), self._optimiser, self._fresh(key, image_shape))

    def run(
        self, state: descent.State, steps: int, key: jax.Array, given: Given, *, start: int = 0, dispatch: int = 1
    ) -> Iterator[tuple[int, descent.State, descent.Metrics]]:
        """Steps from `start` to `steps`; yields as `descent.Loop.run`, a step at a time.

        `dispatch` is the most classes, or steps of a network in training, that one dispatch takes.
        """
        for step in range(start, steps):
            own = jax.random.fold_in(key, step)
            if step % self._recipe.uses == 0:
                kept = state.moving.replace(images=jnp.clip(state.moving.images, 0, 1))
                state = state.replace(moving=kept, rest=self._fresh(own, given.real.images.shape[1:]))
            state, distances = self._sweep(state, given, own, dispatch)
            taken = self._learning.run(state, self._recipe.updates, given.real, own, dispatch=dispatch)
            state = collections.deque(taken, maxlen=1).pop()[1]
            yield step + 1, state, {"loss": jnp.sum(distances, keepdims=True)}

    def _sweep(self, state, given, key, dispatch):
        """The state after the turns of all classes, and their distances."""
        taken = list(self._sweeping.run(state, len(given.classes), given, key, dispatch=dispatch))
        return taken[-1][1], jnp.concatenate([metrics["distance"] for _, _, metrics in taken])

    def _draw(self, key, image_shape):
        variables = sampling.sample(self._recipe.network, jax.random.fold_in(key, 0), image_shape)
        return regression.init(variables, _network_optimiser(self._recipe))

    def _match(self, state, label, given, key):
        rows_key, seen_key = jax.random.split(gradient_matching.fold_in(key, 1, label))
        count = len(state.moving) // len(given.classes)
        own = jax.lax.dynamic_slice_in_dim(state.moving.images, label * count, count)
        rows = class_batches.draw(class_batches.of_class(given.classes, label), self._recipe.batch, rows_key)[0]
        seen = own, given.real.images[rows], label, seen_key, self._recipe, given.mean, given.std
        distance, gradient = match(regression.variables(state.rest), *seen)
        return move(state, label, gradient, optimiser=self._optimiser), {"distance": distance}

    def _learn(self, state, update, real, key):
        rows_key, seen_key = jax.random.split(gradient_matching.fold_in(key, 2, update))
        # Of so many images hardly any is there twice.
        rows = jax.random.randint(rows_key, (self._recipe.network_batch,), 0, len(real.images))
        member, metrics = learn(state.rest, real.images[rows], real.labels[rows], seen_key, self._recipe)
        return state.replace(rest=member), metrics


@functools.lru_cache(8)
def build_programs(recipe: Recipe, optimiser: optax.GradientTransformation) -> Programs:
    """The programs of a recipe and what moves S, the same for equal ones."""
    return Programs(recipe, optimiser)
