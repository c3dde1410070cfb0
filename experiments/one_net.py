"""The `1 Net` row at CIFAR-10 IPC 1: both protocols and the best of both, by seed of the images (T = 4,000).

python -m experiments.one_net --data_dir ~/tensorflow_datasets
"""

from experiments import sweep
from experiments.sweep import Row

ROWS = [
    Row(
        f"one_net_{protocol}_seed{seed}",
        "cifar10_ipc1",
        {"protocol": protocol, "seed": seed, "stages": ("distill",), "distill.uses": 4000},
    )
    for protocol, seed in (("best", 0), ("torch", 0), ("jax", 0), ("best", 1), ("best", 2), ("torch", 1), ("torch", 2))
]

if __name__ == "__main__":
    sweep.main("one_net", ROWS)
