"""Few-shot dataset distillation: a few synthetic images per class from one network and a translator.

import fsdd

stored = fsdd.distill("photos/", workdir="runs/photos", fields={"ipc": 10, "image_size": 32})
stored.decoded.images, stored.decoded.labels        # train on these, by a squared loss
fsdd.evaluate(stored, test_images, test_labels)     # accuracies of fresh networks that are trained on it
fsdd.write_images(stored, "distilled/")             # or as distilled/<class>/*.png
stored = fsdd.load("runs/photos/synthetic.npz")
translator = fsdd.pretrain("big/", workdir="runs/big")  # for {"method": "translate", "translate.init": translator}
"""

import importlib

_HOMES = {
    "distill": "fsdd.api",
    "evaluate": "fsdd.api",
    "pretrain": "fsdd.api",
    "load": "fsdd.io.stored_set",
    "save": "fsdd.io.stored_set",
    "StoredSet": "fsdd.io.stored_set",
    "SyntheticSet": "fsdd.core.synthetic_set",
    "UserError": "fsdd.errors",
    "write_images": "fsdd.integrations.image_folder",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    # Imported on first use: a bad flag is answered before JAX has loaded.
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'fsdd' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
