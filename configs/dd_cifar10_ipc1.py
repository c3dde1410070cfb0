"""CIFAR-10, one image per class, by DD (unrolled steps of learned sizes): published are 40.5 +- 0.8 %.

    python -m fsdd.main --config=configs/dd_cifar10_ipc1.py

Its 19,600 iterations are 6.6 PFLOP here, in DC's ConvNet, which is not DD's own network: two days of 2 cores. With
`--config.ipc=10 --config.dd.step_size=0.001` 50.0 +- 0.5 % are published. Sets are scored as those of DC, by networks
that train for longer than DD's steps.
"""

from fsdd import config as configs


def get_config():
    """DD's own figures."""
    config = configs.default()
    config.method = "dd"
    config.dataset = "cifar10"
    config.ipc = 1
    return config
