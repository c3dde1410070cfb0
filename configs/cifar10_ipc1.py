"""CIFAR-10, 1 a class.

python -m fsdd.main --config=configs/cifar10_ipc1.py
"""

from fsdd import config as configs


def get_config():
    """The measured recipe at 1 a class."""
    config = configs.few_networks(configs.default())
    config.dataset = "cifar10"
    config.ipc = 1
    return config
