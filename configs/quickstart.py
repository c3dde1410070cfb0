"""scikit-learn's digits (8x8, grey, no download), one image per class, narrow networks: a first look at distillation,
translation and refinement.

python -m fsdd.main --config=configs/quickstart.py
"""

from fsdd import config as configs


def get_config():
    """Three stages, small."""
    config = configs.default()
    config.dataset = "digits"
    config.ipc = 1
    config.network.width = 32
    config.stages = ("distill", "translate", "refine")
    config.distill.steps = 500
    config.translate.networks = 200
    config.translate.rate = 1e-3
    config.refine.uses = 8
    config.evaluate.stages = ("start", "distill", "translate", "refine")
    config.evaluate.steps = 600
    return config
