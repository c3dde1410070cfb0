"""The stage `experts`: networks train on the real set, and their parameters are kept, for `mtt` to follow.

It leaves the set as it was. The store of experts is the stage's folder, or one that several runs share: experts serve
sets of any size, and any process may add one.
"""

from fsdd.config import values
from fsdd.config.fields import MOST_IMAGES, MOST_RATE, POLICIES, Field
from fsdd.config.registry import TRAINING, Stage, count_classes


def _passes(config, images, real):
    from fsdd.distilling import expert_training
    from fsdd.io import paths
    from fsdd.io.trajectories import Trajectories

    epochs, settings = expert_training.epochs_of(config, count_classes(config, images)), config.experts
    left = epochs * settings.count
    if settings.folder:
        found = Trajectories(paths.expand(settings.folder, "config.experts.folder")).find()
        left -= sum(min(done, epochs) for number, (done, _) in found.items() if number < settings.count)
    return TRAINING * left * real


def _run(context, sets):
    from fsdd.distilling import expert_training
    from fsdd.io import progress, provenance, workdir

    count, epochs = context.config.experts.count, expert_training.epochs_of(context.config, context.data.num_classes)
    store, compiled = expert_training.open_store(context), progress.compile_clock.seconds
    if store.lacking(count, epochs):
        expert_training.Training(context, store).fill(count, epochs)
    path = context.folder / STAGE.name / "result.json"
    if not path.is_file():
        facts = {"stage": STAGE.name, "ipc": context.config.ipc, "networks": count, "epochs": epochs, "curve": []}
        facts |= {"steps": count * epochs * expert_training.epoch_steps(context)}
        facts |= {"compile_seconds": round(progress.compile_clock.seconds - compiled, 2)}
        workdir.write(path, facts | expert_training.summarise(store, count, epochs) | provenance.summary())
    return sets


STAGE = Stage(
    name="experts",
    summary="trains networks on the real set and keeps their parameters, for `mtt` to follow",
    title="",
    # MTT's own figures.
    fields={
        "folder": Field(
            "",
            values.text("the path of a folder, or nothing"),
            "The store of experts, which runs of the same real set may share; by default the stage's own folder.",
        ),
        "count": Field(100, values.whole(1, 10**6), "Experts."),
        "epochs": Field(
            0, values.whole(0, 10**6), "Epochs of each; 0 is as many as `mtt` may use, max_start - 1 + epochs of it."
        ),
        "rate": Field(0.01, values.above(0, MOST_RATE), "Learning rate of their plain gradient descent."),
        "batch": Field(256, values.whole(1, MOST_IMAGES), "Real images of a step."),
        "policy": Field("dsa", values.one_of(*POLICIES), "Augmentation of what they learn from."),
        "seed": Field(0, values.whole(0, 2**32 - 1), "Determines the experts."),
    },
    # Of the set, none.
    steps=lambda settings: 0,
    passes=_passes,
    run=_run,
    protocol="mtt",
)
