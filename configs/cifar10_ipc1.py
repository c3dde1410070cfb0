"""CIFAR-10, one image per class: 43.1 +- 1.0 % after 9 minutes of distilling on 2 cores.

python -m fsdd.main --config=configs/cifar10_ipc1.py
"""

from fsdd import config as configs


def get_config():
    """The recipe as it was measured."""
    config = configs.few_networks(configs.default())
    config.dataset = "cifar10"
    config.ipc = 1
    return config
