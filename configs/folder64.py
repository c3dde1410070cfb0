"""An image folder at 64x64, one image per class: one network, the translator `tiny_imagenet32`, and refinement.

    python -m fsdd.main --config=configs/folder64.py --config.dataset=photos/

The translator learned on images of 32x32; it is convolutional, and the one fixed network is the same. Whitening is what
grows: its statistics are 12,288 x 12,288 (600 MB each), those of 32x32 a sixteenth. Fitting them to 3,050 images took
15 s and 2 GB on 2 cores.
"""

from fsdd import config as configs


def get_config():
    """The config of this experiment."""
    config = configs.few_networks(configs.default())
    config.dataset = "photos/"
    config.image_size = 64
    config.ipc = 1
    config.method = "translate_refine"
    # As the sets were distilled that the translator learned on.
    config.distill.steps, config.distill.batch, config.distill.rate = 60, 512, 0.025
    config.translate.init = "tiny_imagenet32"
    config.translate.networks, config.translate.uses = 8, 25
    config.refine.networks, config.refine.uses, config.refine.rate = 32, 8, 3e-3
    config.evaluate.stages = ("start", "distill", "translate", "refine")
    return config
