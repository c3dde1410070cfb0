r"""CIFAR-10, one image per class, by MTT (trajectory matching): published are 46.3 +- 0.8 %.

    python -m fsdd.main --config=configs/mtt_cifar10_ipc1.py
    python -m fsdd.main --config=configs/mtt_cifar10_ipc1.py --config.evaluate.protocol=frepo_torch

The first scores the set as MTT's code does, with the step size that it learned, the second the same set as FRePo's. Its
100 experts of the 3 epochs that are used are 4.5 PFLOP, its 5,000 iterations 3.0 PFLOP: a day and about 20 hours on 2
cores. With `--config.ipc=10` 65.3 +- 0.7 % are published, with 50 71.6 +- 0.2 %; with `--config.dataset=cifar100` 24.3
+- 0.3 %, and with 10 images per class of it 40.1 +- 0.4 %.

Experts serve all sets that are whitened alike, and any number of processes may train them, each with a workdir of its
own; the first does nothing else:

    python -m fsdd.main --config=configs/mtt_cifar10_ipc1.py --config.experts.folder=runs/experts_cifar10 \
        "--config.stages=('experts',)" --config.evaluate.networks=0 --workdir=runs/experts_1
    python -m fsdd.main --config=configs/mtt_cifar10_ipc1.py --config.experts.folder=runs/experts_cifar10

Two minutes' try without a download, which goes from 78 to 90 %, in networks of two blocks as suit images of 8x8:

    python -m fsdd.main --config=configs/quickstart.py --config.method=mtt --config.experts.count=10 \
        --config.mtt.steps=200 --config.mtt.inner=20 --config.network.depth=2 --config.evaluate.depth=2 \
        --config.evaluate.steps=0 "--config.evaluate.stages=('start','mtt')"
"""

from fsdd import config as configs


def get_config():
    """MTT's own figures."""
    config = configs.default()
    config.method = "mtt"
    config.dataset = "cifar10"
    config.ipc = 1
    return config
