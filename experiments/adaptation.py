"""Translation at CIFAR-10 IPC 1: `w/o Pre-Train` (T = 3,000, 1,000 steps of a fresh translator), then `Refine`.

    python -m experiments.adaptation --data_dir ~/tensorflow_datasets

`at_1e_4` and `random_at_1e_4` go from Table 3's `w/o Pre-Train` to the paper's settings, one after the other: its rate,
then its start, a random translator instead of the identity. They begin with the set of its `1 Net`, if it is there.
"""

from experiments import sweep
from experiments.sweep import Row

FRESH = {"translate.init": "fresh", "translate.rate": 3e-3, "translate.warmup": 0.2}
THIRTY_TWO = {"refine.networks": 32, "refine.uses": 32, "refine.group": 32}
_OF_TABLE_3 = {"method": "translate", "distill.uses": 60, "distill.batch": 512, "distill.rate": 0.025}
_PAPER = _OF_TABLE_3 | {"translate.rate": 1e-4, "translate.final": 1.0, "translate.warmup": 0.0}
_ONE_NET = "cpu/cifar10_ipc1_one_net"

ROWS = [
    Row("without_pretraining", "cifar10_ipc1", {"stages": ("distill", "translate")} | FRESH),
    Row(
        "translate_then_refine",
        "cifar10_ipc1",
        {"stages": ("distill", "translate", "refine")} | FRESH | THIRTY_TWO,
        after="without_pretraining",
    ),
    # The config as it is: what the README's command does.
    Row("cifar10_ipc1", "cifar10_ipc1", {}, after="without_pretraining"),
    Row("at_1e_4", "cifar10_ipc1", _PAPER, after=_ONE_NET),
    Row("random_at_1e_4", "cifar10_ipc1", _PAPER | {"translator.residual": False}, after=_ONE_NET),
]

if __name__ == "__main__":
    sweep.main("adaptation", ROWS)
