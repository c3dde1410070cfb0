"""Pre-training (Alg. 2, lines 11-15): the translator moves on batches of cached subsets, each in networks of its own.

A stream of (subset, network) pairs: B of them make a batch, G batches are held at once and served in turn, m times
each, which costs the features of their real images only once. Which batch serves step t is a function of t alone.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fsdd.core import chunks, compilation, descent, mesh
from fsdd.core.synthetic_set import Mask, SyntheticSet
from fsdd.core.whitening import Whitening
from fsdd.methods import translation
from fsdd.methods.nfr import Objective
from fsdd.methods.streams import Draw
from fsdd.networks import sampling
from fsdd.networks.translator import Translator


@flax.struct.dataclass
class Batch:
    """Cached subsets of one bucket, `[b, ...]` in every leaf, in host memory: those of this process's devices.

    Attributes:
        source: S', images `[b, s, h, w, c]` and labels `[b, s, classes]`, padded.
        mask: what of S' is no padding.
        images: `[b, r, h, w, c]`, real, pixels as they are stored: they are whitened on the device.
        labels: float32 `[b, r, classes]`, centred over each subset's own classes.
        key: uint32 `[b, 2]`, the data of a random key each; determines a subset's network.
    """

    source: SyntheticSet
    mask: Mask
    images: np.ndarray
    labels: np.ndarray
    key: np.ndarray


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Which batch serves each step.

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


class TranslatorTrainer:
    """Moves a translator on batches of subsets, over one mesh of devices, those of other processes among them.

    Attributes:
        mesh: 1-D; the batch is a multiple of its size.
        judge: `(variables, cases) -> (translated, as they are)`, parts of the loss: see `translation.judge`.
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
        """For batches over `devices`, real images in chunks of `chunk`."""
        self.mesh, self._chunk = mesh.build_mesh(devices), chunk
        self._network, self._cache_dtype = objective.real_network, cache_dtype
        fixed = {"translator": translator, "objective": objective, "axis": mesh.AXIS}
        step = self._on_cases(functools.partial(translation.pretrain, optimiser=optimiser, **fixed))
        self._loop = descent.Loop(lambda state, index, cases: step(state, cases))
        self.judge = compilation.jit(self._on_cases(functools.partial(translation.judge, **fixed)))
        self._sample = compilation.jit(mesh.map_lanes(self._draw_networks, self.mesh, lanes=2))
        self._fill = compilation.jit(mesh.map_lanes(self._fill_features, self.mesh, lanes=3), donate_argnums=0)

    def _on_cases(self, function: Callable) -> Callable:
        """Let `(shared, cases)` run where the cases are; what it returns is the same on all devices."""
        spread = mesh.map_lanes(lambda cases, shared: function(shared, cases), self.mesh, lanes=1, reduced=True)
        return lambda shared, cases: spread(cases, shared)

    def _draw_networks(self, key, images):
        """A network for each of a device's lanes, and room for the features of its real images, `[b, r, d]`."""
        shape = images.shape[2:]
        variables = sampling.sample_many(self._network, jax.random.wrap_key_data(key), shape)
        room = (*images.shape[:2], sampling.feature_size(self._network, shape))
        return variables, jnp.zeros(room, self._cache_dtype)

    def _fill_features(self, features, variables, images, whitening, at):
        """Write the features of a chunk of each lane's real images into `[b, r, d]`, lane after lane."""
        for lane in range(len(features)):
            chunk = jax.lax.dynamic_slice_in_dim(images[lane], at, min(self._chunk, images.shape[1]))
            with jax.default_matmul_precision("highest"):
                chunk = whitening.apply(chunk)
            one = jax.tree.map(lambda leaf, lane=lane: leaf[lane], variables)
            values = sampling.features(self._network, one, chunk).astype(features.dtype)
            features = jax.lax.dynamic_update_slice(features, values[None], (lane, at, 0))
        return features

    def cases(self, batch: Batch, whitening: Whitening) -> translation.Case:
        """A batch with its networks sampled and its real images pushed through them, spread over the mesh.

        `whitening` is that of its real images, on all devices.
        """
        batch = mesh.distribute(self.mesh, batch)
        variables, features = self._sample(batch.key, batch.images)
        for start in chunks.chunk_starts(batch.images.shape[1], self._chunk):
            features = self._fill(features, variables, batch.images, whitening, np.int32(start))
        return translation.Case(batch.source, Draw(variables, features, batch.labels), batch.mask)

    def run(
        self,
        schedule: Schedule,
        batches: Iterable[Batch],
        whitening: Whitening,
        state: descent.State,
        start: int = 0,
    ) -> Iterator[tuple[int, descent.State, descent.Metrics]]:
        """Drive the translator over batches.

        Args:
            schedule: which batch serves each step.
            batches: from number `schedule.first_batch(start)` on.
            whitening: of their real images.
            state: where to begin; donated.
            start: the step that it has reached.

        Yields:
            `(steps done, state, metrics)`, as `descent.Loop.run`.
        """
        remaining = iter(batches)
        state, whitening = mesh.replicate(self.mesh, state), mesh.replicate(self.mesh, whitening)
        position = start
        while position < schedule.steps:
            group = [self.cases(batch, whitening) for batch in itertools.islice(remaining, schedule.group)]
            end = min((position // schedule.group_steps + 1) * schedule.group_steps, schedule.steps)
            while position < end:
                cases = group[position % schedule.group]
                for taken in self._loop.run(state, position + 1, cases, start=position):
                    position, state, metrics = taken
                    yield taken
            # The next group must not be computed while this one still fills memory.
            jax.block_until_ready(metrics)
