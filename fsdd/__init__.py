"""Few-shot dataset distillation: a few synthetic images per class from one network and a translator.

import fsdd

stored = fsdd.distill("photos/", "runs/photos", ipc=10, image_size=32)  # or (images, labels), a PyTorch dataset, ...
stored.train_images, stored.train_labels            # train on these, by a squared loss
stored.whiten(test_images)                          # and test on these
fsdd.evaluate(stored, test_images, test_labels)     # accuracies of fresh networks that are trained on it
classifier = fsdd.train(stored)                     # one such network: classifier.predict(pixels), .save("x.npz")
fsdd.export(stored, "imagefolder", "distilled/")    # for other tools: fsdd.formats() says which
stored = fsdd.load("runs/photos")
translator = fsdd.pretrain("big/", "runs/big")      # for method="translate", fields={"translate.init": translator}
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsdd.api import distill, evaluate, fields, pretrain, train
    from fsdd.assembly.classifiers import Classifier
    from fsdd.assembly.classifiers import load as load_classifier
    from fsdd.core.synthetic_set import SyntheticSet
    from fsdd.core.whitening import Whitening
    from fsdd.data.real_set import RealSet
    from fsdd.errors import UserError
    from fsdd.evaluation.accuracies import Accuracies
    from fsdd.exports.writing import export, formats
    from fsdd.integrations.image_folder import write_images
    from fsdd.io.stored_files import load, save
    from fsdd.io.stored_set import StoredSet

    __version__: str

# Where each name of the API is, and what it is called there if that is another name.
_HOMES = {
    "Accuracies": ("fsdd.evaluation.accuracies", "Accuracies"),
    "Classifier": ("fsdd.assembly.classifiers", "Classifier"),
    "RealSet": ("fsdd.data.real_set", "RealSet"),
    "StoredSet": ("fsdd.io.stored_set", "StoredSet"),
    "SyntheticSet": ("fsdd.core.synthetic_set", "SyntheticSet"),
    "UserError": ("fsdd.errors", "UserError"),
    "Whitening": ("fsdd.core.whitening", "Whitening"),
    "distill": ("fsdd.api", "distill"),
    "evaluate": ("fsdd.api", "evaluate"),
    "export": ("fsdd.exports.writing", "export"),
    "fields": ("fsdd.api", "fields"),
    "formats": ("fsdd.exports.writing", "formats"),
    "load": ("fsdd.io.stored_files", "load"),
    "load_classifier": ("fsdd.assembly.classifiers", "load"),
    "pretrain": ("fsdd.api", "pretrain"),
    "save": ("fsdd.io.stored_files", "save"),
    "train": ("fsdd.api", "train"),
    "write_images": ("fsdd.integrations.image_folder", "write_images"),
}
__all__ = [
    "Accuracies",
    "Classifier",
    "RealSet",
    "StoredSet",
    "SyntheticSet",
    "UserError",
    "Whitening",
    "__version__",
    "distill",
    "evaluate",
    "export",
    "fields",
    "formats",
    "load",
    "load_classifier",
    "pretrain",
    "save",
    "train",
    "write_images",
]


def __getattr__(name: str) -> Any:
    # Imported on first use: a bad flag is answered before JAX has loaded.
    if name in _HOMES:
        home, there = _HOMES[name]
        return getattr(importlib.import_module(home), there)
    if name == "__version__":
        from importlib import metadata

        return metadata.version("fsdd")
    raise AttributeError(f"module 'fsdd' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
