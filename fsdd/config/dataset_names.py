"""What the value of the field `dataset` means: a path or a name, and what the set is called, however it is spelled."""

import os
import re

_FILES = (".npz", ".npy")
# Sets of digits, letters and the like, whose mirror images mean something else: TFDS's names, or files and folders.
_NOT_MIRRORED = ("digits", "mnist", "fashion_mnist", "kmnist", "emnist", "svhn", "svhn_cropped")
# What a name of Hugging Face's datasets begins with: hf:cifar10, hf:ylecun/mnist, hf:NAME:CONFIG.
HUB = "hf:"
_DC = {"cifar10": "dc_cifar10", "cifar100": "dc_cifar100"}
# The kinds of whitening by which protocols standardise sets of these names; IDC's code has one for both.
CONSTANTS = {"dc": _DC, "dsa": _DC, "rtp": _DC, "idc": dict.fromkeys(_DC, "dc_cifar10")}
BY_CHANNEL = ("standardize", *_DC.values())


def is_path(dataset: str) -> bool:
    """Whether `dataset` is a file or folder: it looks like one, or is the name of a folder that exists."""
    if dataset.startswith(HUB):
        return False
    looks_like_one = dataset.startswith(("/", ".", "~")) or dataset.endswith(("/", *_FILES))
    return looks_like_one or (dataset not in ("", "digits") and os.path.isdir(dataset))


def own_name(dataset: str) -> str:
    """What a set is called: of a path the last part, without `.npz` or `.npy`; of a TFDS name the first; of one of
    Hugging Face's the name without its owner.

    `mnist.npz`, `./mnist.npz`, `/data/mnist.npz`, `mnist/` and `mnist:3.0.1` are all called mnist.
    """
    if dataset.startswith(HUB):
        return re.split("[:/]", dataset.removeprefix(HUB).rstrip("/").partition(":")[0])[-1]
    if not is_path(dataset):
        return re.split("[:/]", dataset)[0]
    try:
        last = os.path.basename(os.path.realpath(os.path.expanduser(dataset)))
    except ValueError:  # a NUL; whoever reads the set says that there is none
        return dataset
    stem, suffix = os.path.splitext(last)
    return stem if suffix in _FILES else last


def may_be_mirrored(dataset: str) -> bool:
    """Whether the mirror image of an image is as good, as far as the set's name tells: not of digits and letters."""
    return own_name(dataset).lower() not in _NOT_MIRRORED


def mtt_whitening(dataset: str, ipc: int) -> str:
    """The kind of whitening that MTT's code has for a set: ZCA for some numbers of images per class of the CIFARs.

    For others of CIFAR-100 it has the constants of CIFAR-10.
    """
    name = own_name(dataset).lower()
    if name not in ("cifar10", "cifar100"):
        return "standardize"
    without = ipc >= 50 if name == "cifar10" else 10 <= ipc < 50
    return "dc_cifar10" if without else "mtt_zca"


def dc_whitening(dataset: str, protocol: str) -> str:
    """The kind of whitening that the code of a protocol in `CONSTANTS` has: of other sets by their own statistics."""
    return CONSTANTS[protocol].get(own_name(dataset).lower(), "standardize")
