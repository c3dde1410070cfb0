"""A set of Hugging Face's hub, or a local folder that its `datasets` loads, as a real set; without TensorFlow."""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np

from fsdd.config import dataset_names
from fsdd.data import handed_in
from fsdd.data.decoded import decode_once
from fsdd.data.images import Reading
from fsdd.data.real_set import RealSet
from fsdd.errors import UserError, one_line, require


def load_hub(dataset: str, data_dir: str | None, reading: Reading) -> RealSet:
    """Download a set, unless it is there already, and read it.

    The training split is "train"; the test set is the first of the splits test and validation that has labels.

    Args:
        dataset: "hf:NAME" or "hf:NAME:CONFIG"; what follows "hf:" goes to `datasets.load_dataset`.
        data_dir: where `datasets` keeps its sets; None for its own default.
        reading: how pixels are read.

    Returns:
        The set, with zero test images if it has no such split.

    Raises:
        UserError: `datasets` is not installed, cannot load the set, or it is no image classification.
    """
    require("huggingface", f"dataset {dataset!r}", "datasets")
    splits = _load(dataset, data_dir and os.path.expanduser(data_dir))
    if "train" not in splits:
        raise UserError(f"dataset {dataset!r}: has no train split; its splits are {', '.join(splits)}")
    files = [pathlib.Path(file["filename"]) for split in splits.values() for file in split.cache_files]
    try:
        arrays = decode_once(files, [dataset, *reading.recipe()], lambda: _read(splits, reading))
    except UserError as error:
        raise UserError(f"dataset {dataset!r}: {error}") from error
    class_names = tuple(arrays.pop("class_names").tolist())
    return RealSet(dataset_names.own_name(dataset), **arrays, class_names=class_names)


def _load(dataset: str, cache_dir: str | None) -> Any:
    """All splits, by name."""
    import datasets

    name, _, config = dataset.removeprefix(dataset_names.HUB).partition(":")
    try:
        return datasets.load_dataset(os.path.expanduser(name), config or None, cache_dir=cache_dir)
    except Exception as error:  # no such set, no network, a gated set, a bad file: each in its own way
        raise UserError(f"dataset {dataset!r}: Hugging Face's datasets cannot load it: {one_line(error)}") from error


def _read(splits: Any, reading: Reading) -> dict[str, np.ndarray]:
    """What `RealSet` has of arrays, and `class_names` as one more."""
    import datasets

    image, label = handed_in.columns(splits["train"])
    # The bytes as they are: our own reading decodes them, as for every other source.
    encoded = {name: split.cast_column(image, datasets.Image(decode=False)) for name, split in splits.items()}
    usable = {name: split for name, split in encoded.items() if name == "train" or _has_labels(split, label)}
    real = handed_in.read(usable, *dataclasses.astuple(reading))
    fields = ("train_images", "train_labels", "test_images", "test_labels")
    return {name: getattr(real, name) for name in fields} | {"class_names": np.array(real.class_names)}


def _has_labels(split: Any, label: str) -> bool:
    """Whether the labels of a split are not withheld, for which -1 stands."""
    first = split[0][label] if len(split) else -1
    return isinstance(first, str) or first >= 0
