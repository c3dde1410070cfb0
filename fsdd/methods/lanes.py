"""Many subsets distilled at once in the one fixed network (Alg. 2, lines 3-10): `1 Net`, one lane a subset.

A lane is written for one subset and mapped: by `vmap` over those of a device, by `shard_map` over devices. Lanes of a
bucket have one shape: images, rows and classes that a subset lacks are padding, which takes part in nothing. The real
images enter as a few augmented views, whose features are computed once; a step draws from all views.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fsdd.core import augmentation, chunks, compilation, descent, losses, mesh, synthetic_set
from fsdd.core.synthetic_set import Mask, SyntheticSet
from fsdd.core.whitening import Whitening
from fsdd.methods import distillation
from fsdd.methods.nfr import Objective
from fsdd.methods.streams import Draw
from fsdd.networks import sampling


@flax.struct.dataclass
class Lanes:
    """Subsets side by side, `[l, ...]` in every leaf; those of one bucket have one shape.

    Attributes:
        images: `[l, r, h, w, c]`, real, pixels as they are stored: they are whitened on the device.
        labels: float32 `[l, r, classes]`, centred over the subset's own classes.
        count: int32 `[l]`, how many of the r rows are real.
        key: `[l]` random keys.
        start: S at the start, images `[l, s, h, w, c]` and labels `[l, s, classes]`.
        mask: what of S is no padding.
    """

    images: jax.Array
    labels: jax.Array
    count: jax.Array
    key: jax.Array
    start: SyntheticSet
    mask: Mask


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How every subset is distilled.

    Attributes:
        objective: the NFR loss.
        optimiser: moves S.
        steps: T.
        batch: real rows a step sees, drawn with replacement from all views.
        views: how often each real image is kept, first as it is, then augmented.
        policy: one of `augmentation.POLICIES`.
        mirror: whether that may flip images.
        cache_dtype: what kept features are stored in.
    """

    objective: Objective
    optimiser: optax.GradientTransformation
    steps: int
    batch: int
    views: int
    policy: str
    mirror: bool = True
    cache_dtype: str = "float32"


def lane(
    images: np.ndarray,
    labels: np.ndarray,
    start: np.ndarray,
    key: jax.Array,
    *,
    whitening: Whitening,
    real: int,
    rows: int,
    classes: int,
) -> Lanes:
    """One subset, padded: `Lanes` without the leading axis, on the host.

    Args:
        images: `[n, h, w, c]`, real, pixels.
        labels: int `[n]`, in 0..C-1, all of them there.
        start: int `[s]`, which of the images S starts from.
        key: determines augmentations and minibatches.
        whitening: of the images; those that S starts from are whitened here.
        real: r, n padded.
        rows: s padded.
        classes: C padded.
    """
    count = int(labels.max()) + 1
    begin, mask = padded(
        whitening.apply(images[start]), synthetic_set.initial_labels(labels[start], count), rows, classes
    )
    targets = _pad(synthetic_set.centred_labels(labels, count), real, classes)
    return Lanes(_pad(images, real), targets, np.array(len(images), np.int32), key, begin, mask)


def padded(images: np.ndarray, labels: np.ndarray, rows: int, classes: int) -> tuple[SyntheticSet, Mask]:
    """A synthetic set `[s, ...]` of C classes with zeros up to `rows` and `classes`, on the host, and its mask."""
    mask = Mask(np.arange(rows) < len(images), np.arange(classes) < labels.shape[1])
    return SyntheticSet(_pad(images, rows), _pad(labels, rows, classes)), mask


def _pad(array: np.ndarray, rows: int, columns: int | None = None) -> np.ndarray:
    """Zeros after the rows, and after the columns, of an array."""
    missing = [(0, rows - len(array))] + [(0, 0)] * (array.ndim - 1)
    if columns is not None:
        missing[1] = (0, columns - array.shape[1])
    return np.pad(array, missing)


def stack(lanes: Sequence):
    """Trees of arrays of one shape side by side: on the host where they are, but for random keys."""

    def together(*leaves):
        return jnp.stack(leaves) if isinstance(leaves[0], jax.Array) else np.stack(leaves)

    return jax.tree.map(together, *lanes)


