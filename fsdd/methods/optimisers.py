"""The optimisers of everything that moves, from optax."""

import optax

OPTIMISERS = {"adam": optax.adam, "adamw": optax.adamw, "lamb": optax.lamb}


def cosine(rate: float, steps: int, final: float = 0.1) -> optax.Schedule:
    """From `rate` down to `final * rate` over `steps`, as FRePo schedules the synthetic set."""
    return optax.cosine_decay_schedule(rate, steps, final)


def build(name: str, schedule: optax.ScalarOrSchedule, **options) -> optax.GradientTransformation:
    """One of `OPTIMISERS` at a rate or schedule; options are optax's own."""
    return OPTIMISERS[name](schedule, **options)
