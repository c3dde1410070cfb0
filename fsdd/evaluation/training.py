"""What every accuracy means: fresh networks trained on a synthetic set, scored on the whole test split.

Accuracy is the last step's. Networks train one after another or several at once under `vmap`; the same keys give the
same networks, batches and augmentations either way.
"""

import dataclasses
from collections.abc import Callable, Iterator

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fsdd.core import augment, compiling, loop, losses
from fsdd.core.synthetic import SyntheticSet
from fsdd.methods import optimisers, regression
from fsdd.networks import sampling

# FRePo's table of steps by number of synthetic images; between its entries we interpolate in logarithms.
STEPS = {10: 1_000, 100: 2_000, 400: 5_000, 500: 5_000, 1_000: 10_000, 2_000: 40_000, 5_000: 40_000}
LOSSES = ("squared", "cross_entropy")
SCHEDULES = ("warmup_cosine", "warmup_times_cosine")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained on a synthetic set.

    Attributes:
        optimiser: name in `optimisers.OPTIMISERS`.
        rate: peak learning rate.
        weight_decay: decoupled decay, for "adamw".
        schedule: one of `SCHEDULES`.
        policy: one of `augment.POLICIES`.
        mean_over_classes: whether the squared error is averaged over classes (FRePo's PyTorch code) or summed and
            halved (its JAX code).
        batch: synthetic images a step, at most.
        steps: 0 interpolates `STEPS`.
        mirror: whether the policy may flip images.
        loss: one of `LOSSES`; for cross-entropy a row's class is the one whose label is highest.
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

    @property
    def loss_function(self) -> Callable[[jax.Array, jax.Array], jax.Array]:
        """Of logits and labels, both `[n, classes]`."""
        squared = losses.mean_squared_error if self.mean_over_classes else losses.half_squared_error
        return losses.cross_entropy if self.loss == "cross_entropy" else squared


def default_steps(images: int) -> int:
    """Training steps for a synthetic set of so many images, interpolated in FRePo's table."""
    sizes, steps = np.log(list(STEPS)), np.log(list(STEPS.values()))
    return round(float(np.exp(np.interp(np.log(images), sizes, steps))))


def steps_of(recipe: Recipe, images: int) -> int:
    """Training steps of a recipe for a synthetic set of so many images."""
    return recipe.steps or default_steps(images)


def rate_schedule(recipe: Recipe, steps: int) -> optax.Schedule:
    """The learning rate at each step.

    "warmup_cosine": linear from 0 over 500 steps (a tenth of runs shorter than 1,000), then cosine to 1%.
    "warmup_times_cosine": the product of a linear warm-up from 1% over the first tenth and a cosine to 1% over all.
    """
    if recipe.schedule == "warmup_cosine":
        warmup = 500 if steps >= 1_000 else steps // 10
        return optax.warmup_cosine_decay_schedule(0.0, recipe.rate, warmup, steps, 0.01 * recipe.rate)
    warmup = optax.linear_schedule(0.01, 1.0, max(steps // 10, 1))
    cosine = optimisers.cosine(recipe.rate, steps, 0.01)
    return lambda step: warmup(step) * cosine(step)


def _step(network: nn.Module, recipe: Recipe, optimiser: optax.GradientTransformation) -> Callable:
    """One training step of one network: `(state, index, key, synthetic) -> (state, loss)`."""

    def step(state, index, key, synthetic):
        batch_key, augment_key = jax.random.split(jax.random.fold_in(key, index))
        seen = synthetic.some(batch_key, recipe.batch)
        images = augment.augment(augment_key, seen.images, recipe.policy, recipe.mirror)
        loss = recipe.loss_function
        return regression.step(state, images, seen.labels, network=network, optimiser=optimiser, loss=loss)

    return step


def init(network: nn.Module, recipe: Recipe, synthetic: SyntheticSet, keys: jax.Array) -> regression.State:
    """Fresh networks, one a key `[k]`; every leaf has a leading `[k]`."""
    optimiser = _optimiser(recipe, len(synthetic))

    def start(key):
        variables = sampling.sample(network, jax.random.fold_in(key, 0), synthetic.images.shape[1:])
        return regression.init(variables, optimiser)

    return compiling.jit(_map(start))(keys)


def run(
    network: nn.Module,
    recipe: Recipe,
    synthetic: SyntheticSet,
    keys: jax.Array,
    state: regression.State,
    *,
    start: int = 0,
    dispatch: int = 1,
) -> Iterator[tuple[int, regression.State, dict]]:
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
        `(steps done, state, metrics)`; the state is donated to the next dispatch.
    """
    steps = steps_of(recipe, len(synthetic))
    one = _step(network, recipe, _optimiser(recipe, len(synthetic)))

    def all_at_once(states, index, keys, synthetic):
        states, values = _map(lambda state, key: one(state, index, key, synthetic))(states, keys)
        return states, {"loss": jnp.mean(values)}

    training_keys = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
    size = loop.steps_per_dispatch(dispatch, steps, start)
    many = loop.dispatcher(all_at_once, size)
    for position in range(start, steps, size):
        state, metrics = many(state, jnp.int32(position), training_keys, synthetic)
        yield position + size, state, metrics


def train(
    network: nn.Module,
    recipe: Recipe,
    synthetic: SyntheticSet,
    keys: jax.Array,
    dispatch: int = 1,
    watch: Callable[[int], object] = lambda _: None,
) -> regression.State:
    """`init` and all of `run`: the networks after their last step; `watch` is told of so many more steps."""
    last, before = init(network, recipe, synthetic, keys), 0
    for position, state, metrics in run(network, recipe, synthetic, keys, last, dispatch=dispatch):
        # Waiting keeps a long queue of steps from piling up.
        jax.block_until_ready(metrics)
        watch(position - before)
        last, before = state, position
    return last


def _optimiser(recipe: Recipe, images: int) -> optax.GradientTransformation:
    options = {"weight_decay": recipe.weight_decay} if recipe.optimiser == "adamw" else {}
    schedule = rate_schedule(recipe, steps_of(recipe, images))
    return optimisers.build(recipe.optimiser, schedule, **options)


def _map(function: Callable) -> Callable:
    """`vmap`, but a single element is passed as it is: XLA on CPU is slow at convolutions with a batch of kernels."""

    def mapped(*arguments):
        if len(jax.tree.leaves(arguments)[0]) > 1:
            return jax.vmap(function)(*arguments)
        single = function(*jax.tree.map(lambda leaf: leaf[0], arguments))
        return jax.tree.map(lambda leaf: leaf[None], single)

    return mapped


def score(
    network: nn.Module,
    variables: sampling.Variables,
    images: np.ndarray,
    classes: np.ndarray,
    *,
    chunk: int = 250,
    watch: Callable[[int], object] = lambda _: None,
) -> np.ndarray:
    """Test accuracy of each network.

    Args:
        network: the architecture.
        variables: `[k, ...]` in every leaf.
        images: whitened `[n, h, w, c]`.
        classes: int `[n]`.
        chunk: images per dispatch.
        watch: is told of so many more images whenever some have been classified.

    Returns:
        float64 `[k]`, shares of images classified right.
    """

    @compiling.jit
    def predict(variables, batch):
        return _map(lambda one: jnp.argmax(network.apply(one, batch).logits, -1))(variables)

    chunks = []
    for at in range(0, len(images), chunk):
        batch = jnp.asarray(images[at : at + chunk])
        short = chunk - len(batch)
        # Padding keeps one compiled shape; predictions of the padding are cut off.
        chunks.append(predict(variables, jnp.pad(batch, ((0, short), (0, 0), (0, 0), (0, 0))))[:, : chunk - short])
    predictions = []
    for part in chunks:
        predictions.append(np.asarray(part))
        watch(part.shape[1])
    predictions = np.concatenate(predictions, axis=1)
    return np.mean(predictions == np.asarray(classes), axis=1)
