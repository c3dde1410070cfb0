"""Pre-training on Tiny-ImageNet at 32x32 that 2 CPU cores do in 40 minutes: small subsets, networks of full width.

    python -m fsdd.main --config=configs/pretrain_cpu.py --config.data_dir=DATA

DATA is where `tiny_imagenet32` (100,000 images of 200 classes; not a set of TFDS's own) is prepared as array_record. It
may be stopped at any moment; the same command goes on. Subsets have one image per class and, like the target of an
adaptation, no augmented views. T = 60 steps at 25 times the paper's rate, a fifth of what 300 slower ones cost, which
train no better (experiments/README.md).
"""

from fsdd import config as configs


def get_config():
    """The config of this experiment."""
    config = configs.default()
    config.stages = ("cache", "pretrain")
    config.dataset = "tiny_imagenet32"
    distill = config.distill
    distill.steps, distill.batch, distill.rate = 60, 512, 0.025
    subsets = config.subsets
    subsets.count, subsets.classes_min, subsets.classes_max = 150, 10, 14
    subsets.images, subsets.synthetic, subsets.buckets = 3500, 14, 1
    subsets.views, subsets.policy = 1, "none"
    config.compute.lane_images = 28
    pretrain = config.pretrain
    pretrain.width, pretrain.scaled = 64, True
    pretrain.steps, pretrain.subsets, pretrain.uses, pretrain.group, pretrain.real_images = 3000, 2, 4, 32, 256
    pretrain.rate, pretrain.final, pretrain.warmup, pretrain.every = 5e-4, 0.01, 0.05, 250
    return config
