"""The stage `distill`: S moves in one fixed network (`1 Net`), on real features that are computed once."""

from fsdd.config import values
from fsdd.config.fields import MOST_IMAGES, MOST_STEPS, OPTIMISERS, Field, by_protocol, schedule_fields
from fsdd.config.registry import THERE_AND_BACK, Stage


def _passes(config, images, real):
    synthetic = THERE_AND_BACK * (1 + config.objective.flip) * sum(images)
    return len(images) * real + config.distill.steps * synthetic


def _run(context, sets):
    from fsdd.distilling import moves

    return moves.run_each(context, STAGE.name, sets, _begin)


def build_stream(context):
    """The one network that serves all steps, a `streams.Stream`."""
    from fsdd.methods import streams

    config, settings = context.config, context.config.distill
    return streams.Stream(
        networks=1,
        uses=settings.steps,
        batch=settings.batch,
        chunk=config.compute.chunk,
        cache_dtype=config.network.cache_dtype,
        balanced=context.is_balanced,
    )


def _begin(context, ipc, before):
    from fsdd.assembly import keys
    from fsdd.distilling import moves, spaces

    config, stream = context.config, build_stream(context)
    learned = spaces.read_learned(context, ipc) if "bilevel" in config.stages else None
    return moves.move_images(context, STAGE.name, before, stream, keys.fixed_network_key(config), learned)


STAGE = Stage(
    name="distill",
    summary="distils in one fixed network (`1 Net`)",
    title="distilled in one network",
    fields={
        "steps": Field(3000, values.whole(1, MOST_STEPS), "T, the updates of the synthetic set."),
        "batch": Field(
            1024, values.whole(0, MOST_IMAGES), "Real images of a step, drawn with replacement; 0 is all of them."
        ),
        "optimiser": Field(
            by_protocol(frepo_torch="adam", frepo_jax="lamb", recommended="adam"),
            values.one_of(*OPTIMISERS),
            "Optimiser of images and labels.",
        ),
        **schedule_fields(1e-3, 0.1),
    },
    steps=lambda settings: settings.steps,
    passes=_passes,
    run=_run,
    side_by_side=True,
)
