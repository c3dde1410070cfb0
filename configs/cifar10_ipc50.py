"""CIFAR-10, 50 images per class.

python -m fsdd.main --config=configs/cifar10_ipc50.py
"""

from fsdd import config as configs


def get_config():
    """The recipe that was measured at one image per class of CIFAR-10."""
    config = configs.few_networks(configs.default())
    config.dataset = "cifar10"
    config.ipc = 50
    return config
