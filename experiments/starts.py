"""How much the images that `Refine` starts from matter: CIFAR-10, 1 image a class, 125 networks used 8 times each.

    python -m experiments.starts --data_dir ~/tensorflow_datasets

Herding takes the images whose mean feature is closest to their class's; all else is as in `experiments.groups`, whose
random start is the one to compare with. Another seed changes the networks and the validation images as well.
"""

from experiments import groups, sweep
from experiments.sweep import Row

ROWS = [
    *(Row(f"starts_seed{seed}", "cifar10_ipc1", groups.START | {"seed": seed}) for seed in (1, 2)),
    Row("starts_herding", "cifar10_ipc1", groups.START | {"start": "herding"}),
]

if __name__ == "__main__":
    sweep.main("starts", ROWS)
