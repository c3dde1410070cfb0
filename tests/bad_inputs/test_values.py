"""Values that fields may not have, or not together."""

import pytest
from refusals import assert_refused

VALUES = {
    "ipc is zero": (["ipc=0"], ["config.ipc is 0", "from 1 to"]),
    "ipc is negative": (["ipc=-1"], ["config.ipc is -1", "from 1 to"]),
    "ipc is above the largest class": (["ipc=7"], ["config.ipc is 7", "at most 6", "data"]),
    "seed is negative": (["seed=-1"], ["config.seed is -1", "from 0"]),
    "seed is too large": ([f"seed={2**32}"], ["config.seed is 4294967296", "to 4294967295"]),
    "unknown protocol": (
        ["protocol=keras"],
        ["config.protocol is 'keras'", "frepo_torch, frepo_jax, recommended, ridge_then_train, ridge, plain_pixels"],
    ),
    "unknown optimiser": (["distill.optimiser=sgd"], ["config.distill.optimiser is 'sgd'", "adam", "lamb"]),
    "rate is zero": (["distill.rate=0"], ["config.distill.rate is 0", "above 0"]),
    "rate is no number": (["distill.rate=nan"], ["config.distill.rate is nan", "above 0"]),
    "rate is infinite": (["translate.rate=inf"], ["config.translate.rate is inf", "above 0"]),
    "small images in pre-training": (["stages=('cache',)", "factor=2"], ["config.factor is 2", "1 where stages are"]),
    "learning before caching": (["stages=('pretrain','cache')"], ["('pretrain', 'cache')", "cache before pretrain"]),
    "herding in pre-training": (["stages=('cache',)", "start=herding"], ["config.start is 'herding'", "random where"]),
    "one class": (["classes=(1,)"], ["config.classes is (1,)", "two or more"]),
    "a class twice": (["classes=(1,1)"], ["config.classes is (1, 1)", "different"]),
    "a class that is not there": (["classes=(0,99)"], ["config.classes is (0, 99)", "some of 0 to"]),
    "unknown start": (["start=kmeans"], ["config.start is 'kmeans'", "random, herding"]),
    "a factor of three": (["factor=3"], ["config.factor is 3", "one of 1, 2, 4"]),
    "factor does not divide the side": (["factor=4", "ipc=1"], ["config.factor is 4", "divisor", "6"]),
    "ipc is too many small images": (
        ["factor=2", "ipc=2"],
        ["config.ipc is 2", "at most 1", "square of config.factor"],
    ),
    "the learned space after its use": (["stages=('distill','bilevel')"], ["config.stages", "bilevel first"]),
    "no experts for mtt": (["stages=('mtt',)"], ["config.stages is ('mtt',)", "experts before mtt"]),
    "too few epochs of experts": (["method=mtt", "experts.epochs=2"], ["config.experts.epochs is 2", "at least the 3"]),
    "bases of images of half the side": (
        ["method=rtp", "rtp.bases=2", "factor=2"],
        ["config.factor is 2", "1 with config.rtp.bases"],
    ),
    "no inner step": (["bilevel.inner=0"], ["config.bilevel.inner is 0", "from 1 to"]),
    "no pool": (["frepo.pool=0"], ["config.frepo.pool is 0", "from 1 to"]),
    "a set after the last step": (["evaluate.stages=distill@99"], ["('distill@99',)", "STAGE@STEP"]),
    "a set after no number of steps": (["evaluate.stages=distill@half"], ["('distill@half',)", "STAGE@STEP"]),
    "a set after an oddly written step": (["evaluate.stages=distill@01"], ["('distill@01',)", "STAGE@STEP"]),
    "a set on the way to the start": (["evaluate.stages=start@1"], ["('start@1',)", "STAGE@STEP"]),
    "unknown stage": (
        ["stages=distil"],
        ["config.stages is ('distil',)", "bilevel, dc, dd, distill, dm, dsa, experts, frepo, idc, mtt, refine"],
    ),
    "a list for a stage": (
        ["stages=(['distill'],)"],
        [
            "config.stages is (['distill'],)",
            "bilevel, dc, dd, distill, dm, dsa, experts, frepo, idc, mtt, refine, rtp, translate",
        ],
    ),
    "repeated stage": (["stages=('refine','refine')"], ["config.stages is ('refine', 'refine')", "at most once"]),
    "group does not divide": (
        ["refine.networks=4", "refine.group=3"],
        ["config.refine.group is 3", "divisor of refine.networks = 4"],
    ),
    "networks that serve steps unequally": (
        ["refine.networks=4", "refine.networks_per_step=3"],
        ["config.refine.networks_per_step is 3", "divisor of refine.networks = 4"],
    ),
    "more networks at once than the pool has": (
        ["method=frepo", "frepo.networks_per_step=11"],
        ["config.frepo.networks_per_step is 11", "at most config.frepo.pool = 10"],
    ),
    "evaluation of a stage that is not run": (
        ["evaluate.stages=refine"],
        ["config.evaluate.stages is ('refine',)", "some of start, distill"],
    ),
    "unknown architecture": (["evaluate.architecture=lenet"], ["config.evaluate.architecture is 'lenet'", "vgg11"]),
    "unknown augmentation": (["evaluate.policy=mixup"], ["config.evaluate.policy is 'mixup'", "dsa"]),
    "unknown whitening": (["whitening.kind=pca"], ["config.whitening.kind is 'pca'", "zca"]),
    "labels that are soft": (["labels=soft"], ["config.labels is 'soft'", "learned, hard"]),
    "hard labels in a learned network": (
        ["labels=hard", "method=bilevel"],
        ["config.labels is 'hard'", "learned with the stage bilevel"],
    ),
    "unknown images to score by": (["evaluate.images=raw"], ["config.evaluate.images is 'raw'", "pixels"]),
    "unknown loss to score by": (["evaluate.loss=hinge"], ["config.evaluate.loss is 'hinge'", "cross_entropy"]),
    "unknown dtype": (["network.dtype=float64"], ["config.network.dtype is 'float64'", "float32, bfloat16"]),
    "no test images": (
        ["dataset=digits", "test_fraction=0.0", "evaluate.networks=1"],
        ["config.test_fraction is 0.0", "no test images", "evaluate.networks=0"],
    ),
    "all images held out": (["test_fraction=1.0"], ["config.test_fraction is 1.0", "above 0 and below 1"]),
    "all images for validation": (
        ["validation_fraction=1.0"],
        ["config.validation_fraction is 1.0", "above 0 and below 1"],
    ),
    "chunk is zero": (["compute.chunk=0"], ["config.compute.chunk is 0", "from 1 to"]),
    "translate.ipcs of words": (["translate.ipcs=many"], ["config.translate.ipcs is ('many',)", "each from 1"]),
    "translate.ipcs above the largest class": (
        ["translate.ipcs=(1,7)", "stages=('distill','translate')"],
        ["config.translate.ipcs is (1, 7)", "at most 6"],
    ),
    "translate.ipcs without distillation": (
        ["translate.ipcs=(1,2)", "stages=translate"],
        ["config.translate.ipcs is (1, 2)", "unless the stage distill"],
    ),
    "stride does not divide the side": (["translator.stride=4"], ["config.translator.stride is 4", "divisor", "6"]),
    "two widths": (["translator.widths=(8,8)"], ["config.translator.widths is (8, 8)", "three whole numbers"]),
    "no translator there": (
        ["stages=translate", "translate.init=nowhere"],
        ["config.translate.init is 'nowhere'", "fresh, autoencoder", "variables/"],
    ),
    "a value that is no whole number": (["ipc=abc"], ["config.ipc is 'abc'", "a whole number from 1"]),
    "a value that is no number": (["distill.rate=fast"], ["config.distill.rate is 'fast'", "above 0"]),
    "unknown field by flag": (["distill.rat=1"], ["config.distill.rat is not a field", "distill.rate"]),
}


@pytest.mark.parametrize("case", VALUES)
def test_values(place, tmp_path, case):
    values, words = VALUES[case]
    assert_refused(place, tmp_path / "run", values, words, tmp_path)


def test_values_are_checked_before_the_data_is_loaded(place, tmp_path):
    values = ["dataset=/nowhere", "stages=translate", "translate.init=nowhere"]
    assert_refused(place, tmp_path / "run", values, ["config.translate.init"], tmp_path)
