"""The stage `rtp`: S moves so that many steps with momentum on it train a fresh network (RTP).

With bases the set before it gives nothing but its size, and `ipc` counts the images that they recall.
"""

from fsdd.config import values
from fsdd.config.fields import MOST_IMAGES, MOST_RATE, MOST_STEPS, POLICIES, Field
from fsdd.config.registry import TRAINING, UNROLLED, Stage, count_classes
from fsdd.errors import UserError


def _passes(config, images, real):
    settings, classes = config.rtp, count_classes(config, images)
    seen = sum(min(size, classes * (settings.inner_batch or size)) for size in images)
    judged = TRAINING * settings.batch * classes * len(images)
    return settings.steps * (judged + UNROLLED * settings.inner * seen)


def _check(config, data):
    if config.rtp.bases and config.factor != 1:
        raise UserError(f"config.factor is {config.factor}; allowed: 1 with config.rtp.bases, which are enlarged")
    if config.rtp.bases and data.image_shape[0] % 2:
        raise UserError(
            f"config.rtp.bases is {config.rtp.bases}; allowed: 0 for images of an odd side, {data.image_shape[0]}"
        )


def _run(context, sets):
    from fsdd.distilling import moves

    return moves.run_each(context, STAGE.name, sets, _begin)


def _begin(context, ipc, before):
    import jax
    import jax.numpy as jnp

    from fsdd.core import compilation, descent
    from fsdd.distilling import moves
    from fsdd.methods import class_batches, rtp, unrolling

    config, settings = context.config, context.config.rtp
    network = context.objective.network
    learning = unrolling.Learning(network, settings.inner_momentum, settings.policy, config.mirror, config.factor)
    recipe = rtp.Recipe(learning, settings.inner_rate, settings.inner_batch or len(before), settings.batch)
    optimiser = rtp.build_optimiser(settings.rate, settings.momentum, settings.clip)
    programs = unrolling.Programs(rtp.build_unrolling(recipe), settings.inner, optimiser)
    draw_key, step_key, start_key = jax.random.split(context.key(STAGE.name), 3)
    stored = jax.tree.map(jnp.copy, before)
    if settings.bases:
        stored = rtp.draw_bases(start_key, settings.bases, context.data.image_shape, stored.labels)
    classes = class_batches.rows_by_class(context.data.train_labels, context.data.num_classes)
    one = compilation.jit(compilation.bind(rtp.draw, recipe=recipe))

    def draw(iteration):
        return one(jax.random.fold_in(draw_key, iteration), context.real, classes)

    return moves.Move(
        state=descent.init(stored, optimiser),
        run=moves.run_iterations(context, STAGE.name, programs, step_key, draw),
        set_of=lambda state: rtp.recall(state.moving),
        networks=lambda _: settings.steps,
        facts={"stored_numbers": rtp.count_numbers(stored)},
    )


STAGE = Stage(
    name="rtp",
    summary="RTP: moves images, or bases of them, so that many steps with momentum train a fresh network",
    title="unrolled steps with momentum",
    # RTP's own figures, and of its networks' batch what its published hours tell: all images.
    fields={
        "steps": Field(500_000, values.whole(1, MOST_STEPS), "Updates of the images, each in a fresh network."),
        "inner": Field(
            150, values.whole(1, 10**5), "Steps of a network on the synthetic set that an update looks back through."
        ),
        "inner_batch": Field(
            0, values.whole(0, MOST_IMAGES), "Synthetic images of each class in such a step, at most; 0 is all."
        ),
        "inner_rate": Field(0.01, values.above(0, MOST_RATE), "Learning rate of the networks."),
        "inner_momentum": Field(0.9, values.fraction(), "Momentum of the networks."),
        "policy": Field("none", values.one_of(*POLICIES), "Augmentation of what networks learn from."),
        "batch": Field(64, values.whole(1, MOST_IMAGES), "Real images of each class that judge a network."),
        "bases": Field(
            0,
            values.whole(0, 10**5),
            "Images of half the side, shared by all classes, of which each image is a sum; 0 moves plain images.",
        ),
        "rate": Field(0.1, values.above(0, MOST_RATE), "Learning rate of what is stored."),
        "momentum": Field(0.5, values.fraction(), "Momentum of its gradient descent."),
        "clip": Field(
            2.0, values.above(0, 1e6), "The most that the norm of its gradient may be; larger ones are scaled."
        ),
    },
    steps=lambda settings: settings.steps,
    passes=_passes,
    run=_run,
    protocol="rtp",
    check=_check,
)
