"""What pre-training is worth at CIFAR-10 IPC 1: `w/o Ada`, `w Ada` and `w AE`, and `Refine` after each (T = 3,000).

    python -m experiments.pretrained --data_dir ~/tensorflow_datasets

`1 Net` is `experiments.one_net`'s, `w/o Pre-Train` `experiments.adaptation`'s; all adapt on 25 networks, 40 uses each.
"""

from experiments import sweep
from experiments.sweep import Row

SHIPPED = {"translate.init": "tiny_imagenet32"}
# A translator that has been trained needs no warm-up, and a lower rate; chosen by experiments/held_out.py.
ADAPTED = SHIPPED | {"translate.rate": 1e-3, "translate.warmup": 0.05}
UNADAPTED = SHIPPED | {"translate.networks": 0}
AUTOENCODED = {"translate.init": "autoencoder", "translator.residual": False}
TRANSLATED, REFINED = {"stages": ("distill", "translate")}, {"stages": ("distill", "translate", "refine")}

ROWS = [
    # Only what the others start from: no accuracy is taken of it.
    Row("distilled", "cifar10_ipc1", {"stages": ("distill",), "evaluate.networks": 0}),
    Row("without_adaptation", "cifar10_ipc1", TRANSLATED | UNADAPTED, after="distilled"),
    Row("with_adaptation", "cifar10_ipc1", TRANSLATED | ADAPTED, after="distilled"),
    Row("with_autoencoder", "cifar10_ipc1", TRANSLATED | AUTOENCODED, after="distilled"),
    Row("random_translator", "cifar10_ipc1", TRANSLATED | {"translator.residual": False}, after="distilled"),
    Row("refine_without_adaptation", "cifar10_ipc1", REFINED | UNADAPTED, after="without_adaptation"),
    Row("refine_with_adaptation", "cifar10_ipc1", REFINED | ADAPTED, after="with_adaptation"),
]

if __name__ == "__main__":
    sweep.main("pretrained", ROWS)
