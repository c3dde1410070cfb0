r"""CIFAR-10, one image per class, by RTP (unrolled steps with momentum): published are 49.1 +- 0.6 %.

    python -m fsdd.main --config=configs/rtp_cifar10_ipc1.py

Its 500,000 iterations are 1.0 EFLOP, months of 2 cores and hours of a GPU; `--config.rtp.steps=100` tells the time of
one. With 10 images per class 62.4 +- 0.4 % are published, with 50 70.5 +- 0.4 %, of CIFAR-100 21.3 +- 0.6 % and 34.7 +-
0.5 %. RTP whitens by a ZCA of its own, which is not here: images are standardised by DC's constants.

Of its other way to store a set, as bases that all classes share, 16 bases and 115 images of each class take as many
numbers as one image per class:

    python -m fsdd.main --config=configs/rtp_cifar10_ipc1.py --config.ipc=115 --config.rtp.bases=16 \
        --config.rtp.inner_batch=32
"""

from fsdd import config as configs


def get_config():
    """RTP's own figures."""
    config = configs.default()
    config.method = "rtp"
    config.dataset = "cifar10"
    config.ipc = 1
    return config
