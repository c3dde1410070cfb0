"""CIFAR-10, one image per class, by DM: 26.6 +- 0.3 %, published 26.0 +- 0.8 %.

    python -m fsdd.main --config=configs/dm_cifar10_ipc1.py
    python -m fsdd.main --config=configs/dm_cifar10_ipc1.py --config.evaluate.protocol=frepo_torch

The first scores the set as DM's code does, the second the same set as FRePo's: 23.9 +- 0.2 %. DM's 20,000 steps are
for a GPU: 5 PFLOP, hardly more with `ipc`, 3 minutes of an H200 and about a day on 2 cores. With `--config.ipc=10` 48.9
+- 0.6 % are published, with 50 63.0 +- 0.4 %; with `--config.dataset=cifar100` 11.4 +- 0.3 %, and with 10 images per
class of it 29.7 +- 0.3 %.
"""

from fsdd import config as configs


def get_config():
    """DM's own figures."""
    config = configs.default()
    config.method = "dm"
    config.dataset = "cifar10"
    config.ipc = 1
    return config
