"""The `1 Net` row at CIFAR-10 IPC 1: both protocols and the best of both, by seed of the images, and by T.

python -m experiments.one_net --data_dir ~/tensorflow_datasets
"""

from experiments import sweep
from experiments.sweep import Row

# Steps, real rows a step, rate: fewer steps, each as much larger.
FASTER = {"300_steps": (300, 256, 6e-3), "60_steps": (60, 512, 0.025)}

ROWS = [
    *(
        Row(
            f"one_net_{protocol}_seed{seed}",
            "cifar10_ipc1",
            {"protocol": protocol, "seed": seed, "stages": ("distill",), "distill.uses": 4000},
        )
        for protocol, seed in (
            ("best", 0), ("torch", 0), ("jax", 0), ("best", 1), ("best", 2), ("torch", 1), ("torch", 2),
        )
    ),
    *(
        Row(
            f"one_net_best_{name}",
            "cifar10_ipc1",
            {"stages": ("distill",), "distill.uses": steps, "distill.batch": batch, "distill.rate": rate},
        )
        for name, (steps, batch, rate) in FASTER.items()
    ),
]  # fmt: skip

if __name__ == "__main__":
    sweep.main("one_net", ROWS)