class LaneDistiller:
    """Distils subsets side by side, in programs that are compiled once for each bucket.

    Attributes:
        mesh: 1-D; the number of lanes is a multiple of its size.
    """

    def __init__(
        self,
        recipe: Recipe,
        variables: sampling.Variables,
        whitening: Whitening,
        devices: list[jax.Device],
        dispatch: int = 1,
    ):
        """For lanes over `devices`; `variables` is the one fixed network, `whitening` that of real images."""
        self.mesh = mesh.build_mesh(devices)
        self._recipe = recipe
        self._variables, self._whitening = jax.device_put((variables, whitening), mesh.replicated_sharding(self.mesh))
        self._dispatch = dispatch
        step = self._over_lanes(functools.partial(_step, recipe))

        def all_lanes(state, index, features, lanes, variables):
            state, metrics = step(state, features, lanes, variables, index)
            return state, jax.tree.map(jnp.mean, metrics)

        self._loop = descent.Loop(all_lanes)
        self._fill = compilation.jit(self._over_lanes(functools.partial(_view, recipe)), donate_argnums=0)
        self._loss = compilation.jit(self._over_lanes(functools.partial(_loss, recipe)))
        self._init = compilation.jit(jax.vmap(functools.partial(descent.init, optimiser=recipe.optimiser)))

    def _over_lanes(self, function: Callable) -> Callable:
        """Map a function of one lane over all of them; from the fourth on, arguments are the same for all."""

        def local(*arguments):
            own, shared = arguments[:3], arguments[3:]
            return jax.vmap(lambda *lane: function(*lane, *shared))(*own)

        return mesh.map_lanes(local, self.mesh, lanes=3)

    def place(self, tree):
        """Spread lanes, or their states, over the mesh."""
        return jax.device_put(tree, mesh.lane_sharding(self.mesh))

    def empty_features(self, lanes: Lanes) -> jax.Array:
        """Zeros where the features of real images will be, `[l, views, r, d]`."""
        recipe = self._recipe
        count, rows = lanes.images.shape[:2]
        size = sampling.feature_size(recipe.objective.network, lanes.images.shape[2:])
        shape = (count, recipe.views, rows, size)
        return jnp.zeros(shape, recipe.cache_dtype, device=mesh.lane_sharding(self.mesh))

    def features(self, lanes: Lanes, chunk: int) -> jax.Array:
        """Real features of all views, `[l, views, r, d]`, a chunk of each lane at a time."""
        features, rows = self.empty_features(lanes), lanes.images.shape[1]
        for view in range(self._recipe.views):
            for start in chunks.chunk_starts(rows, chunk):
                places = start + jnp.arange(min(chunk, rows))
                constants = self._variables, self._whitening, jnp.int32(view), places
                features = self._fill(features, lanes.images, lanes.key, *constants)
        return features

    def init(self, lanes: Lanes) -> descent.State:
        """Where all lanes start."""
        return self.place(self._init(lanes.start))

    def run(
        self, lanes: Lanes, features: jax.Array, state: descent.State, start: int = 0
    ) -> Iterator[tuple[int, descent.State, descent.Metrics]]:
        """Drive all lanes to T; yields as `descent.Loop.run`."""
        steps, dispatch = self._recipe.steps, self._dispatch
        return self._loop.run(state, steps, *self._constants(lanes, features), start=start, dispatch=dispatch)

    def _constants(self, lanes: Lanes, features: jax.Array) -> tuple:
        return features, _without_images(lanes), self._variables

    def memory(self, lanes: Lanes, features: jax.Array, state: descent.State) -> int:
        """Bytes that a step on such lanes takes on one device."""
        program = self._loop.many(descent.steps_per_dispatch(self._dispatch, self._recipe.steps))
        # The same program as that of `run`: compiled once for both.
        lowered = program.lower(state, jnp.int32(0), *self._constants(lanes, features))
        analysis = lowered.compile().memory_analysis()
        return analysis.argument_size_in_bytes + analysis.temp_size_in_bytes

    def losses(self, synthetic: SyntheticSet, features: jax.Array, lanes: Lanes) -> np.ndarray:
        """NFR loss of each lane's S on all its real images, as they are, in the fixed network: `[l]`."""
        return np.asarray(self._loss(synthetic, features, _without_images(lanes), self._variables))


def _without_images(lanes: Lanes) -> Lanes:
    """A step needs real features only."""
    return lanes.replace(images=None, start=None)


def _view(recipe: Recipe, buffer, images, key, variables, whitening, view, places):
    """Write the features of some rows of one view into a lane's buffer `[views, r, d]`."""
    with jax.default_matmul_precision("highest"):
        whitened = whitening.apply(images[places])

    def augmented(place, image):
        # A kind for every image: the same whatever is beside it.
        image_key = jax.random.fold_in(jax.random.fold_in(key, view), place)
        changed = augmentation.augment(image_key, image[None], recipe.policy, recipe.mirror)[0]
        return jnp.where(view == 0, image, changed)

    features = sampling.features(recipe.objective.real_network, variables, jax.vmap(augmented)(places, whitened))
    return jax.lax.dynamic_update_slice(buffer, features.astype(buffer.dtype)[None], (view, places[0], 0))


def _step(recipe: Recipe, state, features, lane, variables, index):
    """One update of one lane on a minibatch of its views."""
    chex.assert_rank(features, 3)
    key = jax.random.fold_in(jax.random.fold_in(lane.key, recipe.views), index)
    rows = jax.random.randint(key, (recipe.batch,), 0, lane.count * recipe.views)
    view, row = rows // lane.count, rows % lane.count
    draw = Draw(variables, features[view, row], lane.labels[row])
    objective = functools.partial(recipe.objective, mask=lane.mask)
    return distillation.step(state, (draw,), objective=objective, optimiser=recipe.optimiser)


def _loss(recipe: Recipe, made, features, lane, variables):
    prediction = recipe.objective.predict(made, Draw(variables, features[0], lane.labels), lane.mask.rows)
    rows = jnp.arange(len(lane.labels)) < lane.count
    return recipe.objective.scale * losses.squared_error(prediction, lane.labels, rows)
