"""Exports: a stored set in the formats of other tools, each with a file that says what is in it and what is not."""

import json
import os
import pathlib
import shutil
from typing import Any

import numpy as np

from fsdd.errors import UserError
from fsdd.exports import formats as known
from fsdd.exports.formats import Format
from fsdd.io import loading_hint, paths, stored_files
from fsdd.io.atomic import temporary_beside
from fsdd.io.stored_set import StoredSet

# What is beside every export.
DESCRIPTION = "export.json"
# What is beside those whose images are ZCA-whitened.
WHITENING = "whitening.npz"
_UNMEASURED = (
    "not measured for this set; on CIFAR-10 at 1 image per class 8-bit pixels with classes gave 24.8 % where whitened "
    "images with learned labels gave 42.8 %. Measure it: fsdd.evaluate(stored, test_images, test_labels, "
    "{'protocol': 'plain_pixels'})"
)


def formats() -> dict[str, str]:
    """The formats by name, and for whom each is."""
    return {name: one.title for name, one in known.formats().items()}


def export(stored: StoredSet | str | pathlib.Path, format: str, path: str | pathlib.Path | None = None) -> pathlib.Path:
    """Write a stored set for another tool: a folder of that tool's files and `export.json`, which describes them.

    Args:
        stored: a set with its whitening, the folder of a run, or a `.npz` file of a set.
        format: one of `fsdd.formats()`.
        path: the folder to write, whole or not at all; None is `exports/<format>` in the folder of the run.

    Returns:
        The folder.

    Raises:
        UserError: a format that there is none of, or that needs what is not installed; a set without its whitening; a
            folder that is there and not empty; a disk that refuses.
    """
    chosen = known.formats().get(format) if isinstance(format, str) else None
    if chosen is None:
        raise UserError(f"format is {format!r:.80}; allowed: {', '.join(known.formats())}")
    chosen.check_needs()
    folder = _folder(stored, chosen, path)
    if isinstance(stored, str | pathlib.PurePath):
        stored = stored_files.load(stored, need_whitening=True)
    if stored.whitening is None:
        raise UserError("the stored set has no whitening; load it from where its .whitening.npz is")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is there already and not an empty folder; allowed: another path, or delete it")
    temporary = temporary_beside(folder.absolute())
    try:
        temporary.mkdir(parents=True)
        chosen.write(stored, temporary)
        if chosen.is_whitened and stored.whitening.kind == "zca":
            np.savez(temporary / WHITENING, **stored.whitening.forward_arrays())
        description = json.dumps(describe(stored, chosen), indent=2, ensure_ascii=False) + "\n"
        (temporary / DESCRIPTION).write_text(description, encoding="utf-8")
        os.replace(temporary, folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def describe(stored: StoredSet, chosen: Format) -> dict[str, Any]:
    """What `export.json` says: the space of the values, the labels, and what is lost, with what was measured."""
    whitening, loses = stored.whitening, chosen.loses(stored)
    mean, std = chosen.channel_statistics(stored)
    loss = loading_hint.loss_of(stored.provenance)
    return {
        "format": chosen.name,
        "for": chosen.title,
        "made_by": "fsdd.export",
        "images": {"values": chosen.space, "axes": chosen.layout, "count": len(stored.classes)},
        "labels": chosen.labels,
        "class_names": list(stored.class_names),
        "channel_mean": mean.tolist(),
        "channel_std": std.tolist(),
        "whitening": {
            "kind": whitening.kind,
            "channel_mean": whitening.channel_mean.tolist(),
            "channel_std": whitening.channel_std.tolist(),
            "formula": stored_files.formula(whitening.form),
            "flattening": "h, w, c: channels last, and fastest",
        },
        "trained_by": f"the run's own accuracies are of networks trained by the {loss} loss",
        "accuracies_of_the_run": stored.provenance.get("evaluations", []),
        "loses": loses,
        "accuracy_in_this_form": _measured(stored) if loses else "that of the run: nothing that was learned is lost",
    }


def _measured(stored: StoredSet) -> str:
    """What is known of the accuracy that is lost."""
    for result in stored.provenance.get("evaluations", []):
        recipe = result.get("recipe", {})
        if (recipe.get("images"), recipe.get("labels")) == ("pixels", "hard"):
            return f"{result['mean']} % as 8-bit pixels with classes, measured by the run"
    return _UNMEASURED


def _folder(stored: Any, chosen: Format, path: Any) -> pathlib.Path:
    """Where the export goes."""
    if not isinstance(stored, StoredSet | str | pathlib.PurePath):
        raise UserError(f"stored is {stored!r:.80}; allowed: a fsdd.StoredSet, the folder of a run or a .npz of a set")
    if path is not None and not isinstance(path, str | pathlib.PurePath):
        raise UserError(f"path is {path!r:.80}; allowed: the path of a folder")
    if path is not None:
        return paths.expand(path, "path")
    if isinstance(stored, StoredSet):
        raise UserError("path is None; allowed with the folder of a run only: the path of a folder")
    place = paths.expand(stored, "stored")
    return (place.parent if place.suffix == ".npz" else place) / "exports" / chosen.name
