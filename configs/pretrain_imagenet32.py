"""The paper's pre-training (Table 1): 5,000 subsets of ImageNet at 32x32, on GPUs or TPUs.

    python -m fsdd.main --config=configs/pretrain_imagenet32.py --config.data_dir=DATA

DATA is where TFDS has `imagenet_resized/32x32` prepared as array_record. Caching distils 5,000 subsets of about 510
synthetic images on average for T = 3,000 steps each, 11 EFLOP in all: README.md, "Pre-training", has the estimate for
one GPU and for eight, and the commands for one host and for many.
"""

from fsdd import config as configs


def get_config():
    """The config of this experiment."""
    config = configs.default()
    config.stages = ("cache", "pretrain")
    config.dataset = "imagenet_resized/32x32"
    config.network.cache_dtype = "bfloat16"
    return config
