"""The real set T: what every source delivers, whatever it read."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class RealSet:
    """An image-classification set in host memory.

    Attributes:
        name: what the set is called in results and pictures.
        train_images: uint8 `[n, h, w, c]`, c = 1 or 3, h = w.
        train_labels: int32 `[n]`, in `0..len(class_names) - 1`; every class has at least one training image.
        test_images: uint8 `[m, h, w, c]`.
        test_labels: int32 `[m]`.
        class_names: one name a class, in label order.
        notes: lines worth telling the user, such as that a test split had to be held out.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """Number of classes, C."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape `(h, w, c)` of one image."""
        return self.train_images.shape[1:]
