"""CIFAR-10, 1 a class: 43.1 +- 1.0 % after 9 minutes of distilling on 2 cores.

python -m fsdd.main --config=configs/cifar10_ipc1.py
"""

from fsdd import config as configs


def get_config():
    """The measured recipe at 1 a class."""
    config = configs.few_networks(configs.default())
    config.dataset = "cifar10"
    config.ipc = 1
    return config
