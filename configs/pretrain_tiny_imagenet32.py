"""Pre-training on Tiny-ImageNet at 32x32 for ten minutes of a GPU: the paper's T and its PyTorch initialisation, on
small subsets.

    python -m fsdd.main --config=configs/pretrain_tiny_imagenet32.py --config.data_dir=DATA

DATA is where `tiny_imagenet32` (100,000 images of 200 classes; not a set of TFDS's own) is prepared as array_record. An
H100, beside other work, cached 38 of these subsets a minute and then took 170 steps of pre-training a second, compiling
aside. The translator in the package, `tiny_imagenet32_torch`, learned on the first 150 for 6,000 steps
(`subsets.count`, `pretrain.steps`). More has not been tried: this asks for 400 and 20,000, 13 minutes at that pace.
"""

from fsdd import config as configs


def get_config():
    """The config of this experiment."""
    config = configs.default()
    config.stages = ("cache", "pretrain")
    config.dataset = "tiny_imagenet32"
    config.protocol = "frepo_torch"
    config.network.cache_dtype = "bfloat16"
    distill = config.distill
    distill.steps, distill.batch, distill.rate = 3000, 1024, 1e-3
    subsets = config.subsets
    subsets.count, subsets.classes_min, subsets.classes_max = 400, 10, 15
    subsets.images, subsets.synthetic, subsets.buckets = 2500, 30, 2
    subsets.views, subsets.policy = 1, "none"
    config.compute.lane_images = 500
    pretrain = config.pretrain
    pretrain.scaled = True
    pretrain.steps, pretrain.uses, pretrain.group, pretrain.real_images = 20_000, 4, 16, 512
    pretrain.rate, pretrain.final, pretrain.warmup, pretrain.every = 3e-4, 0.01, 0.05, 1000
    return config
