"""What every accuracy means: fresh networks trained on a synthetic set, scored on the whole test split.

Accuracy is the last step's. Networks train one after another or several at once, spread over the devices of the host
and under `vmap` on each; the same keys give the same networks, batches and augmentations either way.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fsdd.core import augmentation, chunks, compilation, descent, losses, mesh
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.methods import optimisers, regression
from fsdd.networks import sampling

# FRePo's table of lengths by number of synthetic images; between its entries we interpolate in logarithms.
STEPS = {10: 1_000, 100: 2_000, 400: 5_000, 500: 5_000, 1_000: 10_000, 2_000: 40_000, 5_000: 40_000}
LOSSES = ("squared", "cross_entropy")
SCHEDULES = ("warmup_cosine", "warmup_times_cosine", "drop", "two_drops", "constant")
OPTIMISERS = (*optimisers.OPTIMISERS, "sgd")
MOMENTUM = 0.9
# What FRePo's table counts: steps in its JAX code, epochs in its PyTorch code.
LENGTHS = ("steps", "epochs")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained on a synthetic set.

    Attributes:
        optimiser: one of `OPTIMISERS`; "sgd" has `MOMENTUM`.
        rate: peak learning rate.
        weight_decay: decoupled decay for "adamw", for "sgd" a part of the gradient.
        schedule: one of `SCHEDULES`.
        policy: one of `augmentation.POLICIES`.
        mean_over_classes: whether the squared error is averaged over classes (FRePo's PyTorch code) or summed and
            halved (its JAX code).
        batch: synthetic images a step, at most.
        steps: 0 takes as many as `epochs` are.
        mirror: whether the policy may flip images.
        loss: one of `LOSSES`; for cross-entropy a row's class is the one whose label is highest.
        length: one of `LENGTHS`.
        epochs: 0 takes FRePo's `length`.
        cutmix: the probability that images of a step are mixed, after they have been augmented.
    """

    optimiser: str = "adamw"
    rate: float = 3e-4
    weight_decay: float = 5e-4
    schedule: str = "warmup_times_cosine"
    policy: str = "dsa"
    mean_over_classes: bool = True
    batch: int = 500
    steps: int = 0
    mirror: bool = True
    loss: str = "squared"
    length: str = "epochs"
    epochs: int = 0
    cutmix: float = 0.0

    @property
    def loss_function(self) -> Callable[[jax.Array, jax.Array], jax.Array]:
        """Of logits and labels, both `[n, classes]`."""
        squared = losses.mean_squared_error if self.mean_over_classes else losses.half_squared_error
        return losses.cross_entropy if self.loss == "cross_entropy" else squared


def default_length(images: int) -> int:
    """FRePo's number of steps or epochs for a synthetic set of so many images, interpolated in its table."""
    sizes, steps = np.log(list(STEPS)), np.log(list(STEPS.values()))
    return round(float(np.exp(np.interp(np.log(images), sizes, steps))))


def steps_of(recipe: Recipe, images: int) -> int:
    """Training steps of a recipe for a synthetic set of so many images.

    An epoch is as many batches as the set fills. (Those of the codes are of a random order of the set; here each is
    drawn anew.) FRePo's PyTorch code takes one epoch more than its table says.
    """
    if recipe.steps or (recipe.length == "steps" and not recipe.epochs):
        return recipe.steps or default_length(images)
    return (recipe.epochs or default_length(images) + 1) * epoch_steps(recipe, images)


def epoch_steps(recipe: Recipe, images: int) -> int:
    """Batches that a set of so many images fills."""
    return math.ceil(images / recipe.batch)


