"""Filling the store of experts, and drawing from it.

Any number of processes may work on one store: each claims an expert, trains it from where its file ends, and writes the
file anew once enough time has passed, and at the end. A run waits for what others are at.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.flatten_util
import numpy as np

from fsdd import config as configs
from fsdd.assembly import keys
from fsdd.config import Resolved
from fsdd.core import compilation, descent
from fsdd.data.real_set import RealSet
from fsdd.distilling.context import Context
from fsdd.errors import Diverged, UserError
from fsdd.io import paths, progress
from fsdd.io.trajectories import Expert, Trajectories
from fsdd.methods import experts, trajectory_matching
from fsdd.networks import sampling

# What experts depend on besides the images, which show themselves whether they are the same, and their own fields.
_SECTIONS = ("mirror", "whitening", "network")
_FREE = ("experts.folder", "experts.count", "experts.epochs", "network.cache_dtype", "network.seed")


def figures(config: Resolved, classes: int, ipc: int) -> trajectory_matching.Figures:
    """MTT's figures for a set, where a config leaves them open."""
    return trajectory_matching.choose(
        classes, ipc, **{name: config.mtt[name] for name in trajectory_matching.Figures._fields}
    )


def epochs_of(config: Resolved, classes: int) -> int:
    """Epochs of each expert that a run needs: those that it says, or as many as MTT may use."""
    return config.experts.epochs or _used_epochs(config, classes)


def _used_epochs(config: Resolved, classes: int) -> int:
    own = figures(config, classes, config.ipc)
    return own.max_start - 1 + own.epochs


def check_epochs(config: Resolved, data: RealSet) -> None:
    """Check that experts train for as many epochs as MTT may use.

    Raises:
        UserError: they do not.
    """
    used = _used_epochs(config, data.num_classes)
    if 0 < config.experts.epochs < used:
        raise UserError(
            f"config.experts.epochs is {config.experts.epochs}; allowed: 0, or at least the {used} that mtt may use, "
            "max_start - 1 + epochs of it"
        )


def open_store(context: Context) -> Trajectories:
    """The store of a run's experts.

    Raises:
        UserError: it was made with other fields, or of other images.
    """
    config = context.config
    place = config.experts.folder
    store = Trajectories(paths.expand(place, "config.experts.folder") if place else context.folder / "experts")
    identity = {name: value for name, value in context.data.identity().items() if not name.startswith("test_")}
    fields = configs.select(config, (*_SECTIONS, "experts"), without=_FREE)
    store.check(identity, fields)
    return store


def epoch_steps(context: Context) -> int:
    """Steps of an epoch of an expert."""
    return experts.epoch_steps(len(context.real.images), context.config.experts.batch)


