"""What `Refine` over 125 networks owes to its start, to how many are held at once, and to their uses: CIFAR-10, IPC 1.

    python -m experiments.groups --data_dir ~/tensorflow_datasets

Each serves 8 times, or as often as the row's name says. With one group of 125 every network is met once in 125 steps;
with five of 25 its uses are closer together, and it is never met again. Rows start from one `1 Net` set, the first
row's, or from herded images, those whose mean feature is closest to their class's; all in the same networks. A tenth of
the training images takes the place of the test split.
"""

from experiments import sweep
from experiments.sweep import Row

_START = {
    "validation_fraction": 0.1,
    "method": "refine",
    "distill.uses": 60,
    "distill.batch": 512,
    "distill.rate": 0.025,
}
ROWS = [
    Row("groups_start", "cifar10_ipc1", _START | {"method": "distill"}),
    *(
        Row(f"groups_of_{group}", "cifar10_ipc1", _START | {"refine.group": group}, after="groups_start")
        for group in (125, 25)
    ),
    Row("groups_herding", "cifar10_ipc1", _START | {"start": "herding"}),
    Row("groups_24_uses", "cifar10_ipc1", _START | {"refine.uses": 24}, after="groups_start"),
    Row("groups_herding_24_uses", "cifar10_ipc1", _START | {"start": "herding", "refine.uses": 24}, "groups_herding"),
]

if __name__ == "__main__":
    sweep.main("groups", ROWS)
