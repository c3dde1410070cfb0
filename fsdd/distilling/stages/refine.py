"""The stage `refine`: S moves over many networks, each used a few times (`Refine`; `Baseline` from real images)."""

from fsdd.config import values
from fsdd.config.fields import OPTIMISERS, Field, by_protocol, schedule_fields, stream_fields
from fsdd.config.registry import Stage, count_stream_steps, stream_passes


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
    # 32 networks in turn, 32 uses each: measured in experiments/results/refine.json.
    fields=stream_fields(networks=32, uses=32, group=0, real_images=1024)
    | {
        "optimiser": Field(
            by_protocol(frepo_torch="adam", frepo_jax="lamb"),
            values.one_of(*OPTIMISERS),
            "Optimiser of images and labels.",
        )
    }
    | schedule_fields(3e-3, 0.1),
    steps=count_stream_steps,
    passes=lambda config, images, real: stream_passes(config, "refine", images, real, times=len(images)),
    run=_run,
)
