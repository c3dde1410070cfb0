"""The stage `mtt`: S moves to where networks that train on it arrive where experts do (MTT)."""

from fsdd.config import values
from fsdd.config.fields import MOST_IMAGES, MOST_RATE, MOST_STEPS, POLICIES, Field
from fsdd.config.registry import UNROLLED, Stage, count_classes


def _passes(config, images, real):
    from fsdd.distilling import expert_training

    figures = expert_training.figures(config, count_classes(config, images), config.ipc)
    return config.mtt.steps * figures.inner * UNROLLED * sum(min(size, figures.batch) for size in images)


def _check(config, data):
    from fsdd.distilling import expert_training

    expert_training.check_epochs(config, data)


def _run(context, sets):
    from fsdd.distilling import moves

    return moves.run_each(context, STAGE.name, sets, _begin)


def _begin(context, ipc, before):
    import jax
    import jax.numpy as jnp

    from fsdd.core import compilation, descent
    from fsdd.distilling import expert_training, moves
    from fsdd.methods import trajectory_matching as matching
    from fsdd.methods import unrolling

    config, settings = context.config, context.config.mtt
    own = expert_training.figures(config, context.data.num_classes, ipc)
    learning = unrolling.Learning(context.objective.network, 0.0, settings.policy, config.mirror, config.factor)
    optimiser = matching.build_optimiser(own.rate, own.step_rate, settings.momentum)
    programs = unrolling.Programs(matching.build_unrolling(matching.Recipe(learning, own.batch)), own.inner, optimiser)
    draw_key, step_key = jax.random.split(context.key(STAGE.name))
    draws, begin = expert_training.Draws(context, own, draw_key), compilation.jit(learning.begin)

    def draw(iteration):
        variables, target = draws(iteration)
        return begin(variables), (variables["params"], target)

    moving = matching.Moving(jax.tree.map(jnp.copy, before), jnp.float32(own.step_size))
    return moves.Move(
        state=descent.init(moving, optimiser),
        run=moves.run_iterations(context, STAGE.name, programs, step_key, draw),
        set_of=lambda state: state.moving.synthetic,
        networks=lambda _: config.experts.count,
        learned=lambda state: {"step_size": float(state.moving.step_size)},
    )


STAGE = Stage(
    name="mtt",
    summary="MTT: moves the images to where networks that train on them go where experts on real images go",
    title="matched trajectories",
    fields={
        "steps": Field(5000, values.whole(1, MOST_STEPS), "Updates of the synthetic images, and of the step size."),
        "inner": Field(
            0,
            values.whole(0, 10**5),
            "N, the steps of a network on the synthetic set that an update looks back through; 0 is MTT's number for "
            "as many classes and images per class, as it is for the following.",
        ),
        "epochs": Field(0, values.whole(0, 10**5), "M, the epochs of an expert that they are to stand for."),
        "max_start": Field(
            0, values.whole(0, 10**5), "The first epochs of an expert, after one of which a network starts."
        ),
        "rate": Field(0.0, values.number(0, 1e6), "Learning rate of the images."),
        "step_rate": Field(0.0, values.number(0, MOST_RATE), "Learning rate of the step size."),
        "step_size": Field(0.0, values.number(0, MOST_RATE), "What the step size starts as."),
        "batch": Field(0, values.whole(0, MOST_IMAGES), "Synthetic images of a network's step, at most."),
        "momentum": Field(0.5, values.fraction(), "Momentum of the images and of the step size."),
        "policy": Field("dsa", values.one_of(*POLICIES), "Augmentation of what networks learn from."),
    },
    steps=lambda settings: settings.steps,
    passes=_passes,
    run=_run,
    follows="experts",
    protocol="mtt",
    check=_check,
)
