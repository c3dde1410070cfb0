"""A distilling replay buffer for Avalanche: of each experience it keeps a synthetic set instead of real images.

    pip install avalanche-lib torch

    from avalanche.training.plugins import ReplayPlugin
    from fsdd.integrations.avalanche import DistillingBuffer

    buffer = DistillingBuffer("runs/stream", ipc=10, classes=100)
    strategy = Naive(..., plugins=[ReplayPlugin(mem_size=buffer.max_size, storage_policy=buffer)])

Avalanche is imported here and nowhere else in the package.
"""

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
from fsdd.errors import UserError
from fsdd.io import paths
from fsdd.io.atomic import replacing
from fsdd.io.digests import digest_arrays


class DistillingBuffer(ExemplarsBuffer):
    """Exemplars that any of the methods made: `ipc` images of each class seen so far.

    The images of an experience have to be uint8 or floats in [0, 1], as `ToTensor` leaves them, and so are those kept:
    float32 `[c, h, w]`. A network that wants them normalised does it itself. Labels are the stream's own integers.

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
        self._fields = {"evaluate.networks": 0, "test_fraction": 0.0} | dict(fields or {}) | {"ipc": ipc}
        super().__init__(ipc * self._fields.get("factor", 1) ** 2 * classes)
        self._workdir = paths.expand(workdir, "workdir")

    def post_adapt(self, agent_state: Any, exp: Any) -> None:
        """Distil the experience that was just learned, and keep what comes of it.

        Raises:
            UserError: its images cannot be distilled, or there are more classes than the buffer was made for.
        """
        # Without the augmentations of training.
        images, labels = _arrays(exp.dataset.eval())
        classes, positions = np.unique(labels, return_inverse=True)
        digest = digest_arrays((images, labels), short=True)
        # Named by what was seen: another stream in the same workdir takes nothing from this one.
        folder = self._workdir / digest
        folder.mkdir(parents=True, exist_ok=True)
        source = folder / "experience.npz"
        if not source.exists():
            with replacing(source) as path, open(path, "wb") as file:
                np.savez(file, train_images=images, train_labels=positions, class_names=classes.astype(str))
        stored = api.distill(str(source), folder / "run", self._fields)
        if len(self.buffer) + len(stored.pixels) > self.max_size:
            allowed = f"at most {self.max_size}, ipc images of each of the classes that it was made for"
            raise UserError(f"the buffer would hold {len(self.buffer) + len(stored.pixels)} images; allowed: {allowed}")
        kept = _dataset(stored.pixels, classes[stored.classes], exp.dataset)
        # Joined to an empty dataset, which has no targets, it would lose its own.
        self.buffer = concat_datasets([self.buffer, kept]) if len(self.buffer) else kept

    def resize(self, strategy: Any, new_size: int) -> None:
        """Keep the first images of each class so far, `new_size` in all at most."""
        self.max_size = new_size
        if not len(self.buffer):
            return
        targets = np.asarray(self.buffer.targets)
        each = new_size // max(len(np.unique(targets)), 1)
        rank = np.array([np.sum(targets[:at] == target) for at, target in enumerate(targets)])
        self.buffer = self.buffer.subset(np.flatnonzero(rank < each).tolist())


def _dataset(pixels: np.ndarray, labels: np.ndarray, like: AvalancheDataset) -> AvalancheDataset:
    """Images `[n, h, w, c]` and labels `[n]` as a dataset whose items are like those of an experience."""
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    targets = torch.from_numpy(labels.astype(np.int64))
    attributes = [DataAttribute(targets.tolist(), "targets")]
    if hasattr(like, "targets_task_labels"):
        tasks = [int(like.targets_task_labels[0])] * len(labels)
        attributes.append(DataAttribute(tasks, "targets_task_labels", use_in_getitem=True))
    return AvalancheDataset([TensorDataset(images, targets)], data_attributes=attributes)


def _arrays(dataset: AvalancheDataset) -> tuple[np.ndarray, np.ndarray]:
    """Images `[n, h, w, c]`, as their transform leaves them, and int labels `[n]`."""
    images, labels = [], []
    for at in range(len(dataset)):
        image, label, *_ = dataset[at]
        images.append(np.moveaxis(image.numpy(), 0, -1) if isinstance(image, torch.Tensor) else np.asarray(image))
        labels.append(int(label))
    return np.stack(images), np.array(labels)
