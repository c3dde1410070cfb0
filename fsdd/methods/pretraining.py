"""Pre-training (Alg. 2, lines 11-15): the translator moves on batches of cached subsets, each in networks of its own.

A stream of (subset, network) pairs: B of them make a batch, G batches are held at once and served in turn, m times
each, which costs the features of their real images only once. Which batch serves step t is a function of t alone.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator

import flax.struct
import jax
import jax.numpy as jnp
import optax

from fsdd.core import mesh
from fsdd.core.synthetic import Mask, SyntheticSet
from fsdd.methods import translation
from fsdd.methods.nfr import Objective
from fsdd.methods.streams import Draw
from fsdd.networks import sampling
from fsdd.networks.translator import Translator


@flax.struct.dataclass
class Batch:
    """B cached subsets of one bucket, `[b, ...]` in every leaf, in host memory.

    Attributes:
        source: S', images `[b, s, h, w, c]` and labels `[b, s, classes]`, padded.
        mask: what of S' is no padding.
        images: float32 `[b, r, h, w, c]`, real, whitened.
        labels: float32 `[b, r, classes]`, centred over each subset's own classes.
        key: `[b]`; determines a subset's network.
    """

    source: SyntheticSet
    mask: Mask
    images: jax.Array
    labels: jax.Array
    key: jax.Array


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Who is used, when.

    Attributes:
        steps: updates of the translator.
        uses: m, how many steps a batch serves.
        group: G, how many batches are held and served in turn.
    """

    steps: int
    uses: int = 1
    group: int = 1

    @property
    def group_steps(self) -> int:
        """Steps that one group serves."""
        return self.group * self.uses

    def first_batch(self, step: int) -> int:
        """The number of the batch with which a run that starts at `step` begins."""
        return step // self.group_steps * self.group


class Programs:
    """What batches run through on one mesh of devices.

    Attributes:
        mesh: 1-D; the batch is a multiple of its size.
        judge: `(variables, cases) -> (translated, as they are)`, the NFR loss of a batch: see `translation.judge`.
    """

    def __init__(
        self,
        translator: Translator,
        objective: Objective,
        optimiser: optax.GradientTransformation,
        devices: list[jax.Device],
        *,
        chunk: int = 128,
        cache_dtype: str = "float32",
    ):
        """Programs for batches over `devices`, real images in chunks of `chunk`."""
        self.mesh, self._chunk = mesh.over(devices), chunk
        self._objective, self._cache_dtype = objective, cache_dtype
        fixed = {"translator": translator, "objective": objective}
        step = functools.partial(translation.pretrain, optimiser=optimiser, axis=mesh.AXIS, **fixed)
        spread = mesh.spread(lambda cases, state: step(state, cases), self.mesh, 1, reduced=True)
        self._step = jax.jit(lambda state, cases: spread(cases, state), donate_argnums=0)
        self.judge = jax.jit(functools.partial(translation.judge, **fixed))
        self._fill = jax.jit(mesh.spread(self._some_features, self.mesh, 1), donate_argnums=0)
        self._sample = jax.jit(sampling.sample_many, static_argnums=(0, 2))

    def _some_features(self, found, variables, images, at):
        """Write the features of a chunk of each lane's real images into `[b, r, d]`, lane after lane."""
        for lane in range(len(found)):
            chunk = jax.lax.dynamic_slice_in_dim(images[lane], at, min(self._chunk, images.shape[1]))
            one = jax.tree.map(lambda leaf, lane=lane: leaf[lane], variables)
            values = sampling.features(self._objective.network, one, chunk).astype(found.dtype)
            found = jax.lax.dynamic_update_slice(found, values[None], (lane, at, 0))
        return found

    def cases(self, batch: Batch) -> translation.Case:
        """A batch with its networks sampled and its real images pushed through them, spread over the mesh."""
        batch = jax.device_put(batch, mesh.lanes(self.mesh))
        network, (count, rows) = self._objective.network, batch.images.shape[:2]
        variables = self._sample(network, batch.key, batch.images.shape[2:])
        one = jax.eval_shape(
            functools.partial(sampling.features, network),
            jax.tree.map(lambda leaf: leaf[0], variables),
            batch.images[0, :1],
        )
        found = jnp.zeros((count, rows, one.shape[-1]), self._cache_dtype, device=mesh.lanes(self.mesh))
        size = min(self._chunk, rows)
        for start in range(0, rows, size):
            # The last chunk overlaps the one before it: one compiled shape.
            found = self._fill(found, variables, batch.images, jnp.int32(min(start, rows - size)))
        return translation.Case(batch.source, Draw(variables, found, batch.labels), batch.mask)

    def run(
        self, schedule: Schedule, batches: Iterable[Batch], state: translation.State, start: int = 0
    ) -> Iterator[tuple[int, translation.State, dict]]:
        """Drive the translator over batches.

        Args:
            schedule: who is used, when.
            batches: from number `schedule.first_batch(start)` on.
            state: where to begin; donated.
            start: the step that it has reached.

        Yields:
            `(steps done, state, metrics)` as `streams.run` does.
        """
        remaining = iter(batches)
        state = jax.device_put(state, mesh.everywhere(self.mesh))
        position = start
        while position < schedule.steps:
            group = [self.cases(batch) for batch in itertools.islice(remaining, schedule.group)]
            end = min((position // schedule.group_steps + 1) * schedule.group_steps, schedule.steps)
            while position < end:
                state, metrics = self._step(state, group[position % schedule.group])
                position += 1
                yield position, state, jax.tree.map(lambda metric: metric[None], metrics)
            # The next group must not be computed while this one still fills memory.
            jax.block_until_ready(metrics)
