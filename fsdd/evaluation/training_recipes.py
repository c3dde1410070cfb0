"""How networks learn a synthetic set to score it: which layers, for how long, by what, at which rates."""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fsdd.core import krr, losses
from fsdd.methods import optimisers

# FRePo's table of lengths by number of synthetic images; between its entries we interpolate in logarithms.
STEPS = {10: 1_000, 100: 2_000, 400: 5_000, 500: 5_000, 1_000: 10_000, 2_000: 40_000, 5_000: 40_000}
LOSSES = ("squared", "cross_entropy")
FITS = ("train", "ridge", "ridge_then_train")
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
        fit: one of `FITS`: all layers learn by gradient descent; or the dense layer alone, in closed form; or first
            that and then all.
        ridge: the regulariser of that closed form, relative to the mean of the Gram matrix's diagonal.
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
    fit: str = "train"
    ridge: float = krr.RIDGE

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
    drawn anew.) FRePo's PyTorch code takes one epoch more than its table says. A closed form takes none.
    """
    if recipe.fit == "ridge":
        return 0
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
