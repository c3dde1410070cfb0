"""A TensorFlow Datasets set as a real set, read from array_record files without TensorFlow."""

import dataclasses
import io
import itertools
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets

from fsdd.data import images
from fsdd.data.decoded import decode_once
from fsdd.data.images import Reading
from fsdd.data.real_set import RealSet
from fsdd.errors import UserError, one_line

_CHUNK = 256  # records fetched per read


def load_tfds(name: str, data_dir: str | None, reading: Reading) -> RealSet:
    """Read a TFDS image-classification set; prepare it first where it is not on the disk and TensorFlow is installed.

    The test set is the split "test", or "validation" where there is none or its labels are withheld. Classes that
    TFDS declares but that have no image at all are dropped, with a note.

    Args:
        name: as in TFDS, with an optional config and version: "cifar10", "imagenet_resized/32x32", "cifar10:3.0.2".
        data_dir: where prepared sets lie; None for TFDS's own default.
        reading: how pixels are read.

    Returns:
        The set, with zero test images if it has no such split.

    Raises:
        UserError: an unknown name, a set that cannot be read or prepared here, or that is no image classification.
    """
    builder = _prepared(name, data_dir)
    image_key, label_key = _keys(name, builder.info)
    if "train" not in builder.info.splits:
        raise UserError(f"dataset {name!r}: has no train split; its splits are {', '.join(builder.info.splits)}")
    skip = {image_key: tensorflow_datasets.decode.SkipDecoding()}  # Pillow decodes, as for every other source
    try:
        train = builder.as_data_source("train", decoders=skip)
        test_split, test = "", []
        for split in ("test", "validation"):
            if split in builder.info.splits:
                candidate = builder.as_data_source(split, decoders=skip)
                if len(candidate) and candidate[0][label_key] >= 0:  # withheld labels are stored as -1
                    test_split, test = split, candidate
                    break
        splits = [("train", train), (test_split, test)]
        files = sorted(path for path in pathlib.Path(builder.data_path).iterdir() if path.is_file())
        arrays = decode_once(
            files,
            [name, test_split, *reading.recipe()],
            lambda: _read(name, splits, image_key, label_key, reading),
        )
        pixels, labels = arrays["pixels"], arrays["labels"]
    except (RuntimeError, OSError) as error:  # what array_record raises for missing and damaged files
        raise UserError(f"dataset {name!r}: cannot read {builder.data_path}: {one_line(error)}") from error
    notes = (f"{name}: no labelled test split; validation is the test set",) if test_split == "validation" else ()
    class_names = tuple(builder.info.features[label_key].names)
    count = len(train)
    real = RealSet(name, pixels[:count], labels[:count], pixels[count:], labels[count:], class_names, notes)
    return _without_empty_classes(real)


def _prepared(name: str, data_dir: str | None) -> Any:
    """The TFDS builder of a set that lies on the disk in a format with random access."""
    data_dir = data_dir and os.path.expanduser(data_dir)
    place = data_dir or str(tensorflow_datasets.core.constants.DATA_DIR)
    try:
        builder = tensorflow_datasets.builder(name, data_dir=data_dir)
        if not builder.is_prepared():
            builder = tensorflow_datasets.builder(name, data_dir=data_dir, file_format="array_record")
            builder.download_and_prepare()
    except tensorflow_datasets.core.DatasetNotFoundError as error:
        raise UserError(
            f"dataset {name!r}: neither TFDS nor {place} has it; allowed are 'digits', a TFDS name, hf:NAME, a "
            "folder of images and a .npz file"
        ) from error
    except ImportError as error:
        raise UserError(
            f"dataset {name!r}: not prepared in {place}, and preparing it failed ({one_line(error)}); "
            'run pip install "fsdd[prepare]", or set data_dir to where it is prepared'
        ) from error
    except Exception as error:  # a bad version or config, no network, a manual download: each set fails in its own way
        raise UserError(f"dataset {name!r}: TFDS cannot read or prepare it in {place}: {one_line(error)}") from error
    formats = builder.info.available_file_formats()
    random_access = tensorflow_datasets.core.FileFormat.with_random_access()
    if not formats & random_access:
        raise UserError(
            f"dataset {name!r}: prepared in {builder.data_path} as {builder.info.file_format.value}, which needs "
            "TensorFlow to read; prepare it with file_format='array_record', or set data_dir to another folder"
        )
    return builder


def _keys(name: str, info: Any) -> tuple[str, str]:
    """The names of the image and of the label feature."""
    features = info.features
    image_keys = [key for key, kind in features.items() if isinstance(kind, tensorflow_datasets.features.Image)]
    label_keys = [key for key, kind in features.items() if isinstance(kind, tensorflow_datasets.features.ClassLabel)]
    pair = info.supervised_keys or ()
    if len(pair) == 2 and pair[0] in image_keys and pair[1] in label_keys:
        image_keys, label_keys = [pair[0]], [pair[1]]
    if len(image_keys) != 1 or len(label_keys) != 1:
        kinds = ", ".join(f"{key}: {type(kind).__name__}" for key, kind in features.items())
        raise UserError(f"dataset {name!r}: not image classification, one Image and one ClassLabel; it has {kinds}")
    if features[image_keys[0]].np_dtype != np.uint8:
        kind = np.dtype(features[image_keys[0]].np_dtype).name
        raise UserError(f"dataset {name!r}: its images are {kind}; only uint8 is allowed")
    return image_keys[0], label_keys[0]


def _read(
    name: str, splits: list[tuple[str, Sequence]], image_key: str, label_key: str, reading: Reading
) -> dict[str, np.ndarray]:
    """`pixels`, uint8 `[n, h, h, c]`, and `labels`, int32 `[n]`, of the splits, one after the other."""
    count = sum(len(source) for _, source in splits)
    labels = np.empty(count, np.int32)
    positions = itertools.count()

    def decoded() -> Iterator[tuple[str, np.ndarray]]:
        for split, source in splits:
            for index, record in enumerate(_records(source)):
                where = f"dataset {name!r}, {split} image {index}"
                labels[next(positions)] = record[label_key]
                yield where, images.decode(io.BytesIO(record[image_key]), where, reading)

    return {"pixels": images.stack(decoded(), count, f"reading {name}"), "labels": labels}


def _records(source: Sequence) -> Iterator[dict]:
    for start in range(0, len(source), _CHUNK):
        yield from source.__getitems__(range(start, min(start + _CHUNK, len(source))))


def _without_empty_classes(real: RealSet) -> RealSet:
    """Renumber the classes when some that are declared have no image at all."""
    used = np.union1d(real.train_labels, real.test_labels)
    if len(used) == real.num_classes:
        return real
    empty = [class_name for label, class_name in enumerate(real.class_names) if label not in used]
    return dataclasses.replace(
        real,
        train_labels=np.searchsorted(used, real.train_labels).astype(np.int32),
        test_labels=np.searchsorted(used, real.test_labels).astype(np.int32),
        class_names=tuple(real.class_names[label] for label in used),
        notes=(*real.notes, f"{real.name}: left out {len(empty)} classes without images, {', '.join(empty[:5])}"),
    )
