"""How many of the networks of `Refine` are held at once: CIFAR-10, 1 image a class, 125 networks used 8 times each.

    python -m experiments.groups --data_dir ~/tensorflow_datasets

With one group of 125 every network is met once in 125 steps; with five of 25 its uses are closer together, and it is
never met again. Chosen without the test split: a tenth of the training images takes its
place. All rows start from one `1 Net` set, the first row's.
"""

from experiments import sweep
from experiments.sweep import Row

START = {
    "validation_fraction": 0.1,
    "method": "refine",
    "distill.uses": 60,
    "distill.batch": 512,
    "distill.rate": 0.025,
}
ROWS = [
    Row("groups_start", "cifar10_ipc1", START | {"method": "distill"}),
    *(
        Row(f"groups_of_{group}", "cifar10_ipc1", START | {"refine.group": group}, after="groups_start")
        for group in (125, 25)
    ),
]

if __name__ == "__main__":
    sweep.main("groups", ROWS)
