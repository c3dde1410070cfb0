"""What a format of export is, and which there are; a format is one file in this package."""

import dataclasses
import functools
import importlib
import importlib.util
import pathlib
import pkgutil
from collections.abc import Callable
from typing import Any

import numpy as np

from fsdd.config import dataset_names
from fsdd.core.whitening import CONSTANTS
from fsdd.errors import UserError
from fsdd.io.stored_set import StoredSet

ChannelStatistics = tuple[tuple[float, ...], tuple[float, ...]]
# DC's figures, which DSA and DM share; MTT and DD-Ranking have those of CIFAR-10 for CIFAR-100 as well.
DC = {"cifar10": CONSTANTS["dc_cifar10"], "cifar100": CONSTANTS["dc_cifar100"]}
MTT = {name: CONSTANTS["dc_cifar10"] for name in DC}

# Values of a set and what they mean, in the words of export.json.
WHITENED = "whitened by the set's own whitening, float32, not clipped: test images have to be whitened in the same way"
STANDARDISED = (
    "(pixels - channel_mean) / channel_std by channel, float32, not clipped: as transforms.Normalize leaves test "
    "images in the code that reads them, which has figures for CIFAR-10 and CIFAR-100; others have the set's own"
)
EIGHT_BITS = "pixels, 8 bits a channel, clipped to [0, 1]"
NOT_WHITENED = (
    "that the set was learned in a ZCA-whitened space, in which networks are to be trained and tested: with "
    "standardised images they learn less from it"
)
NOT_LEARNED_LABELS = "the learned labels: `classes` takes their place"


@dataclasses.dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: what `--format` calls it.
        title: for whom it is, in a few words.
        write: writes the files of a set into an empty folder.
        space: what the values of the images are.
        layout: the order of the images' axes.
        labels: what labels there are.
        loses: what of the set is not in it, from the set.
        needs: modules that must be installed, and the extra of this package that brings each.
        is_whitened: whether a ZCA whitening is to be put beside its files, for test images.
        constants: the channels' means and deviations by which the code that reads it standardises a data set, by name.
    """

    name: str
    title: str
    write: Callable[[StoredSet, pathlib.Path], None]
    space: str
    layout: str
    labels: str
    loses: Callable[[StoredSet], list[str]]
    needs: dict[str, str] = dataclasses.field(default_factory=dict)
    is_whitened: bool = False
    constants: dict[str, ChannelStatistics] = dataclasses.field(default_factory=dict)

    def channel_statistics(self, stored: StoredSet) -> tuple[np.ndarray, np.ndarray]:
        """The channels' means and deviations, float32 `[c]` each, that standardised values of a set are in units of."""
        whitening = stored.whitening
        found = self.constants.get(dataset_names.own_name(str(stored.provenance.get("dataset"))).lower())
        if found is None or len(found[0]) != len(whitening.channel_mean):
            return whitening.channel_mean, whitening.channel_std
        mean, std = np.float32(found)
        return mean, std

    def standardised(self, stored: StoredSet) -> np.ndarray:
        """The images out of the space that they were learned in: float32 `[n, c, h, w]`, standardised by channel."""
        images = np.asarray(stored.synthetic.decoded(stored.factor).images)
        mean, std = self.channel_statistics(stored)
        return channels_first((stored.whitening.invert(images) - mean) / std)

    def check_needs(self) -> None:
        """Check that what it needs is installed.

        Raises:
            UserError: it is not; the line says what to install.
        """
        for module, extra in self.needs.items():
            if importlib.util.find_spec(module) is None:
                raise UserError(
                    f"format {self.name!r} needs {module}, which is not installed: pip install {module} (fsdd[{extra}])"
                )


@functools.cache
def formats() -> dict[str, Format]:
    """All formats by name: the `FORMAT` of each file here that has one."""
    package = importlib.import_module("fsdd.exports")
    modules = (
        importlib.import_module(f"fsdd.exports.{found.name}") for found in pkgutil.iter_modules(package.__path__)
    )
    found = [module.FORMAT for module in modules if hasattr(module, "FORMAT")]
    return {one.name: one for one in sorted(found, key=lambda one: one.name)}


def channels_first(images: np.ndarray) -> np.ndarray:
    """Images `[n, h, w, c]` as `[n, c, h, w]`, contiguous float32."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)


def loses_learned(stored: StoredSet) -> list[str]:
    """What standardised images with hard labels lose."""
    return [NOT_WHITENED] * (stored.whitening.kind == "zca") + [NOT_LEARNED_LABELS]


def torch_tensor(array: np.ndarray) -> Any:
    """An array as a tensor of its own."""
    import torch

    return torch.from_numpy(np.array(array))
