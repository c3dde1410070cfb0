"""How much the images that `Refine` starts from matter: CIFAR-10, 1 image a class, 125 networks used 8 times each.

    python -m experiments.starts --data_dir ~/tensorflow_datasets

A seed decides which real images a run starts from, and here which tenth of the training images takes the place of the
test split; herding takes the images whose mean feature is closest to their class's. The networks are those of the seed.
"""

from experiments import groups, sweep
from experiments.sweep import Row

ROWS = [
    *(Row(f"starts_seed{seed}", "cifar10_ipc1", groups.START | {"seed": seed}) for seed in (1, 2)),
    Row("starts_herding", "cifar10_ipc1", groups.START | {"start": "herding"}),
]

if __name__ == "__main__":
    sweep.main("starts", ROWS)
