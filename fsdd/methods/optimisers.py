"""The optimisers of everything that moves, from optax.

Equal ones are one object, so that programs of equal steps can be shared.
"""

import functools
import math

import jax
import jax.numpy as jnp
import optax

from fsdd.core.synthetic_set import SyntheticSet

OPTIMISERS = {"adam": optax.adam, "adamw": optax.adamw, "lamb": optax.lamb}


@functools.cache
def cosine(rate: float, steps: int, final: float = 0.1, warmup: float = 0.0) -> optax.Schedule:
    """From `rate` down to `final * rate` over `steps`, after a linear rise over the first `warmup` share of them.

    FRePo schedules the synthetic set so, without a warm-up. A translator needs one: Adam's first steps move all of its
    weights alike, and what they do to the images adds up over channels.
    """
    if not warmup or steps < 2:
        return optax.cosine_decay_schedule(rate, max(steps, 1), final)
    rising = min(max(round(warmup * steps), 1), steps - 1)
    return optax.warmup_cosine_decay_schedule(0.0, rate, rising, steps, final * rate)


@functools.cache
def chained_cosine(rate: float, warmup: int, steps: int, final: float = 0.01) -> optax.Schedule:
    """A linear rise from `final` of the rate over `warmup` steps, chained with a cosine to as much of it over `steps`.

    As PyTorch chains `LinearLR` and `CosineAnnealingLR`: each step, the one and then the other scale the rate that they
    find, the cosine only what of it lies above its end. It is their product where the rise is over before the cosine
    falls, and more than that otherwise. After `steps` the rate stays.
    """
    end, rates = final * rate, [final * rate]
    for step in range(1, steps + 1):
        risen = rates[-1] * _rise(step, warmup, final) / _rise(step - 1, warmup, final)
        falls = (1 + math.cos(math.pi * step / steps)) / (1 + math.cos(math.pi * (step - 1) / steps))
        rates.append(end + falls * (risen - end))
    return lambda step: jnp.asarray(rates, jnp.float32)[jnp.minimum(step, steps)]


def _rise(step: int, warmup: int, start: float) -> float:
    return start + (1 - start) * min(step / warmup, 1)


@functools.cache
def build(name: str, schedule: optax.ScalarOrSchedule, **options) -> optax.GradientTransformation:
    """One of `OPTIMISERS` at a rate or schedule; options are optax's own."""
    return OPTIMISERS[name](schedule, **options)


@functools.cache
def build_sgd(rate: float, momentum: float) -> optax.GradientTransformation:
    """Gradient descent with momentum, as the rivals move images."""
    return optax.sgd(rate, momentum)


@functools.cache
def hold_labels(moving: optax.GradientTransformation) -> optax.GradientTransformation:
    """Moves the images of a `SyntheticSet` and leaves its labels as they are."""
    labels = SyntheticSet(images="images", labels="labels")
    return optax.partition({"images": moving, "labels": optax.set_to_zero()}, labels)


def keep_positive() -> optax.GradientTransformation:
    """Multiplies positive numbers x by exp(u / x) where u was to be added: the same to first order, never 0 or less."""
    return optax.stateless(
        lambda updates, numbers: jax.tree.map(lambda update, x: x * jnp.expm1(update / x), updates, numbers)
    )
