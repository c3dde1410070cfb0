"""CIFAR-100, one image per class.

python -m fsdd.main --config=configs/cifar100_ipc1.py
"""

from fsdd import config as configs


def get_config():
    """The recipe that was measured at one image per class of CIFAR-10."""
    config = configs.few_networks(configs.default())
    config.dataset = "cifar100"
    config.ipc = 1
    return config
