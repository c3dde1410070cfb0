"""The stage `translate`: an image-to-image network moves, and with it the set that it makes of S' (Sec. 3.3).

It moves on the sets of one or several IPCs at once and leaves the set of the config's own, translated, and the adapted
translator as an Orbax checkpoint.
"""

from fsdd.config import values
from fsdd.config.fields import MOST_RATE, OPTIMISERS, Field, schedule_fields, stream_fields
from fsdd.config.registry import Stage, count_stream_steps, stream_passes


def _run(context, sets):
    import functools

    from fsdd.distilling import moves

    ipc = context.config.ipc
    return {ipc: moves.run_one(context, STAGE.name, ipc, functools.partial(_begin, context, sets))}


def _begin(context, sets):
    import functools

    import jax
    import jax.numpy as jnp

    from fsdd.assembly import translators
    from fsdd.core import compilation
    from fsdd.distilling import moves
    from fsdd.methods import translation

    config, settings = context.config, context.config.translate
    ipcs = settings.ipcs or (config.ipc,)
    stream = moves.build_stream(context, STAGE.name)
    begun = translators.begin(
        config,
        settings.init,
        context.data.image_shape,
        context.key("autoencoder"),
        lambda: context.real.images,
        context.folder / STAGE.name / "autoencoder",
    )
    sources, optimiser = tuple(sets[ipc] for ipc in ipcs), _build_optimiser(config, stream.steps)
    step = compilation.bind(
        translation.step,
        translator=begun.translator,
        objective=context.objective,
        optimiser=optimiser,
    )

    def set_of(state):
        source = sets[config.ipc]
        if config.ipc in ipcs:
            source = source.replace(labels=state.moving.labels[ipcs.index(config.ipc)])
        variables, statistics = translation.variables(state), config.translator.statistics
        return translation.translate(begun.translator, variables, source, statistics, factor=config.factor)

    root = context.key(STAGE.name)
    keys = jax.random.fold_in(root, 0), jax.random.fold_in(root, 1)
    return moves.Move(
        state=translation.init(*jax.tree.map(jnp.copy, (begun.variables, sources)), optimiser),
        run=moves.run_on_stream(context, stream, keys, step, sources),
        set_of=set_of,
        networks=lambda _: stream.networks,
        together=stream.group_steps,
        # The time of training an auto-encoder first belongs to the stage.
        spent=begun.seconds,
        keep=functools.partial(_keep, config, begun.translator, stream),
        label=f"{STAGE.name} ipc {', '.join(map(str, ipcs))}",
        facts={"ipcs": list(ipcs)},
    )


def _build_optimiser(config, steps):
    from fsdd.methods import optimisers, translation

    settings = config.translate
    labels_move = settings.labels and config.labels == "learned"
    labels = optimisers.build(settings.optimiser, settings.label_rate) if labels_move else None
    rate = optimisers.cosine(settings.rate, steps, settings.final, settings.warmup)
    return translation.build_optimiser(optimisers.build(settings.optimiser, rate), labels)


def _keep(config, translator, stream, folder, state):
    """Store the adapted translator, with a card that says how the sets that it knows were distilled."""
    from fsdd import config as configs
    from fsdd.io import checkpoint, provenance
    from fsdd.methods import translation

    tied = ("network", "whitening", "distill") if "distill" in config.stages else ()
    card = {
        "config": configs.flat(config),
        "channels": translator.channels,
        "made_in": configs.select(config, tied),
        "steps": stream.steps,
        "networks": stream.networks,
    }
    checkpoint.save_variables(folder / "translator", translation.variables(state), card | provenance.summary())


STAGE = Stage(
    name="translate",
    summary="adapts a translator: `translate.init` says which, a fresh one unless given; `translate.networks=0` "
    "translates without adapting",
    title="translated",
    # S' = 1,000 steps at eta' = 1e-4, a fresh network each.
    fields=stream_fields(networks=1000, uses=1, group=1, real_images=1024)
    | {
        "networks": Field(
            1000, values.whole(0, 10**6), "Random networks that serve the steps, each in its turn; 0 adapts nothing."
        ),
        "init": Field(
            "fresh", values.text("fresh, autoencoder, or a stored translator"), "Where the translator starts."
        ),
        "optimiser": Field("adam", values.one_of(*OPTIMISERS), "Optimiser of the translator and of the labels."),
    }
    | schedule_fields(1e-4, 1.0)
    | {
        "warmup": Field(0.0, values.number(0, 1), "Share of the steps over which the learning rate rises."),
        "labels": Field(True, values.truth(), "Whether the set's labels move with the translator."),
        "label_rate": Field(1e-3, values.above(0, MOST_RATE), "Learning rate of the labels."),
        "ipcs": Field(
            (),
            values.wholes(1, 10**5, "a tuple of different whole numbers"),
            "The images per class of all sets that the translator is adapted to; () is `ipc` alone.",
        ),
    },
    steps=count_stream_steps,
    # All sets are translated in the same networks.
    passes=lambda config, images, real: stream_passes(config, "translate", images, real, times=1),
    run=_run,
    sections=("translator", "autoencoder"),
    moves_all_ipcs=True,
)
