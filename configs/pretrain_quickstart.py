"""A first look at pre-training: subsets of scikit-learn's digits in narrow networks, and a translator trained on them.

    python -m fsdd.main --config=configs/pretrain_quickstart.py

Takes under 2 minutes on 2 cores and needs no download; look at the subsets with
`python -m fsdd.main --inspect=runs/pretrain_quickstart`, and at how the translator learns in pretrain/curve.png there.
"""

from fsdd import config as configs


def get_config():
    """The config of this experiment."""
    config = configs.default()
    config.stages = ("cache", "pretrain")
    config.dataset = "digits"
    config.network.width = 32
    config.distill.steps = 200
    config.distill.batch = 256
    config.distill.rate = 1e-2
    subsets = config.subsets
    subsets.count, subsets.classes_min, subsets.classes_max = 24, 3, 10
    subsets.images, subsets.synthetic, subsets.buckets, subsets.views = 200, 20, 2, 2
    pretrain = config.pretrain
    pretrain.steps, pretrain.subsets, pretrain.uses, pretrain.group = 400, 2, 10, 4
    pretrain.real_images, pretrain.rate, pretrain.final, pretrain.warmup, pretrain.every = 200, 3e-3, 0.01, 0.2, 50
    return config
