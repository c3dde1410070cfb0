"""A network that was trained on a stored set, with all that it takes to classify pixels; on disk one .npz file."""

import dataclasses
import functools
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from fsdd.core import chunks, compilation
from fsdd.core.whitening import Whitening
from fsdd.errors import UserError
from fsdd.io import paths
from fsdd.io.atomic import replacing
from fsdd.io.stored_set import accept_pixels
from fsdd.networks import architectures

FORMAT_VERSION = 1
_ARCHITECTURE = ("architecture", "width", "depth", "norm", "initialisation")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Classifier:
    """A trained network that takes pixels.

    Attributes:
        class_names: C names.
        image_shape: `(h, w, c)` of the images that it takes.
        whitening: what pixels pass through before the network.
        architecture: the arguments of `fsdd.networks.architectures.build` but for the number of classes.
        variables: the network's parameters and statistics, as Flax has them.
    """

    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    whitening: Whitening
    architecture: dict[str, Any]
    variables: dict[str, Any]

    def logits(self, images: np.ndarray) -> np.ndarray:
        """The network's outputs.

        Args:
            images: pixels `[n, h, w, c]`, or `[n, h, w]` where c is 1: uint8, or floats in [0, 1].

        Returns:
            float32 `[n, C]`.

        Raises:
            UserError: `images` are none that it takes.
        """
        seen = np.asarray(self.whitening.apply(accept_pixels("images", images, self.image_shape)))
        if not len(seen):
            return np.zeros((0, len(self.class_names)), np.float32)
        return np.array(chunks.map_chunks(lambda some: self._apply(self.variables, some), seen, 250))

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The class of each image, int64 `[n]`, as a place in `class_names`; `images` as for `logits`."""
        return self.logits(images).argmax(1)

    def predict_names(self, images: np.ndarray) -> list[str]:
        """The name of the class of each image; `images` as for `logits`."""
        return [self.class_names[label] for label in self.predict(images)]

    def score(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Accuracy in percent on images, as for `logits`, and their int labels `[n]`."""
        labels, predicted = np.asarray(labels), self.predict(images)
        if labels.shape != predicted.shape or not len(labels):
            raise UserError(f"labels: of shape {list(labels.shape)} for {len(predicted)} images; allowed: one for each")
        return float(100 * np.mean(predicted == labels))

    def save(self, path: str | pathlib.Path) -> None:
        """Write one file, which `fsdd.load_classifier` reads.

        Raises:
            UserError: a path without .npz, or a disk that refuses. What was there before is then untouched.
        """
        path = _accept_path(path)
        flat = traverse_util.flatten_dict(self.variables, sep="/")
        arrays = {f"variables/{name}": np.asarray(leaf) for name, leaf in flat.items()}
        # Its matrix back to pixels is as large as the other, and nothing here goes that way.
        parts = self.whitening.forward_arrays()
        arrays |= {f"whitening/{name}": np.asarray(part) for name, part in parts.items()}
        card = {
            "format": "fsdd classifier",
            "format_version": FORMAT_VERSION,
            "class_names": list(self.class_names),
            "image_shape": list(self.image_shape),
            "architecture": self.architecture,
        }
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, card=np.array(json.dumps(card)), **arrays)

    @functools.cached_property
    def _apply(self) -> Any:
        network = architectures.build(num_classes=len(self.class_names), **self.architecture)
        return compilation.jit(lambda variables, images: network.apply(variables, images).logits)

    def __repr__(self) -> str:
        """One line: what it takes and tells apart."""
        height, width, channels = self.image_shape
        kind = f"{self.architecture['architecture']} of width {self.architecture['width']}"
        return f"<Classifier: {kind}, images of {height}x{width}x{channels}, {len(self.class_names)} classes>"


def describe_network(settings: Any, network: Any) -> dict[str, Any]:
    """A classifier's `architecture`, from the fields `evaluate.*` and the network that was built by them."""
    return {name: settings[name] for name in _ARCHITECTURE} | {"width": network.width}


def load(path: str | pathlib.Path) -> Classifier:
    """Read what `Classifier.save` wrote.

    Raises:
        UserError: a missing, damaged or foreign file.
    """
    path = _accept_path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        card = json.loads(str(arrays.pop("card")))
        version = card["format_version"] if card["format"] == "fsdd classifier" else None
        groups: dict[str, dict[str, Any]] = {"variables": {}, "whitening": {}}
        for name, array in arrays.items():
            group, _, rest = name.partition("/")
            groups[group][rest] = array
        variables = traverse_util.unflatten_dict(groups["variables"], sep="/")
        facts = tuple(card["class_names"]), tuple(card["image_shape"]), Whitening(**groups["whitening"])
        architecture = {name: card["architecture"][name] for name in _ARCHITECTURE}
    except Exception as error:  # damaged bytes surface as a dozen types, and foreign files lack what we look for
        raise UserError(f"{path}: not a file that Classifier.save wrote") from error
    if version != FORMAT_VERSION:
        raise UserError(f"{path}: format_version is {version!r}; this fsdd reads {FORMAT_VERSION}")
    return Classifier(*facts, architecture, jax.tree.map(jnp.asarray, variables))


def _accept_path(path: str | pathlib.Path) -> pathlib.Path:
    if not isinstance(path, str | pathlib.PurePath) or pathlib.Path(path).suffix != ".npz":
        raise UserError(f"path is {str(path)!r:.200}; allowed: a file name that ends in .npz")
    return paths.expand(path, "path")
