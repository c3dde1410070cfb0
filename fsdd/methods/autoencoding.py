"""A translator learns to reconstruct real images: where the `w AE` row starts."""

from collections.abc import Iterator

import jax
import optax

from fsdd.core import descent, losses
from fsdd.networks.translator import Translator


def init(variables: dict, optimiser: optax.GradientTransformation) -> descent.State:
    """Start from a translator's variables: its parameters move, its running statistics are the rest."""
    return descent.init(variables["params"], optimiser, {"batch_stats": variables["batch_stats"]})


def variables(state: descent.State) -> dict:
    """The translator's variables."""
    return {"params": state.moving, **state.rest}


def step(
    state: descent.State, images: jax.Array, *, translator: Translator, optimiser: optax.GradientTransformation
) -> tuple[descent.State, descent.Metrics]:
    """One update towards G(x) = x on real images `[b, h, w, c]`."""

    def loss(params, rest):
        output, updated = translator.apply({"params": params, **rest}, images, mutable=["batch_stats"])
        flat = (len(images), -1)
        error = losses.squared_error(output.reshape(flat), images.reshape(flat)) / images[0].size
        return error, (updated, {})

    return descent.update(state, loss, optimiser)


def run(
    state: descent.State,
    images: jax.Array,
    key: jax.Array,
    *,
    translator: Translator,
    optimiser: optax.GradientTransformation,
    batch: int,
    steps: int,
    start: int = 0,
    dispatch: int = 1,
) -> Iterator[tuple[int, descent.State, descent.Metrics]]:
    """Drive `step` over random batches of real images `[n, h, w, c]`; yields as `descent.Loop.run`."""

    def on_batch(carry, index, images, key):
        rows = jax.random.randint(jax.random.fold_in(key, index), (batch,), 0, len(images))
        return step(carry, images[rows], translator=translator, optimiser=optimiser)

    return descent.Loop(on_batch).run(state, steps, images, key, start=start, dispatch=dispatch)
