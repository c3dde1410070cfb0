"""The stage `dm`: S moves to the mean features of each class in fresh networks (DM)."""

from fsdd.config import values
from fsdd.config.fields import MOST_IMAGES, MOST_RATE, MOST_STEPS, POLICIES, Field
from fsdd.config.registry import THERE_AND_BACK, Stage, count_classes


def _passes(config, images, real):
    real = len(images) * count_classes(config, images) * config.dm.batch
    return config.dm.steps * (real + THERE_AND_BACK * sum(images))


def _run(context, sets):
    from fsdd.distilling import moves

    return moves.run_each(context, STAGE.name, sets, _begin)


def _begin(context, ipc, before):
    from fsdd.core import compilation, descent
    from fsdd.distilling import moves
    from fsdd.methods import class_batches, dm, optimisers

    config, settings = context.config, context.config.dm
    rate = settings.rate or (10.0 if ipc >= 100 else 1.0)
    optimiser = optimisers.hold_labels(optimisers.build_sgd(rate, settings.momentum))
    recipe = dm.Recipe(
        context.objective.network,
        settings.batch,
        settings.policy,
        config.mirror,
        config.factor,
        config.compute.chunk,
        context.objective.real_dtype,
    )
    classes = class_batches.rows_by_class(context.data.train_labels, context.data.num_classes)
    given = context.key(STAGE.name), context.real, classes
    step = compilation.bind(dm.step, recipe=recipe, optimiser=optimiser)
    loop = descent.Loop(compilation.bind(descent.fold_key, step=step))
    return moves.Move(
        state=moves.begin_set(before, optimiser),
        run=lambda state, **where: loop.run(state, settings.steps, *given, **where),
        set_of=lambda state: state.moving,
        networks=lambda _: settings.steps,
    )


STAGE = Stage(
    name="dm",
    summary="DM: moves the images to the mean features of their classes, in a fresh network each step",
    title="distribution matching",
    # DM's own figures.
    fields={
        "steps": Field(20_000, values.whole(1, MOST_STEPS), "Updates of the synthetic images."),
        "batch": Field(
            256,
            values.whole(1, MOST_IMAGES),
            "Real images of each class in a step, different ones where a class has so many.",
        ),
        "policy": Field(
            "dsa", values.one_of(*POLICIES), "Augmentation; a draw holds for all real and synthetic images of a class."
        ),
        "rate": Field(
            0.0,
            values.number(0, MOST_RATE),
            "Learning rate of the images; 0 is DM's: 1, or 10 from 100 images per class on.",
        ),
        "momentum": Field(0.5, values.fraction(), "Momentum of their gradient descent."),
    },
    steps=lambda settings: settings.steps,
    passes=_passes,
    run=_run,
    protocol="dsa",
)
