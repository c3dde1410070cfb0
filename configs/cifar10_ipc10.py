"""CIFAR-10, 10 a class.

python -m fsdd.main --config=configs/cifar10_ipc10.py
"""

from fsdd import config as configs


def get_config():
    """The recipe measured at 1 a class of CIFAR-10."""
    config = configs.few_networks(configs.default())
    config.dataset = "cifar10"
    config.ipc = 10
    return config
