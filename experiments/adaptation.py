"""Translation at CIFAR-10 IPC 1: `w/o Pre-Train` (T = 3,000, 1,000 steps of a fresh translator), then `Refine`.

python -m experiments.adaptation --data_dir ~/tensorflow_datasets
"""

from experiments import sweep
from experiments.sweep import Row

ROWS = [
    Row("without_pretraining", "cifar10_ipc1", {"stages": ("distill", "translate")}),
    Row("translate_then_refine", "cifar10_ipc1", {}, after="without_pretraining"),
]

if __name__ == "__main__":
    sweep.main("adaptation", ROWS)