def rate_schedule(recipe: Recipe, steps: int, epoch: int = 1) -> optax.Schedule:
    """The learning rate at each of so many steps, where an epoch has so many.

    "warmup_cosine": linear from 0 over 500 steps (a tenth of runs shorter than 1,000), then cosine to 1%.
    "warmup_times_cosine": the product of a linear warm-up from 1% over the first tenth and a cosine to 1% over all.
    "drop": a tenth from `drop_step` on.
    "two_drops": a fifth after two thirds of the epochs, and a fifth of that after five sixths, as in IDC's code.
    "constant": the same.
    """
    if recipe.schedule == "two_drops":
        epochs = steps // epoch
        return optax.piecewise_constant_schedule(recipe.rate, {part * epochs // 6 * epoch: 0.2 for part in (4, 5)})
    if recipe.schedule == "constant":
        return optax.constant_schedule(recipe.rate)
    if recipe.schedule == "drop":
        return optax.piecewise_constant_schedule(recipe.rate, {drop_step(steps, epoch): 0.1})
    if recipe.schedule == "warmup_cosine":
        warmup = 500 if steps >= 1_000 else steps // 10
        return optax.warmup_cosine_decay_schedule(0.0, recipe.rate, warmup, steps, 0.01 * recipe.rate)
    warmup = optax.linear_schedule(0.01, 1.0, max(steps // 10, 1))
    cosine = optimisers.cosine(recipe.rate, steps, 0.01)
    return lambda step: warmup(step) * cosine(step)


def drop_step(steps: int, epoch: int) -> int:
    """The first step at the lower rate of "drop": DC's code trains for E + 1 epochs, E // 2 + 2 of them before it."""
    return ((steps // epoch - 1) // 2 + 2) * epoch


def build_optimiser(recipe: Recipe, steps: int, epoch: int = 1) -> optax.GradientTransformation:
    """What moves a network in so many steps, where an epoch has so many."""
    schedule = rate_schedule(recipe, steps, epoch)
    if recipe.optimiser != "sgd":
        options = {"weight_decay": recipe.weight_decay} if recipe.optimiser == "adamw" else {}
        return optimisers.build(recipe.optimiser, schedule, **options)
    # DC's code makes its optimiser anew where the rate drops: momentum starts again.
    again = drop_step(steps, epoch) if recipe.schedule == "drop" else -1
    return optax.chain(
        optax.add_decayed_weights(recipe.weight_decay),
        optax.inject_hyperparams(optax.trace)(decay=lambda step: jnp.where(step == again, 0.0, MOMENTUM)),
        optax.scale_by_learning_rate(schedule),
    )


class Programs(NamedTuple):
    """The compiled programs of training and scoring, shared by all networks and sets of one kind.

    Attributes:
        init: keys `[k]` to fresh networks in training, `[k, ...]` in every leaf.
        loop: training steps; their constants are training keys `[k]` and the synthetic set.
    """

    init: Callable[[jax.Array], descent.State]
    loop: descent.Loop


@functools.cache
def programs(network: nn.Module, recipe: Recipe, images: int, image_shape: tuple[int, int, int]) -> Programs:
    """The programs of training a network by a recipe on sets of so many images of shape `(h, w, c)`.

    They are made once: sets of one size, and networks that differ by their key alone, share them.
    """
    optimiser = build_optimiser(recipe, steps_of(recipe, images), epoch_steps(recipe, images))

    def start(key):
        return regression.init(sampling.sample(network, jax.random.fold_in(key, 0), image_shape), optimiser)

    def one(state, index, key, synthetic):
        batch_key, augment_key = jax.random.split(jax.random.fold_in(key, index))
        seen = synthetic.subsample(batch_key, recipe.batch)
        images = augmentation.augment(augment_key, seen.images, recipe.policy, recipe.mirror)
        loss = recipe.loss_function
        if recipe.cutmix:
            mix_key = jax.random.fold_in(augment_key, 1)
            images, partners, share = augmentation.cutmix(mix_key, images, recipe.cutmix)
            loss = losses.mixed(loss, partners, share)
        return regression.step(state, images, seen.labels, network=network, optimiser=optimiser, loss=loss)

    def all_at_once(states, index, keys, synthetic):
        step = _map_over_devices(lambda state, key, index, synthetic: one(state, index, key, synthetic), lanes=2)
        states, metrics = step(states, keys, index, synthetic)
        return states, jax.tree.map(jnp.mean, metrics)

    return Programs(compilation.jit(_map_over_devices(start)), descent.Loop(all_at_once))


def _programs_for(network: nn.Module, recipe: Recipe, synthetic: SyntheticSet) -> Programs:
    return programs(network, recipe, len(synthetic), synthetic.images.shape[1:])


def init(network: nn.Module, recipe: Recipe, synthetic: SyntheticSet, keys: jax.Array) -> descent.State:
    """Fresh networks, one a key `[k]`, as `regression.init`; every leaf has a leading `[k]`."""
    return _programs_for(network, recipe, synthetic).init(keys)


def variables(state: descent.State) -> sampling.Variables:
    """The networks' variables, `[k, ...]` in every leaf."""
    return regression.variables(state)


def run(
    network: nn.Module,
    recipe: Recipe,
    synthetic: SyntheticSet,
    keys: jax.Array,
    state: descent.State,
    *,
    start: int = 0,
    dispatch: int = 1,
) -> Iterator[tuple[int, descent.State, descent.Metrics]]:
    """Train the networks of `init` on a synthetic set, all at once.

    Args:
        network: the architecture.
        recipe: how to train.
        synthetic: the set; its labels are the regression targets.
        keys: `[k]`; each determines a network's batches and augmentations.
        state: where to begin; donated.
        start: the step that `state` has reached.
        dispatch: the most steps per dispatch.

    Yields:
        `(steps done, state, metrics)`, as `descent.Loop.run`.
    """
    training_keys = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
    loop, steps = _programs_for(network, recipe, synthetic).loop, steps_of(recipe, len(synthetic))
    return loop.run(state, steps, training_keys, synthetic, start=start, dispatch=dispatch)


def train(
    network: nn.Module,
    recipe: Recipe,
    synthetic: SyntheticSet,
    keys: jax.Array,
    dispatch: int = 1,
    watch: Callable[[int], object] = lambda _: None,
) -> descent.State:
    """`init` and all of `run`: the networks after their last step; `watch` is told of so many more steps."""
    last, before = init(network, recipe, synthetic, keys), 0
    for position, state, metrics in run(network, recipe, synthetic, keys, last, dispatch=dispatch):
        # Waiting keeps a long queue of steps from piling up.
        jax.block_until_ready(metrics)
        watch(position - before)
        last, before = state, position
    return last


def _map_over_devices(function: Callable, lanes: int = 1) -> Callable:
    """`vmap` over the first arguments, so many, spread over as many of the host's devices as divide their length.

    A device with a single element is given it as it is: XLA is slow at convolutions with a batch of kernels.
    """

    def local(*arguments):
        own, shared = arguments[:lanes], arguments[lanes:]
        if len(jax.tree.leaves(own)[0]) > 1:
            return jax.vmap(lambda *lane: function(*lane, *shared))(*own)
        single = function(*jax.tree.map(lambda leaf: leaf[0], own), *shared)
        return jax.tree.map(lambda leaf: leaf[None], single)

    def mapped(*arguments):
        spread = mesh.build_local_mesh(len(jax.tree.leaves(arguments[0])[0]))
        return mesh.map_lanes(local, spread, lanes)(*arguments)

    return mapped


@functools.cache
def classifier(network: nn.Module) -> Callable[[sampling.Variables, jax.Array], jax.Array]:
    """`(variables [k, ...], images [n, h, w, c]) -> classes [k, n]`, compiled once for each network."""

    @compilation.jit
    def classify(variables, images):
        def one(variables, images):
            return jnp.argmax(network.apply(variables, images).logits, -1)

        return _map_over_devices(one)(variables, images)

    return classify


def score(
    network: nn.Module,
    variables: sampling.Variables,
    images: np.ndarray,
    classes: np.ndarray,
    *,
    chunk: int = 250,
    watch: Callable[[int], object] = lambda _: None,
) -> np.ndarray:
    """Test accuracy of each network, float64 `[k]`: the share of images that get their classes, int `[n]`."""
    predictions = classify(network, variables, images, chunk=chunk, watch=watch)
    return np.mean(predictions == np.asarray(classes), axis=1)


def accuracy_by_class(predictions: np.ndarray, classes: np.ndarray, num_classes: int) -> np.ndarray:
    """Shares of each class's images that are classified right, `[k, n]`, `[n]` -> float64 `[k, num_classes]`.

    NaN for a class without images. The mean over the others is called balanced accuracy: a rare class counts as much
    as a frequent one.
    """
    right, columns = predictions == classes, np.arange(num_classes)
    counts = np.bincount(classes, minlength=num_classes)
    with np.errstate(invalid="ignore"):
        return np.stack([(right & (classes == column)).sum(1) for column in columns], axis=1) / counts


def classify(
    network: nn.Module,
    variables: sampling.Variables,
    images: np.ndarray,
    *,
    chunk: int = 250,
    watch: Callable[[int], object] = lambda _: None,
) -> np.ndarray:
    """The class that each network gives each image.

    Args:
        network: the architecture.
        variables: `[k, ...]` in every leaf.
        images: whitened `[n, h, w, c]`, on the host or on the device.
        chunk: images per dispatch.
        watch: is told of so many more images whenever some have been classified.

    Returns:
        int `[k, n]`.
    """

    program, done = classifier(network), 0

    def tell(now: int) -> None:
        nonlocal done
        watch(now - done)
        done = now

    predictions = chunks.map_chunks(lambda some: program(variables, some).T, images, chunk, tell)
    watch(len(images) - done)
    return np.asarray(predictions).T
