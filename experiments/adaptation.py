"""Translation at CIFAR-10 IPC 1: `w/o Pre-Train` (T = 3,000, 1,000 steps of a fresh translator), then `Refine`.

    python -m experiments.adaptation --data_dir ~/tensorflow_datasets

`at_1e_4` and `random_at_1e_4` go from Table 3's `w/o Pre-Train` to the paper's settings, one after the other: its rate,
then its start, a random translator instead of the identity. They begin with the set of its `1 Net`, if it is there.
`unadapted_paper_loss` is `w/o Ada` of the paper's scale, by a translator that learned by the paper's own loss
(README.md here, "Pre-training", has its command), of the set that `tiny_imagenet32_torch` translates in Table 3.
`random_paper` is the paper's own `w/o Pre-Train`, as it says it: a random translator over 1,000 fresh networks at 1e-4.
"""

from experiments import sweep
from experiments.sweep import Row

FRESH = {"translate.init": "fresh", "translate.rate": 3e-3, "translate.warmup": 0.2}
THIRTY_TWO = {"refine.networks": 32, "refine.uses": 32, "refine.group": 32}
_OF_TABLE_3 = {"method": "translate", "distill.uses": 60, "distill.batch": 512, "distill.rate": 0.025}
_PAPER = _OF_TABLE_3 | {"translate.rate": 1e-4, "translate.final": 1.0, "translate.warmup": 0.0}
_ONE_NET = "cpu/cifar10_ipc1_one_net"
_AT_SCALE = {"protocol": "torch", "method": "translate", "distill.uses": 3000, "translate.group": 1}
_UNADAPTED = _AT_SCALE | {"translate.networks": 0, "translate.init": "runs/pretrain_paper_loss/translator"}
_RANDOM = _AT_SCALE | {"translate.networks": 1000, "translate.uses": 1, "translate.rate": 1e-4}
_RANDOM |= {"translate.final": 1.0, "translate.warmup": 0.0, "translator.residual": False}

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
    Row("unadapted_paper_loss", "cifar10_ipc1", _UNADAPTED, after="paper/cifar10_ipc1_without_adaptation"),
    Row("random_paper", "cifar10_ipc1", _RANDOM, after="paper/cifar10_ipc1_without_adaptation"),
]

if __name__ == "__main__":
    sweep.main("adaptation", ROWS)
