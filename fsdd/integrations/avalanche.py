"""A distilling replay buffer for Avalanche: of each experience it keeps a synthetic set instead of real images.

    pip install 'fsdd[avalanche]'

    from avalanche.training.plugins import ReplayPlugin
    from fsdd.integrations.avalanche import DistillingBuffer

    buffer = DistillingBuffer("runs/stream", ipc=10, classes=100)
    strategy = Naive(..., plugins=[ReplayPlugin(mem_size=buffer.max_size, storage_policy=buffer)])

Avalanche is imported here and nowhere else in the package.
"""

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from avalanche.benchmarks.utils import AvalancheDataset, concat_datasets
from avalanche.benchmarks.utils.data_attribute import DataAttribute
from avalanche.training.storage_policy import ExemplarsBuffer
from torch.utils.data import TensorDataset

from fsdd import api
from fsdd.data import arrays
from fsdd.data.images import resize
from fsdd.errors import UserError
from fsdd.integrations import exemplars
from fsdd.io import paths
from fsdd.io.atomic import replacing
from fsdd.io.digests import digest_arrays


class DistillingBuffer(ExemplarsBuffer):
    """Exemplars that any of the methods made: `ipc` images of each class seen so far (`exemplars.renew` says how).

    The images of an experience have to be uint8 or floats in [0, 1], as `ToTensor` leaves them, and so are those kept:
    float32 `[c, h, w]`. A network that wants them normalised does it itself. Labels are the stream's own integers; one
    label of two tasks is two classes.

    Attributes:
        max_size: images of all classes of the stream.
    """

    def __init__(self, workdir: str | pathlib.Path, *, ipc: int, classes: int, fields: Mapping[str, Any] | None = None):
        """An empty buffer.

        Args:
            workdir: keeps the run of each experience; a stream that was interrupted finds what was distilled there.
            ipc: stored images per class; with the field `factor` they become factor^2 as many.
            classes: of the whole stream.
            fields: config fields by dotted name, such as `{"method": "translate"}`, as in `fsdd.distill`.
        """
        if not isinstance(ipc, int) or ipc < 1:
            raise UserError(f"ipc is {ipc!r}; allowed: a whole number of at least 1")
        self._fields = {"evaluate.networks": 0, "test_fraction": 0.0} | dict(fields or {}) | {"ipc": ipc}
        # Images are read once, as they come: what is distilled is a square of bytes already.
        self._reading = [self._fields.pop("image_size", 0), self._fields.pop("pixel_range", ())]
        self._room = ipc * self._fields.get("factor", 1) ** 2
        super().__init__(self._room * classes)
        self._workdir = paths.expand(workdir, "workdir")
        self._kept: exemplars.Kept = {}
        # The task and the label of each class, by its number: the order of first arrival.
        self._classes: list[tuple[int, int]] = []

    def post_adapt(self, agent_state: Any, exp: Any) -> None:
        """Distil the experience that was just learned, and keep what comes of it.

        Raises:
            UserError: its images cannot be distilled, or there are more classes than the buffer was made for.
        """
        # Without the augmentations of training.
        images, owners = _arrays(exp.dataset.eval())
        images = _as_pixels(images, *self._reading)
        known = [*self._classes, *(owner for owner in sorted(set(owners)) if owner not in self._classes)]
        if len(known) * self._room > self.max_size:
            allowed = f"at most {self.max_size}, ipc images of each of the classes that it was made for"
            raise UserError(f"the buffer would hold {len(known) * self._room} images; allowed: {allowed}")
        classes = np.array([known.index(owner) for owner in owners])
        self._kept = exemplars.renew(self._kept, images, classes, self._room, functools.partial(self._distil, known))
        self._classes = known
        self._show(exp.dataset)

    def resize(self, strategy: Any, new_size: int) -> None:
        """Keep the first images of each class so far, `new_size` in all at most."""
        self.max_size = new_size
        self._kept = exemplars.shorten(self._kept, new_size)
        if len(self.buffer):
            self._show(self.buffer)

    def _distil(
        self, known: list[tuple[int, int]], images: np.ndarray, classes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What `exemplars.renew` wants to be distilled, found in the workdir if it was distilled before."""
        numbers, positions = np.unique(classes, return_inverse=True)
        owners = [known[number] for number in numbers]
        names = [f"{label} of task {task}" if task else str(label) for task, label in owners]
        pixels = np.rint(images * 255).astype(np.uint8)
        # Named by what was seen: another stream in the same workdir takes nothing from this one.
        folder = self._workdir / digest_arrays((pixels, positions, np.array(owners)), short=True)
        folder.mkdir(parents=True, exist_ok=True)
        source = folder / "experience.npz"
        if not source.exists():
            with replacing(source) as path, open(path, "wb") as file:
                np.savez(file, train_images=pixels, train_labels=positions, class_names=np.array(names))
        stored = api.distill(str(source), folder / "run", self._fields)
        return stored.pixels, numbers[stored.classes]

    def _show(self, like: AvalancheDataset) -> None:
        """Make what is kept the buffer that Avalanche reads, its items like those of a dataset."""
        owners = [self._classes[label] for label, images in self._kept.items() for _ in images]
        self.buffer = (
            _dataset(np.concatenate(list(self._kept.values())), owners, like) if owners else concat_datasets([])
        )


def _dataset(pixels: np.ndarray, owners: list[tuple[int, int]], like: AvalancheDataset) -> AvalancheDataset:
    """Images `[n, h, w, c]` and the task and label of each as a dataset whose items are like those of an experience."""
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    tasks, labels = (list(column) for column in zip(*owners, strict=True))
    attributes = [DataAttribute(labels, "targets")]
    if hasattr(like, "targets_task_labels"):
        attributes.append(DataAttribute(tasks, "targets_task_labels", use_in_getitem=True))
    return AvalancheDataset([TensorDataset(images, torch.tensor(labels))], data_attributes=attributes)


def _arrays(dataset: AvalancheDataset) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Images `[n, h, w, c]`, as their transform leaves them, and the task (0 where there is none) and label of each."""
    images, labels = [], []
    for at in range(len(dataset)):
        image, label, *_ = dataset[at]
        images.append(np.moveaxis(image.numpy(), 0, -1) if isinstance(image, torch.Tensor) else np.asarray(image))
        labels.append(int(label))
    tasks = [int(task) for task in getattr(dataset, "targets_task_labels", [0] * len(labels))]
    return np.stack(images), list(zip(tasks, labels, strict=True))


def _as_pixels(images: np.ndarray, image_size: int, pixel_range: tuple[float, ...]) -> np.ndarray:
    """Images of an experience as float32 `[n, h, h, c]` in [0, 1], in steps of 1/255, in which they are distilled."""
    pixels = arrays.accepted_images("train_images", images, tuple(pixel_range))
    return resize(pixels, image_size).astype(np.float32) / 255
