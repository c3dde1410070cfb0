"""The stage `refine`: S moves over many networks, each used a few times (`Refine`; `Baseline` from real images)."""

from fsdd.config import values
from fsdd.config.fields import (
    BUDGETS,
    OPTIMISERS,
    ByBudget,
    Field,
    by_protocol,
    schedule_fields,
    stream_fields,
)
from fsdd.config.registry import Stage, count_stream_steps, stream_passes

# 32 networks in turn, 32 uses each: measured in experiments/results/refine.json. Budgets are counted: a network costs a
# pass of each of its real images, and each use four passes of the synthetic set and its mirror images.
_NETWORKS = ByBudget(
    32,
    {
        "fast": {1: 25, 4: 21, 10: 12, 50: 7},
        "default": {1: 125, 4: 105, 10: 64, 50: 32},
        "long": {1: 750, 4: 640, 10: 400, 50: 200},
    },
)
_USES = ByBudget(32, {budget: {1: 8, 4: 4, 50: 2} for budget in BUDGETS})
# LAMB's from real images on, Adam's in the protocol of FRePo's PyTorch code: experiments/results/recipes.json.
_RATE = ByBudget(3e-3, {budget: {1: by_protocol(frepo_torch=3e-3, frepo_jax=2e-2)} for budget in BUDGETS})


def _run(context, sets):
    from fsdd.distilling import moves

    return moves.run_each(context, STAGE.name, sets, _begin)


def _begin(context, ipc, before):
    import jax

    from fsdd.distilling import moves

    stream = moves.build_stream(context, STAGE.name)
    return moves.move_images(context, STAGE.name, before, stream, jax.random.fold_in(context.key(STAGE.name), 0))


STAGE = Stage(
    name="refine",
    summary="moves the images over many networks, each used a few times",
    title="refined",
    fields=stream_fields(_NETWORKS, _USES, group=0, real_images=1024)
    | {
        "optimiser": Field(
            by_protocol(frepo_torch="adam", frepo_jax="lamb"),
            values.one_of(*OPTIMISERS),
            "Optimiser of images and labels.",
        )
    }
    | schedule_fields(_RATE, 0.1),
    steps=count_stream_steps,
    passes=lambda config, images, real: stream_passes(config, "refine", images, real, times=len(images)),
    run=_run,
    side_by_side=True,
)