class Training:
    """Trains the experts of a store."""

    def __init__(self, context: Context, store: Trajectories):
        """For a run."""
        config, self._context, self._store = context.config, context, store
        settings = config.experts
        network = context.objective.network
        self._recipe = experts.Recipe(network, settings.rate, settings.batch, settings.policy, config.mirror)
        self._each = epoch_steps(context)
        shape = context.data.image_shape
        self._fresh = compilation.jit(lambda key: experts.init(self._recipe, key, shape))
        self._loop = descent.Loop(compilation.bind(experts.step, recipe=self._recipe))
        self._flatten = compilation.jit(lambda tree: jax.flatten_util.ravel_pytree(tree)[0])

    def fill(self, count: int, epochs: int) -> None:
        """Train the first experts that no process has, and wait for those that others are at."""
        claims, total = self._store.claims, count * epochs * self._each
        with progress.bar("experts", total) as bar:
            while lacking := self._store.lacking(count, epochs):
                done = sum(min(known[0], epochs) for number, known in self._store.find().items() if number < count)
                bar.skip(max(done * self._each - bar.n, 0))
                number = next((one for one in lacking if claims.take(one)), None)
                if number is None:
                    bar.say("waiting for another process")
                    number = lacking[0]
                    claims.take(number, wait=True)
                try:
                    self._train(number, epochs, bar)
                finally:
                    claims.release(number)

    def _train(self, number: int, epochs: int, bar: progress.Bar) -> None:
        """Train an expert, which this process has claimed, to so many epochs."""
        key = jax.random.fold_in(keys.purpose_key(self._context.config.experts.seed, "experts"), number)
        member = self._fresh(key)
        expert = self._store.read(number) or Expert([np.asarray(self._flatten(member.moving))], [], [])
        unravel, saved_at = _unravel(member.moving), time.monotonic()
        # A copy, since the state is donated.
        member = member.replace(moving=unravel(expert.snapshots[-1]))
        for epoch in range(expert.epochs, epochs):
            began = time.monotonic()
            member, loss = self._take_epoch(member, number, epoch, key, bar)
            snapshot = np.asarray(self._flatten(member.moving))
            expert = expert.after(snapshot, loss, time.monotonic() - began)
            if time.monotonic() - saved_at > self._context.config.compute.checkpoint_seconds or epoch == epochs - 1:
                self._store.write(number, expert)
                saved_at = time.monotonic()

    def _take_epoch(
        self, member: descent.State, number: int, epoch: int, key: jax.Array, bar: progress.Bar
    ) -> tuple[descent.State, float]:
        """The expert after an epoch, and the mean loss in it."""
        losses, dispatch = [], self._context.config.compute.dispatch
        given = member, (epoch + 1) * self._each, key, self._context.real
        before = epoch * self._each
        for position, state, metrics in self._loop.run(*given, start=before, dispatch=dispatch):
            member = state
            # Waiting keeps a long queue of steps from piling up; losses are read once an epoch.
            losses.append(jax.block_until_ready(metrics["loss"]))
            bar.update(position - before)
            before = position
        losses = np.concatenate(jax.device_get(losses))
        if not np.isfinite(losses).all():
            step = epoch * self._each + int(np.flatnonzero(~np.isfinite(losses))[0])
            raise Diverged(f"expert {number}: the loss is no number at step {step}; lower experts.rate", step)
        return member, float(np.mean(losses))


def _unravel(params: Any) -> Callable[[np.ndarray], Any]:
    """From a flat array to parameters like these."""
    return compilation.jit(jax.flatten_util.ravel_pytree(params)[1])


class Draws:
    """Random pieces of the trajectories of a store: where an iteration starts, and where it should arrive."""

    def __init__(self, context: Context, own: trajectory_matching.Figures, key: jax.Array):
        """Of a run's experts; an iteration's piece depends on the key and the iteration."""
        self._store, self._count = open_store(context), context.config.experts.count
        self._own, self._seed = own, jax.random.key_data(key).tolist()
        fresh = sampling.sample(context.objective.network, jax.random.key(0), context.data.image_shape)
        self._unravel, self._variables = _unravel(fresh["params"]), fresh

    def __call__(self, iteration: int) -> tuple[sampling.Variables, Any]:
        """The variables at the start, and the parameters that the expert has some epochs later."""
        numbers = np.random.default_rng([*self._seed, iteration])
        number, epoch = (int(numbers.integers(most)) for most in (self._count, self._own.max_start))
        start, target = map(self._unravel, self._store.snapshots(number, (epoch, epoch + self._own.epochs)))
        return self._variables | {"params": start}, target


def summarise(store: Trajectories, count: int, epochs: int) -> dict[str, Any]:
    """What the first experts took and reached: wall seconds, and the mean loss of their last epoch."""
    losses, seconds = zip(*(store.read_curves(number) for number in range(count)), strict=True)
    last = float(np.mean([own[epochs - 1] for own in losses]))
    return {"wall_seconds": round(float(sum(own[:epochs].sum() for own in seconds)), 2), "last": {"loss": last}}
