"""The frontier of `Refine` at CIFAR-10 IPC 1: accuracy against networks, uses and wall seconds.

    python -m experiments.one_net --rows one_net_best_seed0 --data_dir ~/tensorflow_datasets
    python -m experiments.refine --data_dir ~/tensorflow_datasets

About 1,000 updates each, so that the rows differ in how many networks they are spread over. 500 networks keep 256 real
images each: pushing those through the networks is most of what a network costs.
"""

from experiments import sweep
from experiments.sweep import Row
from fsdd.io import pictures

START = "one_net_best_seed0"
# K, uses of each, networks in memory at once, real images of each.
SCHEDULES = ((1, 1024, 1, 1024), (8, 128, 8, 1024), (32, 32, 32, 1024), (125, 8, 125, 1024), (500, 2, 125, 256))


def _row(name: str, networks: int, uses: int, group: int, real_images: int, **fields) -> Row:
    fields = {
        "protocol": "best",
        "seed": 0,
        "stages": ("distill", "refine"),
        "distill.uses": 4000,
        "refine.networks": networks,
        "refine.uses": uses,
        "refine.group": group,
        "refine.real_images": real_images,
    } | fields
    return Row(name, "cifar10_ipc1", fields, after=START)


ROWS = [
    *(_row(f"refine_{schedule[0]}x{schedule[1]}", *schedule) for schedule in SCHEDULES),
    _row("refine_32x32_rate", 32, 32, 32, 1024, **{"refine.rate": 1e-2}),
]


def draw(results: list[dict]) -> None:
    """Accuracy against the seconds that refinement took, a point a schedule."""
    series = {}
    for result in results:
        stage, score = result["stages"]["refine"], result["evaluations"][-1]
        name = result["row"].removeprefix("refine_").replace("x", " networks x ").replace("_rate", ", rate 1e-2")
        series[name] = ([stage["wall_seconds"]], [score["mean"]])
    pictures.curve(
        sweep.RESULTS / "refine.png", series, xlabel="seconds of refinement", ylabel="test accuracy (%)", log_x=True
    )


if __name__ == "__main__":
    draw(sweep.main("refine", ROWS))
