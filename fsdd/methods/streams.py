"""Streams of (network, real features, real labels): which of them serve each step.

One description covers every row of the paper. A stream has K networks; each keeps the features of some real images
and is used m times. They are held in groups of G, and a group's networks are served in turn:

    K = 1, all of T, minibatches       one fixed network: `1 Net`, and every cached subset of pre-training
    K networks, m uses each            few-network distillation, `Refine`
    K = steps, m = 1                   a fresh network each step: `Baseline`, adaptation as the paper has it

A step may see B networks at once, each of which has then served one of its uses; they are spread over the devices of
the host, and the step follows their mean gradient. `stream_driver` takes the steps.

Which networks serve step t, and which of their rows, is a function of (key, t) alone, whatever the devices.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from fsdd.core import chunks, compilation
from fsdd.networks import sampling


class Real(NamedTuple):
    """The real set T on the device: whitened images `[n, h, w, c]` and centred labels `[n, classes]`."""

    images: jax.Array
    labels: jax.Array


class Draw(NamedTuple):
    """What a step sees of one network: its variables, and real features `[b, d]` with labels `[b, classes]` in it."""

    variables: sampling.Variables
    features: jax.Array
    labels: jax.Array


@flax.struct.dataclass
class Group:
    """G networks held at once: variables `[g, ...]`, features `[g, r, d]`, labels `[g, r, classes]`.

    Those that serve a step together are G / B apart, so that a mesh of devices has whole stretches of the group.
    """

    variables: sampling.Variables
    features: jax.Array
    labels: jax.Array


@dataclasses.dataclass(frozen=True)
class Stream:
    """A schedule of networks.

    Attributes:
        networks: K, how many random networks there are.
        uses: m, how many steps each one serves.
        group: G, how many are held in memory and served in turn; divides K.
        real_images: r, real images whose features a network keeps, drawn without replacement; 0 is all of T.
        batch: real rows a step sees, drawn with replacement from those; 0 is all r of them.
        chunk: real images pushed through a network at once.
        cache_dtype: what kept features are stored in.
        balanced: whether the real rows that a step sees are drawn so that classes count alike; then always with
            replacement.
        at_once: B, how many serve a step together; divides G.
    """

    networks: int
    uses: int
    group: int = 1
    real_images: int = 0
    batch: int = 0
    chunk: int = 128
    cache_dtype: str = "float32"
    balanced: bool = False
    at_once: int = 1

    def __post_init__(self):
        if self.networks % self.group:
            raise ValueError(f"a group of {self.group} does not divide {self.networks} networks")
        if self.group % self.at_once:
            raise ValueError(f"{self.at_once} networks at once do not divide a group of {self.group}")

    @property
    def steps(self) -> int:
        """K * m / B."""
        return self.networks * self.uses // self.at_once

    @property
    def rounds(self) -> int:
        """Steps in which each network of a group serves once."""
        return self.group // self.at_once

    @property
    def group_steps(self) -> int:
        """Steps that one group serves."""
        return self.rounds * self.uses

    def kept(self, size: int) -> int:
        """Of how many real images, out of so many, a network keeps the features."""
        return min(self.real_images or size, size)

    def keeps_balanced(self, size: int) -> bool:
        """Whether a network's real images are balanced: where steps draw from all of them, it is the draws that are."""
        return self.balanced and not (self.batch and self.kept(size) == size)


@functools.cache
def feature_program(network: nn.Module, cache_dtype: str = "float32") -> Callable:
    """`(variables, images, rows) -> features [rows, d]` as they are kept, compiled once for each network."""

    @compilation.jit
    def features(variables, images, rows):
        return sampling.features(network, variables, images[rows]).astype(cache_dtype)

    return features


