"""The stage `bilevel`: the one network moves by unrolled distillations (Alg. 1).

It leaves what T inner steps make of the start in the learned network, which is a set like any other: the method
`bilevel_inner` ends with it. It also leaves the network itself, in which `distill` goes on in the method `bilevel`.
"""

from fsdd.config import values
from fsdd.config.fields import MOST_IMAGES, MOST_RATE, MOST_STEPS, OPTIMISERS, Field, schedule_fields
from fsdd.config.registry import THERE_AND_BACK, TRAINING, Stage


def _passes(config, images, real):
    settings, moved = config.bilevel, (1 + config.objective.flip) * sum(images)
    # Real images there and back to the weights; inner steps there, again, and back through their gradients.
    judged = (1 + TRAINING) * settings.batch * len(images)
    return settings.steps * (judged + 4 * THERE_AND_BACK * settings.inner * moved)


def _run(context, sets):
    from fsdd.distilling import moves

    return moves.run_each(context, STAGE.name, sets, _begin)


def _begin(context, ipc, before):
    import jax

    from fsdd.core import compilation, descent
    from fsdd.distilling import moves, spaces
    from fsdd.methods import bilevel, class_batches, regression

    config, settings = context.config, context.config.bilevel
    optimiser = moves.build_optimiser(config, STAGE.name)
    unroll = settings.inner if config.compute.dispatch == 1 else 1
    inner = bilevel.Inner(
        settings.inner, settings.inner_optimiser, settings.inner_rate, settings.batch, settings.remat, unroll
    )
    classes = class_batches.rows_by_class(context.data.train_labels, context.data.num_classes)
    own = {"objective": context.objective, "inner": inner}
    step = compilation.bind(bilevel.step, optimiser=optimiser, ipc=ipc * config.factor**2, **own)
    step_key, last_key = jax.random.split(context.key(STAGE.name))
    near = bilevel.choose_images(context.real, settings.batch, last_key)
    distil = compilation.jit(compilation.bind(bilevel.distil, **own))
    loop = descent.Loop(compilation.bind(descent.fold_key, step=step))
    return moves.Move(
        state=regression.init(spaces.draw_fixed(context), optimiser),
        run=lambda state, **where: loop.run(state, settings.steps, step_key, context.real, classes, **where),
        set_of=lambda state: distil(regression.variables(state), before, near),
        networks=lambda _: settings.steps + 1,
        keep=lambda folder, state: spaces.write_learned(folder, regression.variables(state)),
    )


STAGE = Stage(
    name="bilevel",
    summary="learns the one network by unrolling distillations (Alg. 1), and leaves what they make of the set in it",
    title="distilled for a few steps in the learned network",
    # 4,000 outer steps, T = 16 inner ones. Their rates are not in the paper. Plain gradient descent, with which Alg. 1
    # is written, diverges above a rate of 10 and below it barely moves images in 16 steps.
    fields={
        "steps": Field(4000, values.whole(1, MOST_STEPS), "Outer updates, of the network."),
        "inner": Field(16, values.whole(1, 10**4), "T, the inner updates, of the synthetic set."),
        "inner_optimiser": Field("adam", values.one_of("adam", "sgd"), "Optimiser of the inner updates."),
        "inner_rate": Field(0.05, values.above(0, MOST_RATE), "Learning rate of the inner updates."),
        "batch": Field(1024, values.whole(1, MOST_IMAGES), "Real images of each of the two losses."),
        "remat": Field(True, values.truth(), "Whether inner steps are computed again on the way back, to save memory."),
        "optimiser": Field("adam", values.one_of(*OPTIMISERS), "Optimiser of the network."),
        **schedule_fields(1e-4, 0.1),
    },
    steps=lambda settings: settings.steps,
    passes=_passes,
    run=_run,
    comes_first=True,
    moves_labels=True,
)
