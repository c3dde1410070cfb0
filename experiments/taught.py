"""What the networks of `Refine` should have learned before they serve: CIFAR-10, 1 image a class, about 1,000 updates.

    python -m experiments.taught --data_dir ~/tensorflow_datasets

Chosen without the test split: a tenth of the training images takes its place. All rows start from one `1 Net` set, the
first one. Each network learns the set for a number of updates that is spread evenly between none and the row's most.
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


def _row(updates: int, networks: int, group: int, **fields) -> Row:
    name = f"taught_{updates}x{networks}" + "".join(f"_{value}" for value in fields.values())
    counts = {"refine.networks": networks, "refine.group": group, "refine.updates": updates}
    counts |= {f"refine.{field}": value for field, value in fields.items()}
    return Row(name, "cifar10_ipc1", _START | counts, after="taught_start")


ROWS = [
    Row("taught_start", "cifar10_ipc1", _START | {"method": "distill"}),
    _row(0, 125, 25),
    _row(30, 100, 25),
    _row(60, 100, 25),
    _row(120, 75, 25),
    _row(60, 50, 25, uses=16),
    _row(20, 100, 25, network_rate=1e-3),
]

if __name__ == "__main__":
    sweep.main("taught", ROWS)
