"""The stage `idc`: gradients of synthetic and real images are matched in networks that train on real images (IDC)."""

from fsdd.config import values
from fsdd.config.fields import MOST_IMAGES, MOST_RATE, MOST_STEPS, POLICIES, Field
from fsdd.config.registry import MATCHING, TRAINING, Stage, count_classes


def _passes(config, images, real):
    settings = config.idc
    seen = len(images) * (count_classes(config, images) * settings.batch + settings.updates * settings.network_batch)
    return settings.steps * (TRAINING * seen + MATCHING * sum(images))


def _run(context, sets):
    from fsdd.distilling import moves

    return moves.run_each(context, STAGE.name, sets, _begin)


def _begin(context, ipc, before):
    import jax.numpy as jnp

    from fsdd.distilling import moves
    from fsdd.methods import class_batches, idc, optimisers

    config, settings, whitening = context.config, context.config.idc, context.whitening
    optimiser = optimisers.hold_labels(optimisers.build_sgd(settings.rate or 5e-3 * ipc / 10, settings.momentum))
    shared = ("uses", "distance", "batch", "most", "policy", "updates", "network_rate", "weight_decay")
    shared += ("network_batch", "network_policy", "cutmix")
    programs = idc.build_programs(
        idc.Recipe(
            context.objective.network,
            mirror=config.mirror,
            factor=config.factor,
            **{name: settings[name] for name in shared},
        ),
        optimiser,
    )
    classes = class_batches.rows_by_class(context.data.train_labels, context.data.num_classes)
    channels = jnp.asarray(whitening.channel_mean), jnp.asarray(whitening.channel_std)
    given, key = idc.Given(context.real, classes, *channels), context.key(STAGE.name)

    pixels = before.replace(images=jnp.asarray(whitening.invert(before.images)))
    return moves.Move(
        state=programs.init(pixels, key, context.data.image_shape),
        run=moves.run_iterations(context, STAGE.name, programs, key, given),
        set_of=lambda state: state.moving.replace(images=whitening.apply(state.moving.images)),
        networks=lambda _: -(-settings.steps // settings.uses),
    )


STAGE = Stage(
    name="idc",
    summary="IDC: matches gradients of synthetic and real images in networks that train on real images",
    title="gradient matching in networks that train on real images",
    # IDC's own figures for CIFAR-10.
    fields={
        "steps": Field(200_000, values.whole(1, MOST_STEPS), "Sweeps, in each of which every class has its turn."),
        "uses": Field(100, values.whole(1, MOST_STEPS), "Sweeps that each network serves."),
        "distance": Field(
            "mse",
            values.one_of("mse", "l1"),
            "Distance of gradients to convolutions' kernels: the sum of squared or of absolute differences.",
        ),
        "batch": Field(
            64,
            values.whole(1, MOST_IMAGES),
            "Real images of a class in its turn, different ones where it has so many.",
        ),
        "most": Field(
            128,
            values.whole(1, MOST_IMAGES),
            "The most synthetic images of a class in its turn, of those that `factor` makes.",
        ),
        "policy": Field(
            "idc_matching",
            values.one_of(*POLICIES),
            "Augmentation; a draw holds for all real and synthetic images of a class.",
        ),
        "rate": Field(
            0.0, values.number(0, MOST_RATE), "Learning rate of the pixels; 0 is IDC's: 0.0005 times images per class."
        ),
        "momentum": Field(
            0.5, values.fraction(), "Momentum of their gradient descent, which other classes' turns go on."
        ),
        "updates": Field(32, values.whole(1, MOST_STEPS), "Steps of a network on real images after each sweep."),
        "network_rate": Field(
            0.01, values.above(0, MOST_RATE), "Learning rate of the networks; their momentum is 0.9."
        ),
        "weight_decay": Field(5e-4, values.number(0, MOST_RATE), "Their weight decay, a part of the gradient."),
        "network_batch": Field(64, values.whole(1, MOST_IMAGES), "Real images that a network learns from a step."),
        "network_policy": Field("idc_training", values.one_of(*POLICIES), "Augmentation of these, each on its own."),
        "cutmix": Field(0.5, values.number(0, 1), "The probability that these then show parts of others (CutMix)."),
    },
    steps=lambda settings: settings.steps,
    passes=_passes,
    run=_run,
    moves_pixels=True,
    protocol="idc",
)
