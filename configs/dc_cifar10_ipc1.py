r"""CIFAR-10, one image per class, by DC (gradient matching): 27.9 +- 0.3 %, published 28.3 +- 0.5 %.

    python -m fsdd.main --config=configs/dc_cifar10_ipc1.py
    python -m fsdd.main --config=configs/dc_cifar10_ipc1.py --config.evaluate.protocol=frepo_torch

The first scores the set as DC's code does, the second the same set as FRePo's: 33.2 +- 1.0 %. Its 1,000 iterations are
0.8 PFLOP, a minute of an H200 and about 5 hours on 2 cores, and 28 times as much with `--config.ipc=10`, for which 44.9
+- 0.5 % are published; with 50 53.9 +- 0.5 %; with `--config.dataset=cifar100` 12.8 +- 0.3 %, and with 10 images per
class of it 25.2 +- 0.3 %.

A minute's try without a download, which ends at 86 %, in networks of two blocks as suit images of 8x8:

    python -m fsdd.main --config=configs/quickstart.py --config.method=dc --config.dc.steps=100 \
        --config.network.depth=2 --config.evaluate.depth=2 --config.evaluate.steps=0 "--config.evaluate.stages=()"
"""

from fsdd import config as configs


def get_config():
    """DC's own figures."""
    config = configs.default()
    config.method = "dc"
    config.dataset = "cifar10"
    config.ipc = 1
    return config
