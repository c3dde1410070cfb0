"""Pre-training on Tiny-ImageNet at 32x32, made for one H100 and 12 to 25 minutes, caching and pre-training together.

    python -m fsdd.main --config=configs/pretrain_tiny_imagenet32.py --config.data_dir=DATA

DATA is where `tiny_imagenet32` (100,000 images of 200 classes; not a set of TFDS's own) is prepared as array_record.
Subsets are distilled as in `pretrain_cpu.py`: in 60 steps instead of 3,000. 4,000 of them, of at most 100 synthetic
images and 4,000 real ones, are 18 PFLOP, about 4 minutes of caching at 75 TFLOP/s; 40,000 steps of pre-training on
40,000 networks are another 36 PFLOP. All of this is a prediction, not yet measured, and so are the rate and schedule.
"""

from fsdd import config as configs


def get_config():
    """The config of this experiment."""
    config = configs.default()
    config.stages = ("cache", "pretrain")
    config.dataset = "tiny_imagenet32"
    config.network.cache_dtype = "bfloat16"
    distill = config.distill
    distill.uses, distill.batch, distill.rate = 60, 512, 0.025
    subsets = config.subsets
    subsets.count, subsets.classes_min, subsets.classes_max = 4000, 10, 50
    subsets.images, subsets.synthetic, subsets.buckets = 4000, 100, 4
    subsets.views, subsets.policy = 1, "none"
    pretrain = config.pretrain
    pretrain.scaled = True
    pretrain.steps, pretrain.uses, pretrain.group = 40_000, 4, 16
    pretrain.rate, pretrain.final, pretrain.warmup = 5e-4, 0.01, 0.05
    return config
