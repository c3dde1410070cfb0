"""The stage `dc`: S moves to where the gradients of networks are those of real images (DC); `dsa` is the same."""

from fsdd.config import values
from fsdd.config.fields import MOST_IMAGES, MOST_RATE, MOST_STEPS, POLICIES, Field
from fsdd.config.registry import MATCHING, TRAINING, Stage, count_classes


def build_stage(name: str, summary: str, title: str, policy: str) -> Stage:
    """Gradient matching as a stage, by default with an augmentation; figures are DC's and DSA's own."""
    return Stage(
        name=name,
        summary=summary,
        title=title,
        fields={
            "steps": Field(1000, values.whole(1, MOST_STEPS), "Iterations, each in a fresh network."),
            "outer": Field(
                0,
                values.whole(0, MOST_STEPS),
                "Updates of the synthetic images in each network; 0 is DC's number for as many images per class.",
            ),
            "inner": Field(
                0,
                values.whole(0, MOST_STEPS),
                "Epochs of a network on the synthetic set between two of these; 0 is DC's number likewise.",
            ),
            "distance": Field(
                "ours",
                values.one_of("ours", "mse", "cos"),
                "Distance of gradients: one minus the cosine, by output channel, or of all; or squared.",
            ),
            "batch": Field(
                256,
                values.whole(1, MOST_IMAGES),
                "Real images of each class in an update, different ones where a class has so many.",
            ),
            "policy": Field(
                policy,
                values.one_of(*POLICIES),
                "Augmentation, of a class's real and synthetic images alike, and of what networks learn from.",
            ),
            "network_rate": Field(0.01, values.above(0, MOST_RATE), "Learning rate of the networks."),
            "network_batch": Field(
                256, values.whole(1, MOST_IMAGES), "Synthetic images that a network learns from a step."
            ),
            "rate": Field(0.1, values.above(0, MOST_RATE), "Learning rate of the images."),
            "momentum": Field(0.5, values.fraction(), "Momentum of their gradient descent."),
        },
        steps=lambda settings: settings.steps,
        passes=lambda config, images, real: _passes(config, name, images),
        run=lambda context, sets: _run(context, name, sets),
        protocol=name,
    )


def _loops(settings, ipc):
    """How often S moves in a network, and the epochs in between."""
    from fsdd.methods import gradient_matching

    outer, inner = gradient_matching.loops(ipc)
    return settings.outer or outer, settings.inner or inner


def _passes(config, stage, images):
    settings = config[stage]
    outer, inner = _loops(settings, config.ipc)
    real = len(images) * count_classes(config, images) * settings.batch
    moved, learned = TRAINING * real + MATCHING * sum(images), TRAINING * inner * sum(images)
    return settings.steps * (outer * moved + (outer - 1) * learned)


def _run(context, stage, sets):
    import functools

    from fsdd.distilling import moves

    return moves.run_each(context, stage, sets, functools.partial(_begin, stage))


def _begin(stage, context, ipc, before):
    from fsdd.distilling import moves
    from fsdd.methods import class_batches, gradient_matching, optimisers

    config, settings = context.config, context.config[stage]
    optimiser = optimisers.hold_labels(optimisers.build_sgd(settings.rate, settings.momentum))
    shared = ("distance", "batch", "policy", "network_rate", "network_batch")
    recipe = gradient_matching.Recipe(
        context.objective.network,
        *_loops(settings, ipc),
        mirror=config.mirror,
        factor=config.factor,
        **{name: settings[name] for name in shared},
    )
    classes = class_batches.rows_by_class(context.data.train_labels, context.data.num_classes)
    programs = gradient_matching.build_programs(recipe, optimiser)

    return moves.Move(
        state=moves.begin_set(before, optimiser),
        run=moves.run_iterations(context, stage, programs, context.key(stage), context.real, classes),
        set_of=lambda state: state.moving,
        networks=lambda _: settings.steps,
    )


STAGE = build_stage(
    name="dc",
    summary="DC: moves the images to where the gradients of networks are those of real images",
    title="gradient matching",
    policy="none",
)
