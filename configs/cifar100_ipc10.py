"""CIFAR-100, 10 images per class.

python -m fsdd.main --config=configs/cifar100_ipc10.py
"""

from fsdd import config as configs


def get_config():
    """The recipe that was measured at one image per class of CIFAR-10."""
    config = configs.few_networks(configs.default())
    config.dataset = "cifar100"
    config.ipc = 10
    return config
