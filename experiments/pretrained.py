"""What pre-training is worth at CIFAR-10 IPC 1: `1 Net`, `w/o Ada`, `w/o Pre-Train`, `w AE`, `w Ada`, and `Refine`.

    python -m experiments.pretrained --data_dir ~/tensorflow_datasets

All start from one set, distilled as the subsets were that the shipped translator learned on, and all that adapt do so
on the same 25 networks, 40 uses each.
"""

from experiments import sweep
from experiments.sweep import Row

DISTILLED = {"distill.uses": 300, "distill.batch": 256, "distill.rate": 6e-3}
SHIPPED = {"translate.init": "tiny_imagenet32"}
UNADAPTED = SHIPPED | {"translate.networks": 0}
FRESH = {"translate.init": "fresh"}
AUTOENCODED = {
    "translate.init": "autoencoder",
    "translator.residual": False,
    "autoencoder.steps": 300,
    "autoencoder.batch": 32,
}


def _row(name: str, after: str | None, *stages: str, **fields) -> Row:
    return Row(name, "cifar10_ipc1", {"stages": ("distill", *stages)} | DISTILLED | fields, after)


ROWS = [
    _row("distilled", None),
    _row("without_adaptation", "distilled", "translate", **UNADAPTED),
    _row("fresh_translator", "distilled", "translate", **FRESH),
    _row("with_autoencoder", "distilled", "translate", **AUTOENCODED),
    _row("with_adaptation", "distilled", "translate", **SHIPPED),
    _row("refine_distilled", "distilled", "refine"),
    _row("refine_without_adaptation", "without_adaptation", "translate", "refine", **UNADAPTED),
    _row("refine_with_adaptation", "with_adaptation", "translate", "refine", **SHIPPED),
]

if __name__ == "__main__":
    sweep.main("pretrained", ROWS)
