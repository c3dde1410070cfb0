"""The real set T: what every source delivers, whatever it read."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fsdd.io.digests import digest_arrays


@dataclasses.dataclass(frozen=True)
class RealSet:
    """An image-classification set in host memory.

    Attributes:
        name: what the set is called in results and pictures.
        train_images: uint8 `[n, h, w, c]`, h = w; c is 1 for grey images, 3 for colours, else bands.
        train_labels: int32 `[n]`, in `0..len(class_names) - 1`; every class has at least one training image.
        test_images: uint8 `[m, h, w, c]`.
        test_labels: int32 `[m]`.
        class_names: one name for each class, in the order of labels.
        notes: lines to tell the user, such as that a test split had to be held out.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def only(self, classes: Sequence[int]) -> "RealSet":
        """The images of some classes, which are then numbered in the order given."""
        chosen = np.asarray(classes, np.int32)
        column = np.full(self.num_classes, -1, np.int32)
        column[chosen] = np.arange(len(chosen))
        train, test = (np.flatnonzero(column[labels] >= 0) for labels in (self.train_labels, self.test_labels))
        return dataclasses.replace(
            self,
            train_images=self.train_images[train],
            train_labels=column[self.train_labels[train]],
            test_images=self.test_images[test],
            test_labels=column[self.test_labels[test]],
            class_names=tuple(self.class_names[index] for index in chosen),
        )

    def identity(self) -> dict[str, Any]:
        """What tells it from another: its size, and digests of its splits' labels and of a thousand of their images."""
        return {
            "name": self.name,
            "images": len(self.train_images),
            "shape": list(self.image_shape),
            "classes": self.num_classes,
            "sha256": _digest(self.train_images, self.train_labels),
            "test_images": len(self.test_images),
            "test_sha256": _digest(self.test_images, self.test_labels),
        }

    @property
    def num_classes(self) -> int:
        """Number of classes, C."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape `(h, w, c)` of one image."""
        return self.train_images.shape[1:]


def are_same(stored: Mapping[str, Any], identity: Mapping[str, Any]) -> bool:
    """Whether an identity that was stored is that of a set with these very images and labels, whatever it is called."""
    wanted = json.loads(json.dumps(identity))
    return all(stored.get(name) == value for name, value in wanted.items() if name != "name")


def _digest(images: np.ndarray, labels: np.ndarray) -> str:
    return digest_arrays((labels, images[:: max(len(images) // 1000, 1)]))
