"""The optimisers of everything that moves, from optax."""

import optax

from fsdd.core.synthetic_set import SyntheticSet

OPTIMISERS = {"adam": optax.adam, "adamw": optax.adamw, "lamb": optax.lamb}


def cosine(rate: float, steps: int, final: float = 0.1, warmup: float = 0.0) -> optax.Schedule:
    """From `rate` down to `final * rate` over `steps`, after a linear rise over the first `warmup` share of them.

    FRePo schedules the synthetic set so, without a warm-up. A translator needs one: Adam's first steps move all of its
    weights alike, and what they do to the images adds up over channels.
    """
    if not warmup or steps < 2:
        return optax.cosine_decay_schedule(rate, max(steps, 1), final)
    rising = min(max(round(warmup * steps), 1), steps - 1)
    return optax.warmup_cosine_decay_schedule(0.0, rate, rising, steps, final * rate)


def build(name: str, schedule: optax.ScalarOrSchedule, **options) -> optax.GradientTransformation:
    """One of `OPTIMISERS` at a rate or schedule; options are optax's own."""
    return OPTIMISERS[name](schedule, **options)


def hold_labels(moving: optax.GradientTransformation) -> optax.GradientTransformation:
    """Moves the images of a `SyntheticSet` and leaves its labels as they are."""
    labels = SyntheticSet(images="images", labels="labels")
    return optax.partition({"images": moving, "labels": optax.set_to_zero()}, labels)
