"""The pre-training stage: the translator moves on the store of cached subsets, and is judged on subsets held out.

<workdir>/pretrain/          config.json, result.json, curve.jsonl and curve.png; while it runs, its checkpoints
<workdir>/translator/        what comes of it: an Orbax checkpoint with a card
"""

import dataclasses
import functools
import json
import math
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fsdd import cache as caches
from fsdd import config as configs
from fsdd import provenance
from fsdd import run as runs
from fsdd.cache import Cache
from fsdd.core.synthetic import centred_labels
from fsdd.data import store
from fsdd.errors import Diverged, UserError
from fsdd.io import checkpoint, pictures, workdir
from fsdd.io.atomic import replacing
from fsdd.io.resumable import Resumable
from fsdd.methods import caching, optimisers, translation
from fsdd.methods.pretraining import Batch, Programs, Schedule

# One subset in so many is held out: the last of each ten, so that a store that grows holds out some at any size.
_HELD_OUT = 10


@dataclasses.dataclass(frozen=True)
class Pretraining:
    """What the steps share.

    Attributes:
        cache: the store, its big set and its network.
        folder: the stage's folder.
        schedule: which batch serves which step.
        programs: what batches run through.
        interleaved: whether the stage itself fills the store as it goes.
    """

    cache: Cache
    folder: pathlib.Path
    schedule: Schedule
    programs: Programs
    interleaved: bool

    def end(self, turn: int) -> int:
        """The step at which a round ends: whole groups."""
        groups = -(-self.schedule.steps // self.schedule.group_steps)
        rounds = self.cache.config.pretrain.rounds
        return min(groups * (turn + 1) // rounds * self.schedule.group_steps, self.schedule.steps)

    def visible(self, turn: int) -> int:
        """Subsets that a round draws from, counted from the first."""
        count = self.cache.config.subsets.count
        return max(math.ceil(count * (turn + 1) / self.cache.config.pretrain.rounds), min(_HELD_OUT, count))

    def train(self, visible: int) -> list[int]:
        """Of the first `visible` subsets those that are not held out."""
        return [index for index in range(visible) if not _is_held_out(index, visible)]

    def subsets(self, step: int) -> np.ndarray:
        """The subsets that a step sees."""
        turn = next(turn for turn in range(self.cache.config.pretrain.rounds) if step < self.end(turn))
        number = self.schedule.first_batch(step) + step % self.schedule.group
        return _choose(self.cache, self.train(self.visible(turn)), number)[1]


def check(config, folder: pathlib.Path) -> None:
    """See that what was pre-trained in a workdir fits a resolved config.

    Raises:
        UserError: it was made with another.
    """
    workdir.check(folder / "pretrain", relevant(config))
    if jax.process_count() > 1:
        raise UserError(
            f"pre-training runs in one process, on all of its devices, and this job has {jax.process_count()}; use "
            "--stage=cache with many processes, then --stage=pretrain with one"
        )
    if config.subsets.count < 2:
        raise UserError(f"config.subsets.count is {config.subsets.count}; allowed: at least 2, one is held out")
    devices = len(jax.local_devices())
    if config.pretrain.subsets % devices:
        raise UserError(
            f"config.pretrain.subsets is {config.pretrain.subsets}; allowed: a multiple of the {devices} devices"
        )


def relevant(config) -> dict[str, Any]:
    """The fields that the translator depends on."""
    parts = ("pretrain", "translator")
    own = {name: value for name, value in configs.flat(config).items() if name.split(".")[0] in parts}
    return caches.relevant(config) | own | {"subsets.count": config.subsets.count}


def run(cache: Cache, folder: pathlib.Path, interleaved: bool) -> dict[str, Any]:
    """Pre-train the translator on a store, or load what that gave.

    Args:
        cache: the store.
        folder: the workdir.
        interleaved: whether subsets that are not there yet are to be cached on the way.

    Returns:
        The stage's figures.

    Raises:
        UserError: subsets are missing, the loss is no number, or the disk refuses.
    """
    here = folder / "pretrain"
    if (done := workdir.read(here / "result.json")) is not None:
        return done
    stage, state = _begin(cache, here, interleaved)
    config, schedule = cache.config, stage.schedule
    workdir.write(here / "config.json", relevant(config))
    resumable = Resumable(here, "pre-train", schedule.steps, config.compute.checkpoint_seconds)
    start, state = resumable.restore(state)
    try:
        state = resumable.follow(_judged(stage, _steps(stage, state, start), start))
    except Diverged as error:
        subsets = ", ".join(map(str, stage.subsets(error.step)))
        raise UserError(f"{error}; that step's subsets are {subsets}, the last checkpoint is kept") from error
    variables = {"params": state.moving.params, "batch_stats": state.batch_stats}
    networks = -(-schedule.steps // schedule.group_steps) * schedule.group * config.pretrain.subsets
    figures = {"networks": networks} | resumable.figures() | {"held_out": _read_curve(stage)[-1]}
    figures |= provenance.summary()
    card = {"made_in": caches.relevant(config), "config": relevant(config)} | figures
    checkpoint.save_translator(folder / "translator", variables, card)
    workdir.write(here / "result.json", figures)
    resumable.discard()
    return figures


def _begin(cache: Cache, folder: pathlib.Path, interleaved: bool) -> tuple[Pretraining, translation.State]:
    """The stage, and a fresh translator in it."""
    config = cache.config
    settings, translator = config.pretrain, runs.build_translator(config, cache.data.image_shape[-1])
    rate = optimisers.cosine(settings.rate, settings.steps, settings.final, settings.warmup)
    optimiser = translation.optimiser(optimisers.build(settings.optimiser, rate), None)
    programs = Programs(
        translator,
        runs.build_objective(config, cache.sampler.limits.classes_max),
        optimiser,
        jax.local_devices(),
        chunk=config.compute.chunk,
        cache_dtype=config.network.cache_dtype,
    )
    schedule = Schedule(settings.steps, settings.uses, settings.group)
    key = jax.random.fold_in(runs.purpose_key(config.seed, "pretrain"), 0)
    fresh = translation.fresh(translator, key, cache.data.image_shape)
    return Pretraining(cache, folder, schedule, programs, interleaved), translation.init(fresh, (), optimiser)


def _steps(stage: Pretraining, state: translation.State, start: int) -> Iterator[tuple[int, translation.State, dict]]:
    """All steps from `start` on, round after round; each round sees more of the store."""
    position = start
    for turn in range(stage.cache.config.pretrain.rounds):
        if stage.end(turn) <= position:
            continue
        if stage.interleaved:
            caches.fill(stage.cache, stage.visible(turn))
        schedule = dataclasses.replace(stage.schedule, steps=stage.end(turn))
        batches = _batches(stage, stage.visible(turn), schedule, position)
        for done, moved, metrics in stage.programs.run(schedule, batches, state, position):
            yield done, moved, metrics
        position, state = done, moved


def _batches(stage: Pretraining, visible: int, schedule: Schedule, start: int) -> Iterator[Batch]:
    """The batches of a round from step `start` on, read and whitened while the device works."""
    import grain

    source = _source(stage.cache, visible)
    make = functools.partial(_batch, stage.cache, source, stage.train(visible))
    numbers = grain.MapDataset.range(
        schedule.first_batch(start), schedule.first_batch(schedule.steps - 1) + schedule.group
    )
    return iter(numbers.map(make).to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=2)))


def _is_held_out(index: int, count: int) -> bool:
    return index % _HELD_OUT == min(_HELD_OUT, count) - 1


def _source(cache: Cache, visible: int) -> store.Source:
    """The subsets below `visible`, all of which have to be there."""
    source = store.Source(caches.look(cache))
    if missing := set(range(visible)) - set(source.indices):
        raise UserError(
            f"{cache.folder} lacks {len(missing)} of the {visible} subsets that config.subsets.count asks for; run "
            "--stage=cache first, or both stages"
        )
    return source


def _batch(cache: Cache, source: store.Source, indices: list[int], number: int) -> Batch:
    """Batch `number`, with the keys of its networks."""
    bucket, chosen, rng = _choose(cache, indices, number)
    root = jax.random.fold_in(runs.purpose_key(cache.config.seed, "pretrain"), 1)
    keys = jax.random.split(jax.random.fold_in(root, number), len(chosen))
    return stack(cache, source, chosen, bucket, keys, rng)


def _choose(cache: Cache, indices: list[int], number: int) -> tuple[int, np.ndarray, np.random.Generator]:
    """The bucket of batch `number`, its subsets (one at random, others of its bucket), and what draws their rows."""
    rng = np.random.default_rng([cache.config.seed, number])
    bucket = cache.bucket(int(rng.choice(indices)))
    alike = [index for index in indices if cache.bucket(index) == bucket]
    return bucket, rng.choice(alike, cache.config.pretrain.subsets), rng


def stack(cache: Cache, source: store.Source, chosen, bucket: int, keys: jax.Array, rng) -> Batch:
    """Cached subsets side by side, padded to a bucket, with some of their real images each."""
    most, real = cache.sampler.limits.classes_max, cache.config.pretrain.real_images
    parts = []
    for index, key in zip(chosen, keys, strict=True):
        cached = source[source.indices.index(int(index))]
        rows = rng.choice(len(cached.rows), real, replace=real > len(cached.rows))
        start, mask = caching.padded(cached.images, cached.targets, bucket, most)
        labels = centred_labels(cached.labels[rows], len(cached.classes))
        labels = np.pad(labels, ((0, 0), (0, most - labels.shape[1])))
        images = cache.whitening.apply(cache.data.train_images[cached.rows[rows]])
        parts.append(Batch(start, mask, images, labels, key))
    return caching.stack(parts)


def _judged(stage: Pretraining, steps, start: int) -> Iterator[tuple[int, translation.State, dict]]:
    """Pass steps on; every so many, judge the translator on held-out subsets in networks that it does not see."""
    every, total = stage.cache.config.pretrain.every, stage.schedule.steps
    points = [point for point in _read_curve(stage) if point["step"] <= start]
    cases = None
    for position, state, metrics in steps:
        if position % every == 0 or position in (1, total):
            # Made here because an interleaved run has no subsets before its first step.
            cases = cases or _held_out_cases(stage)
            variables = {"params": state.moving.params, "batch_stats": state.batch_stats}
            translated, plain = stage.programs.judge(variables, cases)
            points.append({"step": position, "translated": float(translated), "untranslated": float(plain)})
            _write_curve(stage, points)
        yield position, state, metrics


def _held_out_cases(stage: Pretraining) -> translation.Case:
    cache = stage.cache
    visible = stage.visible(0)
    held = [index for index in range(visible) if _is_held_out(index, visible)]
    count = -(-min(len(held), cache.config.pretrain.held_out) // cache.devices) * cache.devices
    chosen = np.resize(held, count)
    keys = jax.random.split(jax.random.fold_in(runs.purpose_key(cache.config.seed, "pretrain"), 2), count)
    bucket = max(cache.bucket(int(index)) for index in chosen)
    batch = stack(cache, _source(cache, visible), chosen, bucket, keys, np.random.default_rng(cache.config.seed))
    return stage.programs.cases(jax.tree.map(jnp.asarray, batch))


def _read_curve(stage: Pretraining) -> list[dict]:
    path = stage.folder / "curve.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def _write_curve(stage: Pretraining, points: list[dict]) -> None:
    with replacing(stage.folder / "curve.jsonl") as path:
        path.write_text("".join(json.dumps(point) + "\n" for point in points))
    steps = [point["step"] for point in points]
    series = {name: (steps, [point[name] for point in points]) for name in ("untranslated", "translated")}
    label = "NFR loss, held-out subsets and networks"
    pictures.curve(stage.folder / "curve.png", series, xlabel="step", ylabel=label, log_x=True)
