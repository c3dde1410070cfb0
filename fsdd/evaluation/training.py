"""What every accuracy means: fresh networks that learn a synthetic set, scored on the whole test split.

Accuracy is the last step's. A recipe may fit the dense layer in closed form, before all layers train or in place of
that: sets that were distilled in random networks are worth most so. Networks train one after another or several at
once, spread over the devices of the host and under `vmap` on each; the same keys give the same networks, batches and
augmentations either way.
"""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fsdd.core import augmentation, chunks, compilation, descent, losses, mesh
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.errors import UserError
from fsdd.evaluation.training_recipes import Recipe, build_optimiser, epoch_steps, steps_of
from fsdd.methods import regression
from fsdd.networks import sampling


class Programs(NamedTuple):
    """The compiled programs of training and scoring, shared by all networks and sets of one kind.

    Attributes:
        init: `(keys [k], synthetic)` to networks before their first step, `[k, ...]` in every leaf.
        loop: training steps; their constants are training keys `[k]` and the synthetic set.
    """

    init: Callable[[jax.Array, SyntheticSet], descent.State]
    loop: descent.Loop


@functools.cache
def programs(network: nn.Module, recipe: Recipe, images: int, image_shape: tuple[int, int, int]) -> Programs:
    """The programs of training a network by a recipe on sets of so many images of shape `(h, w, c)`.

    They are made once: sets of one size, and networks that differ by their key alone, share them.
    """
    # Where nothing trains, what would never takes a step.
    optimiser = build_optimiser(recipe, max(steps_of(recipe, images), 1), epoch_steps(recipe, images))

    def start(key, synthetic):
        drawn = sampling.sample(network, jax.random.fold_in(key, 0), image_shape)
        if recipe.fit != "train":
            seen = synthetic.mirrored() if recipe.mirror else synthetic
            drawn = regression.fit_head(drawn, seen, network=network, ridge=recipe.ridge)
        return regression.init(drawn, optimiser)

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
    """Networks before their first step, one a key `[k]`, as `regression.init`; every leaf has a leading `[k]`."""
    return _programs_for(network, recipe, synthetic).init(keys, synthetic)


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
    """`(variables [k, ...], images [n, h, w, c]) -> classes [k, n]`, compiled once for each network.

    The class is -1 where a logit is no finite number: the largest of such logits would be the first class's.
    """

    @compilation.jit
    def classify(variables, images):
        def one(variables, images):
            logits = network.apply(variables, images).logits
            return jnp.where(jnp.all(jnp.isfinite(logits), -1), jnp.argmax(logits, -1), -1)

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
    """Test accuracy of each network, float64 `[k]`: the share of images that get their classes, int `[n]`.

    Raises:
        UserError: as `classify`.
    """
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

    Raises:
        UserError: a network has no finite answer for an image.
    """

    program, done = classifier(network), 0

    def tell(now: int) -> None:
        nonlocal done
        watch(now - done)
        done = now

    predictions = chunks.map_chunks(lambda some: program(variables, some).T, images, chunk, tell)
    watch(len(images) - done)
    classes = np.asarray(predictions).T
    if lost := int(np.sum(classes < 0, axis=1).max()):
        raise UserError(
            f"a network gives no finite answer for {lost:,} of {len(images):,} images: it diverged, or its set has "
            "nothing to learn from, or they are not finite; lower evaluate.rate, or look at the images"
        )
    return classes
