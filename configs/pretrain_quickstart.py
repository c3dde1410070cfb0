"""A first look at pre-training: subsets of scikit-learn's digits, distilled in a narrow network.

    python -m fsdd.main --config=configs/pretrain_quickstart.py --stage=cache

Takes under a minute on 2 cores and needs no download; look at it with
`python -m fsdd.main --inspect=runs/pretrain_quickstart`. Expect the NFR loss of a subset to fall to a third.
"""

from fsdd import config as configs


def get_config():
    """The config of this experiment."""
    config = configs.default()
    config.stages = ("cache",)
    config.dataset = "digits"
    config.network.width = 32
    config.objective.flip = False
    config.distill.uses = 200
    config.distill.batch = 256
    config.distill.rate = 1e-2
    subsets = config.subsets
    subsets.count, subsets.classes_min, subsets.classes_max = 24, 3, 10
    subsets.images, subsets.synthetic, subsets.buckets, subsets.views = 200, 20, 2, 2
    return config
