"""The stage `dd`: S and step sizes move so that a few steps on S train a fresh network (DD).

DD's own network is a wider one of two 5x5 convolutions, and real images are cropped and mirrored at random; here it is
that of the config, by default DC's, and real images are as they are. Sets are scored as those of `dc`.
"""

from fsdd.config import values
from fsdd.config.fields import MOST_IMAGES, MOST_RATE, MOST_STEPS, Field
from fsdd.config.registry import TRAINING, UNROLLED, Stage


def _passes(config, images, real):
    settings = config.dd
    return settings.steps * (TRAINING * settings.batch * len(images) + UNROLLED * settings.epochs * sum(images))


def _run(context, sets):
    from fsdd.distilling import moves

    return moves.run_each(context, STAGE.name, sets, _begin)


def _begin(context, ipc, before):
    import jax
    import jax.numpy as jnp

    from fsdd.core import compilation, descent
    from fsdd.distilling import moves
    from fsdd.methods import dd, unrolling

    config, settings = context.config, context.config.dd
    learning = unrolling.Learning(context.objective.network, mirror=config.mirror, factor=config.factor)
    optimiser = dd.build_optimiser(settings.steps, settings.rate)
    moving = dd.init(jax.tree.map(jnp.copy, before), settings.epochs, settings.step_size)
    programs = unrolling.Programs(dd.build_unrolling(learning), len(moving.raw), optimiser)
    draw_key, step_key = jax.random.split(context.key(STAGE.name))
    one = compilation.jit(compilation.bind(dd.draw, learning=learning, count=settings.batch))

    def draw(iteration):
        return one(jax.random.fold_in(draw_key, iteration), context.real)

    return moves.Move(
        state=descent.init(moving, optimiser),
        run=moves.run_iterations(context, STAGE.name, programs, step_key, draw),
        set_of=lambda state: state.moving.synthetic,
        networks=lambda _: settings.steps,
        learned=lambda state: {"step_sizes": state.moving.step_sizes.tolist()},
    )


STAGE = Stage(
    name="dd",
    summary="DD: moves images and step sizes so that a few steps on them train a fresh network",
    title="unrolled steps of learned sizes",
    # DD's own figures.
    fields={
        "steps": Field(19_600, values.whole(1, MOST_STEPS), "Updates of the images, each in a fresh network."),
        "epochs": Field(
            3, values.whole(1, 10**4), "How often a network sees each image; a step sees one image of each class."
        ),
        "batch": Field(1024, values.whole(1, MOST_IMAGES), "Real images that judge a network."),
        "step_size": Field(0.02, values.above(0, MOST_RATE), "What all step sizes start as."),
        "rate": Field(
            0.01, values.above(0, MOST_RATE), "Adam's learning rate; it halves after each tenth of the updates."
        ),
    },
    steps=lambda settings: settings.steps,
    passes=_passes,
    run=_run,
    protocol="dc",
)
