"""The pre-training stage: the translator moves on the store of cached subsets, and is judged as it goes.

<workdir>/pretrain/          config.json, result.json, curve.jsonl and curve.png; while it runs, its checkpoints
<workdir>/translator/        what comes of it: an Orbax checkpoint with a card

All processes of a job take every step together, each on its own share of the batch; the first one writes.
"""

import dataclasses
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from fsdd import config as configs
from fsdd.assembly import keys, objectives, translators
from fsdd.config import Resolved
from fsdd.core import descent
from fsdd.errors import Diverged, UserError
from fsdd.io import checkpoint, progress, provenance, workdir
from fsdd.io.resumable import Resumable
from fsdd.methods import optimisers, translation
from fsdd.methods.translator_training import Schedule, TranslatorTrainer
from fsdd.networks.translator import Translator
from fsdd.pretraining import batches, filling, learning_curve
from fsdd.pretraining import cache as caches
from fsdd.pretraining.cache import Cache

# Monitoring fields: the translator does not depend on them.
_FREE = ("pretrain.target", "pretrain.every", "pretrain.held_out")
# The claim of whoever pre-trains; subsets have lower numbers.
CLAIM = 2**40 + 1
# Real images on which an auto-encoder is trained.
_AUTOENCODED = 20_000


@dataclasses.dataclass(frozen=True)
class Pretraining:
    """What the steps share.

    Attributes:
        cache: the store, its big set and its network.
        folder: the stage's folder.
        schedule: which batch serves which step.
        trainer: moves the translator.
        judging: what judges, in networks of the full width.
        translator: what moves.
        interleaved: whether the stage itself fills the store as it goes.
    """

    cache: Cache
    folder: pathlib.Path
    schedule: Schedule
    trainer: TranslatorTrainer
    judging: TranslatorTrainer
    translator: Translator
    interleaved: bool

    def end(self, turn: int) -> int:
        """The step at which a round ends: whole groups."""
        groups = -(-self.schedule.steps // self.schedule.group_steps)
        rounds = self.cache.config.pretrain.rounds
        return min(groups * (turn + 1) // rounds * self.schedule.group_steps, self.schedule.steps)

    def visible(self, turn: int) -> int:
        """Subsets that a round draws from, counted from the first."""
        count, rounds = self.cache.config.subsets.count, self.cache.config.pretrain.rounds
        return max(-(-count * (turn + 1) // rounds), batches.least(count))

    def subsets(self, step: int) -> list[int]:
        """The subsets that a step sees."""
        turn = next(turn for turn in range(self.cache.config.pretrain.rounds) if step < self.end(turn))
        number = self.schedule.first_batch(step) + step % self.schedule.group
        return batches.choose(self.cache, self.visible(turn), number)[1].tolist()


def check(config: Resolved, folder: pathlib.Path) -> None:
    """Check that a resolved config can be pre-trained with, and that what was in a workdir fits it.

    Raises:
        UserError: it cannot, or does not.
    """
    fields, here = translator_fields(config), folder / "pretrain"
    made_with = configs.compatible(workdir.read(here / "config.json"), fields)
    if made_with and caches.made_of(folder) == made_with["dataset"]:
        # The store is opened before a step is taken, and refuses other data.
        made_with |= {"dataset": config.dataset}
    workdir.check(here, made_with, fields)
    if config.subsets.count < 2:
        raise UserError(f"config.subsets.count is {config.subsets.count}; allowed: at least 2, one is held out")
    if config.pretrain.subsets % jax.device_count():
        raise UserError(
            f"config.pretrain.subsets is {config.pretrain.subsets}; allowed: a multiple of the {jax.device_count()} "
            "devices"
        )
    translators.check(config, "pretrain.init")
    learning_curve.check_target(config)


def translator_fields(config: Resolved) -> dict[str, Any]:
    """The fields that the translator depends on."""
    parts = ("pretrain", "translator", *(("autoencoder",) if config.pretrain.init == "autoencoder" else ()))
    own = configs.select(config, parts, without=_FREE)
    return caches.store_fields(config) | own | {"subsets.count": config.subsets.count}


def run(cache: Cache, folder: pathlib.Path, interleaved: bool) -> dict[str, Any]:
    """Pre-train the translator on a store, or load what that gave.

    Args:
        cache: the store.
        folder: the workdir.
        interleaved: whether subsets that are not there yet are to be cached on the way.

    Returns:
        The stage's figures.

    Raises:
        UserError: subsets are missing, another process is at it, the loss is no number, or the disk refuses.
    """
    here = folder / "pretrain"
    if (done := workdir.read(here / "result.json")) is not None:
        return done
    writes = jax.process_index() == 0
    if writes and not cache.claims.take(CLAIM):
        raise UserError(f"{here} is being made by another process; wait for it, or name another --workdir")
    stage, state = _begin(cache, here, interleaved)
    config, schedule = cache.config, stage.schedule
    if writes:
        workdir.write(here / "config.json", translator_fields(config))
    resumable = Resumable(here, "pre-train", schedule.steps, config.compute.checkpoint_seconds, writes=writes)
    start, state = resumable.restore(state)
    points = [point for point in learning_curve.read(here) if point["step"] <= start]
    waited, began = progress.Waited(), time.perf_counter()
    try:
        state = resumable.follow(_judged(stage, resumable, _steps(stage, state, start, waited), points))
    except Diverged as error:
        subsets = ", ".join(map(str, stage.subsets(error.step)))
        raise UserError(f"{error}; that step's subsets are {subsets}, the last checkpoint is kept") from error
    share = waited.seconds / (time.perf_counter() - began)
    networks = -(-schedule.steps // schedule.group_steps) * schedule.group * config.pretrain.subsets
    figures = {"networks": networks} | resumable.figures() | {"held_out": points[-1]}
    # Of the time since this process began; a run that was stopped and went on has that of its last process.
    figures |= {"waited_for_data": round(share, 5)} | provenance.summary()
    if writes:
        card = {
            "made_in": caches.store_fields(config),
            "config": translator_fields(config),
            "channels": stage.translator.channels,
        }
        checkpoint.save_variables(
            folder / "translator", translation.variables(state), card | figures | {"judged": points}
        )
        workdir.write(here / "result.json", figures)
        resumable.discard()
    return figures


def _begin(cache: Cache, folder: pathlib.Path, interleaved: bool) -> tuple[Pretraining, descent.State]:
    """The stage, and the translator where it starts."""
    config, shape = cache.config, cache.data.image_shape
    settings = config.pretrain
    rate = optimisers.cosine(settings.rate, settings.steps, settings.final, settings.warmup)
    optimiser = translation.build_optimiser(optimisers.build(settings.optimiser, rate), None)

    key = jax.random.fold_in(keys.purpose_key(config.seed, "pretrain"), 0)

    def images() -> jax.Array:
        pixels = cache.data.train_images
        return jnp.asarray(cache.whitening.apply(pixels[:: max(len(pixels) // _AUTOENCODED, 1)]))

    # Each process trains an auto-encoder for itself: they are the same.
    place = folder / "autoencoder" / str(jax.process_index())
    begun = translators.begin(config, settings.init, shape, key, images, place)

    def build_trainer(width: int) -> TranslatorTrainer:
        objective = objectives.build_objective(config, cache.sampler.limits.classes_max, width, settings.scaled)
        compute = {"chunk": config.compute.chunk, "cache_dtype": config.network.cache_dtype}
        return TranslatorTrainer(begun.translator, objective, optimiser, jax.devices(), **compute)

    schedule = Schedule(settings.steps, settings.uses, settings.group)
    trainer = build_trainer(settings.width)
    # Of one width, both are the same programs, compiled once.
    judging = trainer if settings.width in (0, config.network.width) else build_trainer(config.network.width)
    stage = Pretraining(cache, folder, schedule, trainer, judging, begun.translator, interleaved)
    return stage, translation.init(begun.variables, (), optimiser)


def _steps(
    stage: Pretraining, state: descent.State, start: int, waited: progress.Waited
) -> Iterator[tuple[int, descent.State, dict]]:
    """All steps from `start` on, round after round; each round sees more of the store."""
    position, cache = start, stage.cache
    for turn in range(cache.config.pretrain.rounds):
        if stage.end(turn) <= position:
            continue
        if stage.interleaved:
            fill(cache, stage.visible(turn))
        schedule = dataclasses.replace(stage.schedule, steps=stage.end(turn))
        stream = waited.over(batches.stream(cache, stage.visible(turn), schedule, position))
        for done, moved, metrics in stage.trainer.run(schedule, stream, cache.whitening, state, position):
            yield done, moved, metrics
        position, state = done, moved


def fill(cache: Cache, count: int) -> None:
    """Cache this process's share of the first `count` subsets, and wait for the other processes of the job.

    Raises:
        UserError: as `filling.fill`; where a distillation diverged, not as `Diverged`, whose step is none of the
            translator's.
    """
    try:
        filling.fill(cache, count)
        while caches.missing(cache, count):
            time.sleep(1)
            filling.fill(cache, count)
    except Diverged as error:
        raise UserError(str(error)) from error


def _judged(
    stage: Pretraining, resumable: Resumable, steps, points: list[dict]
) -> Iterator[tuple[int, descent.State, dict]]:
    """Pass steps on; every so many, judge the translator and add a point to those of the curve."""
    every, total, cases = stage.cache.config.pretrain.every, stage.schedule.steps, None
    for position, state, metrics in steps:
        if position % every == 0 or position in (1, total):
            # Made here because an interleaved run has no subsets before its first step.
            cases = cases or learning_curve.cases(stage.cache, stage.judging, stage.visible(0))
            judged = learning_curve.point(stage.judging, translation.variables(state), cases)
            points.append({"step": position, "seconds": round(resumable.elapsed, 1)} | judged)
            if jax.process_index() == 0:
                learning_curve.write(stage.folder, points)
        yield position, state, metrics
