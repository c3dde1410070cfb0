"""The stage `frepo`: S moves in a pool of networks that are themselves trained on it (FRePo)."""

from fsdd.config import values
from fsdd.config.fields import MOST_IMAGES, MOST_RATE, MOST_STEPS, OPTIMISERS, Field, by_protocol, schedule_fields
from fsdd.config.registry import THERE_AND_BACK, TRAINING, Stage
from fsdd.errors import UserError


def _passes(config, images, real):
    settings = config.frepo
    trained = TRAINING * sum(min(size, settings.network_batch) for size in images)
    moved = THERE_AND_BACK * (1 + config.objective.flip) * sum(images)
    return settings.steps * settings.networks_per_step * (settings.batch * len(images) + moved + trained)


def _check(config, data):
    pool, together = config.frepo.pool, config.frepo.networks_per_step
    if together > pool:
        raise UserError(f"config.frepo.networks_per_step is {together}; allowed: at most config.frepo.pool = {pool}")


def _run(context, sets):
    from fsdd.distilling import moves

    return moves.run_each(context, STAGE.name, sets, _begin)


def _begin(context, ipc, before):
    import jax
    import jax.numpy as jnp

    from fsdd.core import compilation, descent, mesh
    from fsdd.distilling import moves
    from fsdd.methods import frepo

    config, settings = context.config, context.config.frepo
    optimiser = moves.build_set_optimiser(config, STAGE.name)
    pool = frepo.Pool(
        settings.pool,
        settings.updates,
        settings.network_rate,
        settings.network_batch,
        settings.network_schedule,
        settings.networks_per_step,
    )
    start_key, step_key = jax.random.split(context.key(STAGE.name))
    spread = mesh.build_local_mesh(pool.at_once)
    step = compilation.bind(
        frepo.step,
        objective=context.objective,
        optimiser=optimiser,
        pool=pool,
        batch=settings.batch,
        chunk=config.compute.chunk,
    )
    loop = descent.Loop(compilation.bind(descent.fold_key, step=step))
    return moves.Move(
        state=frepo.init(
            jax.tree.map(jnp.copy, before), optimiser, context.objective, pool, start_key, context.data.image_shape
        ),
        run=lambda state, **where: loop.run(
            *mesh.share(spread, (state,)), settings.steps, *mesh.share(spread, (step_key, context.real)), **where
        ),
        set_of=lambda state: state.moving,
        networks=lambda state: settings.pool + pool.replaced(settings.steps, state.rest.ages),
    )


STAGE = Stage(
    name="frepo",
    summary="FRePo: a pool of networks that train on the set as it moves",
    title="distilled in a pool of networks",
    # FRePo's own figures.
    fields={
        "steps": Field(500_000, values.whole(1, MOST_STEPS), "Updates of the synthetic set."),
        "pool": Field(10, values.whole(1, 10**4), "Networks in the pool."),
        "networks_per_step": Field(
            1,
            values.whole(1, 10**4),
            "Networks of the pool that serve a step together, at most all: the step follows their mean gradient, each "
            "learns, and the devices of the host share them.",
        ),
        "updates": Field(100, values.whole(1, 10**6), "Steps after which a network gives way to a fresh one."),
        "network_rate": Field(3e-4, values.above(0, MOST_RATE), "Learning rate of the pool's networks."),
        "network_schedule": Field(
            by_protocol(frepo_torch="warmup_times_cosine", frepo_jax="constant"),
            values.one_of("constant", "warmup_times_cosine"),
            "How that rate goes over a network's own steps: constant, or a warm-up over 500 of them, chained with a "
            "cosine over `updates`, that hardly leaves the ground.",
        ),
        "network_batch": Field(
            500, values.whole(1, MOST_IMAGES), "Synthetic images that a network learns from a step."
        ),
        "batch": Field(1024, values.whole(1, MOST_IMAGES), "Real images of a step."),
        "optimiser": Field(
            by_protocol(frepo_torch="adam", frepo_jax="lamb"),
            values.one_of(*OPTIMISERS),
            "Optimiser of images and labels.",
        ),
        **schedule_fields(by_protocol(frepo_torch=1e-3, frepo_jax=3e-4), 0.1),
    },
    steps=lambda settings: settings.steps,
    passes=_passes,
    run=_run,
    check=_check,
)