def fill(
    stream: Stream,
    network: nn.Module,
    real: Real,
    key: jax.Array,
    variables: sampling.Variables | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> Group:
    """Sample a group's networks, unless given, and push their real images through them, a chunk at a time.

    `watch` is told how many images have passed, and of how many; to know, it waits for the device.
    """
    sample_key, rows_key = jax.random.split(key)
    if variables is None:
        variables = sampling.sampler(network, real.images.shape[1:])(jax.random.split(sample_key, stream.group))
    size = len(real.images)
    count = stream.kept(size)
    rows = _choose_at_once(rows_key, real.labels, jnp.arange(stream.group), count, stream.keeps_balanced(size))
    program, features = feature_program(network, stream.cache_dtype), None
    for i in range(stream.group):
        one = _member(variables, np.int32(i))
        told = watch and (lambda done, i=i: watch(i * count + done, stream.group * count))
        kept = chunks.map_chunks(lambda some, one=one: program(one, real.images, some), rows[i], stream.chunk, told)
        # Features are the bulk of memory: those of a single network (all of T) are not copied, those of many go
        # into one buffer, since stacking them would need it twice.
        if stream.group == 1:
            features = kept[None]
        else:
            room = jnp.zeros((stream.group, *kept.shape), kept.dtype) if features is None else features
            features = _put(room, kept, i)
    return Group(variables, features, real.labels[rows])


@jax.jit
def _member(variables: sampling.Variables, i: jax.Array) -> sampling.Variables:
    return jax.tree.map(lambda leaf: leaf[i], variables)


@functools.partial(jax.jit, donate_argnums=0)
def _put(room: jax.Array, rows: jax.Array, at: jax.Array) -> jax.Array:
    return room.at[at].set(rows)


def fixed_network(network: nn.Module, groups_key: jax.Array, image_shape: tuple[int, int, int]) -> sampling.Variables:
    """The network of a stream of one, from the key that its run is given for networks."""
    sample_key, _ = jax.random.split(jax.random.fold_in(groups_key, 0))
    many = sampling.sampler(network, image_shape)(jax.random.split(sample_key, 1))
    return _member(many, np.int32(0))


def _choose(key: jax.Array, labels: jax.Array, places: jax.Array, count: int, balanced: bool) -> jax.Array:
    """Which `count` real images, with labels `[n, classes]`, networks at these places of a group keep: `[g, count]`."""
    size = len(labels)
    if count == size and not balanced:
        return jnp.tile(jnp.arange(size), (len(places), 1))

    def one(i):
        own = jax.random.fold_in(key, i)
        return draw_balanced(own, labels, count) if balanced else jax.random.permutation(own, size)[:count]

    return jax.lax.map(one, places)


_choose_at_once = jax.jit(_choose, static_argnums=(3, 4))


def fill_within(
    stream: Stream, network: nn.Module, real: Real, key: jax.Array, devices: int = 1, device: jax.Array | int = 0
) -> Group:
    """The same group as `fill` draws, computed within a compiled function: for groups that serve few steps.

    Of several devices that share a group each has its own part of it.
    """
    sample_key, rows_key = jax.random.split(key)
    held = stream.group // devices
    places = device * held + jnp.arange(held)
    variables = sampling.sample_many(network, jax.random.split(sample_key, stream.group)[places], real.images.shape[1:])
    size = len(real.images)
    rows = _choose(rows_key, real.labels, places, stream.kept(size), stream.keeps_balanced(size))

    def one(own, kept):
        kept_features = chunks.map_chunks_within(
            lambda some: sampling.features(network, own, real.images[some]), kept, stream.chunk
        )
        return kept_features.astype(stream.cache_dtype)

    if held == 1:
        # Not by a loop, within which CPUs convolve slowly.
        features = one(jax.tree.map(lambda leaf: leaf[0], variables), rows[0])[None]
    else:
        features = jax.lax.map(lambda member: one(*member), (variables, rows))
    return Group(variables, features, real.labels[rows])


def draw_balanced(key: jax.Array, labels: jax.Array, count: int) -> jax.Array:
    """Rows `[count]` of labels `[n, classes]`, drawn with replacement: each class that is there is as likely as any."""
    classes = jnp.argmax(labels, axis=-1)
    weights = 1 / jnp.bincount(classes, length=labels.shape[-1])[classes]
    return jax.random.choice(key, len(labels), (count,), p=weights / weights.sum())


def draw(stream: Stream, group: Group, key: jax.Array, step: jax.Array, device: jax.Array | int = 0) -> list[Draw]:
    """What step `step` sees of its group, or of a device's part of it: a draw of each network that serves it."""
    lanes, turn = len(group.labels) // stream.rounds, step % stream.rounds
    first = step * stream.at_once + device * lanes
    return [
        _draw_one(stream, group, jax.random.fold_in(key, first + i), i * stream.rounds + turn) for i in range(lanes)
    ]


def _draw_one(stream: Stream, group: Group, key: jax.Array, turn: jax.Array) -> Draw:
    variables = jax.tree.map(lambda leaf: leaf[turn], group.variables)
    count = group.features.shape[1]
    if not stream.batch or (stream.batch >= count and not stream.balanced):
        return Draw(variables, group.features[turn], group.labels[turn])
    if stream.balanced:
        rows = draw_balanced(key, group.labels[turn], min(stream.batch, count))
    else:
        rows = jax.random.randint(key, (stream.batch,), 0, count)
    # One gather: `features[turn][rows]` would first copy all of a network's features.
    return Draw(variables, group.features[turn, rows], group.labels[turn, rows])
