"""Pre-training on Tiny-ImageNet at 32x32 that 2 CPU cores do overnight: small subsets, but networks of full width.

    python -m fsdd.main --config=configs/pretrain_cpu.py --config.data_dir=DATA

DATA is where the TFDS set `tiny_imagenet32` (100,000 images of 200 classes) is prepared as array_record. It may be
stopped at any moment; the same command goes on. 200 subsets of 10 to 20 synthetic images are 4.3 PFLOP, about 4 hours
of caching at 300 GFLOP/s; 20,000 steps of pre-training on 4,000 networks take two more. The run prints its own
estimate. How well the translator's rate and schedule do has not been measured yet.
"""

from fsdd import config as configs


def get_config():
    """The config of this experiment."""
    config = configs.default()
    config.stages = ("cache", "pretrain")
    config.dataset = "tiny_imagenet32"
    config.distill.uses = 1000
    config.distill.batch = 256
    subsets = config.subsets
    subsets.count, subsets.classes_min, subsets.classes_max = 200, 10, 20
    subsets.images, subsets.synthetic, subsets.buckets = 500, 20, 4
    config.compute.lane_images = 40
    pretrain = config.pretrain
    pretrain.steps, pretrain.subsets, pretrain.uses, pretrain.group, pretrain.real_images = 20_000, 2, 10, 10, 500
    pretrain.rate, pretrain.final, pretrain.warmup, pretrain.every = 3e-4, 0.01, 0.05, 500
    return config
