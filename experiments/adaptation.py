"""Translation at CIFAR-10 IPC 1: `w/o Pre-Train` (T = 3,000, 1,000 steps of a fresh translator), then `Refine`.

python -m experiments.adaptation --data_dir ~/tensorflow_datasets
"""

from experiments import sweep
from experiments.sweep import Row

FRESH = {"translate.init": "fresh", "translate.rate": 3e-3, "translate.warmup": 0.2}
THIRTY_TWO = {"refine.networks": 32, "refine.uses": 32, "refine.group": 32}

ROWS = [
    Row("without_pretraining", "cifar10_ipc1", {"stages": ("distill", "translate")} | FRESH),
    Row(
        "translate_then_refine",
        "cifar10_ipc1",
        {"stages": ("distill", "translate", "refine")} | FRESH | THIRTY_TWO,
        after="without_pretraining",
    ),
    # The config as it is: what the README's command does.
    Row("cifar10_ipc1", "cifar10_ipc1", {}, after="without_pretraining"),
]

if __name__ == "__main__":
    sweep.main("adaptation", ROWS)
