"""The frontier of `Refine`: networks, their uses and their real images, on validation images; CIFAR-10, IPC 1.

    python -m experiments.frontier --data_dir ~/tensorflow_datasets

Rows are named START_NETWORKSxUSES_IMAGES: K networks serve m times each, with so many real images. They start from one
`1 Net` set (`one_net`), from that of other real images (`herding`, whose mean feature is closest to their class's)
or from real images themselves (`real`). A tenth of the training images takes the place of the test split.
"""

from experiments import sweep
from experiments.sweep import Row

_VALIDATED = {"validation_fraction": 0.1}
_ONE_NET = {"method": "refine", "distill.uses": 60, "distill.batch": 512, "distill.rate": 0.025}


def _stream(networks: int, uses: int, images: int, group: int) -> dict[str, int]:
    return {
        "refine.networks": networks,
        "refine.uses": uses,
        "refine.real_images": images,
        "refine.group": group,
    }


def _row(start: str, networks: int, uses: int, images: int, group: int = 0) -> Row:
    """A row; `group` networks are held at once, by default 50."""
    name = f"{start}_{networks}x{uses}_{images}" + (f"_groups_of_{group}" if group else "")
    fields, after = {
        "one_net": (_ONE_NET, "frontier_one_net"),
        "herding": (_ONE_NET | {"start": "herding"}, "frontier_herding"),
        "real": ({"method": "baseline"}, None),
    }[start]
    stream = _stream(networks, uses, images, group or 50)
    return Row(name, "cifar10_ipc1", _VALIDATED | fields | stream, after)


ROWS = [
    Row("frontier_one_net", "cifar10_ipc1", _VALIDATED | _ONE_NET | {"method": "distill"}),
    Row("frontier_herding", "cifar10_ipc1", _VALIDATED | _ONE_NET | {"method": "distill", "start": "herding"}),
    _row("one_net", 125, 8, 1024, group=125),
    _row("one_net", 125, 8, 1024, group=25),
    _row("one_net", 1000, 2, 128),
    _row("herding", 125, 8, 1024, group=125),
    _row("herding", 1000, 4, 128),
    _row("real", 2000, 1, 128),
]

if __name__ == "__main__":
    sweep.main("frontier", ROWS)
