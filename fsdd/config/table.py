"""The table of all fields: what each is unless a config says otherwise, which values it may have, and what it means.

Checks, errors, `--help` and `configs/README.md` come from this table. The fields of a stage stand in the stage's own
file, in `fsdd/distilling/stages`. Figures are those of the paper's Table 1 where it has them.
"""

import functools
from typing import Any

import ml_collections
from ml_collections.config_dict import placeholder

from fsdd.config import values
from fsdd.config.fields import (
    MOST_IMAGES,
    MOST_RATE,
    MOST_STEPS,
    MOST_WIDTH,
    OPTIMISERS,
    POLICIES,
    PROTOCOLS,
    ByPlatform,
    Field,
    by_protocol,
    schedule_fields,
)
from fsdd.config.registry import PRETRAINING, stages

_INITIALISATIONS = ("lecun", "torch")
_NORMS = ("none", "batch", "instance")
_CONVNETS = ("convnet", "dc_convnet")
_DTYPES = ("float32", "bfloat16")
_SEED = values.whole(0, 2**32 - 1)


def _data_fields() -> dict[str, Field]:
    return {
        "protocol": Field(
            None,
            values.one_of(*PROTOCOLS),
            "Settings that fill what a config leaves open: those of FRePo's PyTorch or JAX code, the best of both as "
            "measured, the same with networks whose dense layer is fitted in closed form, before all layers train or "
            "in place of that, those for sets that will be used as plain pixels, or those of DC, of DSA and DM, of "
            "IDC, of MTT or of RTP; by default that of the first stage: dc for dc and dd, dsa for dsa and dm, mtt for "
            "experts, its own for idc and rtp, else recommended.",
        ),
        "dataset": Field(
            "cifar10",
            values.text("a TFDS name, hf:NAME, an image folder, an .npz file, .npy files or digits"),
            "The real set.",
        ),
        "data_dir": Field(
            None, values.text("the path of a folder"), "Where TFDS, or datasets, keeps prepared sets.", optional=True
        ),
        "image_size": Field(
            0, values.whole(0, 4096), "Side in pixels to which images are cropped and resized; 0 keeps their size."
        ),
        "pixel_range": Field(
            (),
            values.pair(-1e12, 1e12, "(), or two different numbers"),
            "The numbers that are black and white in arrays and in images of more than 8 bits; () takes 0 and 1 of "
            "floats, 0 and 255 of 8-bit values, and no others.",
        ),
        "alpha_background": Field(
            (255, 255, 255),
            values.wholes(0, 255, "three whole numbers: red, green and blue", lengths=(3,)),
            "The colour on which transparent images are laid.",
        ),
        "picture_bands": Field(
            (),
            values.wholes(0, 10**4, "(), or one or three whole numbers", lengths=(0, 1, 3)),
            "The bands, from 0, that pictures show as red, green and blue, or the one in grey; () shows the first "
            "three, or the first where there are fewer.",
        ),
        "test_fraction": Field(
            0.2, values.fraction(), "Part of each class that is held out for the test where there is no test split."
        ),
        "validation_fraction": Field(
            0.0,
            values.fraction(),
            "If above 0, this part of each class's training images replaces the test split, to choose settings.",
        ),
        "classes": Field(
            (),
            values.wholes(0, 10**6, "(), or two or more different whole numbers"),
            "Labels of the classes to keep, which are then numbered in this order; () keeps all.",
        ),
        "mirror": Field(
            None,
            values.truth(),
            "Whether the mirror image of an image is as good; by default not for sets that are called like those of "
            "digits and letters, whatever the path: digits, mnist, fashion_mnist, kmnist, emnist, svhn, svhn_cropped.",
        ),
        "ipc": Field(1, values.whole(1, 10**5), "Synthetic images per class (IPC), in images of full size."),
        "factor": Field(
            1,
            values.one_of(1, 2, 4),
            "Side of the images that networks see over that of the stored ones; 2 stores 4 times as many images (DS).",
        ),
        "balanced": Field(
            None,
            values.truth(),
            "Whether distill, translate and refine draw real images so that classes count alike, however many each "
            "has; by default where some class has half as many again as another.",
            optional=True,
        ),
        "start": Field(
            by_protocol(frepo_torch="random", frepo_jax="random", dc="noise", dsa="random", idc="first", rtp="grey"),
            values.one_of("random", "herding", "first", "noise", "grey"),
            "What the synthetic set starts from: real images, drawn, herded or the first of each class, standard "
            "normal noise, or RTP's nearly uniform grey.",
        ),
        "seed": Field(0, _SEED, "Root of all randomness but that of the one fixed network."),
        "whitening.kind": Field(
            by_protocol(frepo_torch="auto", frepo_jax="auto", plain_pixels="standardize"),
            values.one_of("auto", "zca", "mtt_zca", "standardize", "dc_cifar10", "dc_cifar100"),
            "How images are whitened; auto is ZCA for colour images and standardisation for grey ones, mtt_zca is ZCA "
            "of pixels that are not standardised before, as the protocol mtt has it for CIFAR-10 below 50 images per "
            "class and for CIFAR-100 but for 10 to 49, dc_cifar10 and dc_cifar100 standardise by the constants of DC's "
            "code, as the protocols dc, dsa and rtp do for these sets, and idc for both by the first.",
        ),
        "whitening.regularisation": Field(
            0.1,
            values.above(0, 10**6),
            "Added to the eigenvalues of ZCA, as a multiple of their mean; by mtt_zca as it is.",
        ),
        "labels": Field(
            by_protocol(frepo_torch="learned", frepo_jax="learned", plain_pixels="hard"),
            values.one_of("learned", "hard"),
            "Whether labels move with the images or stay those of the classes.",
        ),
    }


def _network_fields() -> dict[str, Field]:
    return {
        "network.architecture": Field(
            by_protocol(frepo_torch="convnet", frepo_jax="convnet", dc="dc_convnet"),
            values.one_of(*_CONVNETS),
            "The random networks: FRePo's ConvNet, or DC's, whose width is the same in all blocks.",
        ),
        "network.width": Field(128, values.whole(1, MOST_WIDTH), "Channels of the first block of the random ConvNets."),
        "network.depth": Field(3, values.whole(1, 12), "Blocks of the random ConvNets."),
        "network.norm": Field(
            by_protocol(frepo_torch="batch", frepo_jax="batch", dc="instance"),
            values.one_of(*_NORMS),
            "Normalisation in the random ConvNets.",
        ),
        "network.initialisation": Field(
            by_protocol(frepo_torch="torch", frepo_jax="lecun", dc="torch"),
            values.one_of(*_INITIALISATIONS),
            "How the parameters of the random ConvNets are drawn.",
        ),
        "network.dtype": Field(
            "float32", values.one_of(*_DTYPES), "What synthetic images pass through the random ConvNets in."
        ),
        "network.cache_dtype": Field("float32", values.one_of(*_DTYPES), "What kept features are stored in."),
        "network.seed": Field(0, _SEED, "Determines the one fixed network."),
        "objective.flip": Field(
            None, values.truth(), "Whether the synthetic set and its mirror image are both regressed on."
        ),
        "objective.scale": Field(
            by_protocol(frepo_torch=1.0, frepo_jax=0.5), values.above(0, MOST_RATE), "Factor of the squared error."
        ),
        "objective.ridge": Field(
            1e-6, values.above(0, 1), "Regulariser of the ridge head, over the mean of the Gram matrix's diagonal."
        ),
    }


def _translator_fields() -> dict[str, Field]:
    return {
        "translator.widths": Field(
            (64, 64, 64),
            values.wholes(1, MOST_WIDTH, "three whole numbers", lengths=(3,)),
            "Channels of the translator's three blocks.",
        ),
        "translator.stride": Field(
            1, values.one_of(1, 2, 4), "Side of the pooling before the translator's middle block; 1 keeps every pixel."
        ),
        "translator.residual": Field(
            True,
            values.truth(),
            "Whether the translator's output is added to its input, so that it starts as the identity.",
        ),
        "translator.statistics": Field(
            "batch",
            values.one_of("batch", "running"),
            "Statistics with which the finished translator normalises: those of the whole set, or running ones.",
        ),
        "autoencoder.steps": Field(
            1000, values.whole(1, MOST_STEPS), "Steps of a translator that first learns to reconstruct."
        ),
        "autoencoder.batch": Field(128, values.whole(1, MOST_IMAGES), "Real images in each of those steps."),
        "autoencoder.rate": Field(1e-3, values.above(0, MOST_RATE), "Learning rate of those steps."),
    }


def _pretraining_fields() -> dict[str, Field]:
    images = values.whole(1, MOST_IMAGES)
    return {
        "subsets.count": Field(5000, values.whole(1, 10**7), "N, the number of cached subsets of the big set."),
        "subsets.classes_min": Field(10, values.whole(2, 10**5), "The fewest classes of a subset."),
        "subsets.classes_max": Field(100, values.whole(2, 10**5), "The most classes of a subset."),
        "subsets.images": Field(4000, images, "M, the most real images of a subset."),
        "subsets.synthetic": Field(1000, images, "The most synthetic images of a subset."),
        "subsets.views": Field(
            4, values.whole(1, 1000), "How often each real image is kept: as it is, then augmented."
        ),
        "subsets.policy": Field("dsa", values.one_of(*POLICIES), "Augmentation of the views after the first."),
        "subsets.buckets": Field(8, values.whole(1, 1000), "Sizes to which subsets are padded, one program each."),
        "pretrain.init": Field(
            "fresh", values.text("fresh, autoencoder, or a stored translator"), "Where the translator starts."
        ),
        "pretrain.target": Field(
            "",
            values.text("the workdir of a finished run, or nothing"),
            "A run on whose set the translator is judged as it learns.",
        ),
        "pretrain.width": Field(
            0, values.whole(0, MOST_WIDTH), "Width of the random networks; 0 is that of `network.width`."
        ),
        "pretrain.scaled": Field(
            False,
            values.truth(),
            "Whether predictions are rescaled by the best scalar before the loss; otherwise the translator mostly "
            "learns contrast.",
        ),
        "pretrain.steps": Field(200_000, values.whole(1, MOST_STEPS), "Updates of the translator."),
        "pretrain.subsets": Field(4, values.whole(1, 10**5), "B, the subsets of a step, each in a network of its own."),
        "pretrain.uses": Field(1, values.whole(1, 10**6), "Steps that a batch of subsets serves."),
        "pretrain.group": Field(1, values.whole(1, 10**6), "Batches held in memory at once and served in turn."),
        "pretrain.real_images": Field(1024, images, "Real images of each subset in a step."),
        "pretrain.real": Field(
            "own",
            values.one_of("own", "unseen"),
            "Which they are: those that the subset was distilled on, or others of its classes that other subsets have.",
        ),
        "pretrain.optimiser": Field("adam", values.one_of(*OPTIMISERS), "Optimiser of the translator."),
        **{f"pretrain.{name}": field for name, field in schedule_fields(1e-5, 1.0).items()},
        "pretrain.warmup": Field(0.0, values.number(0, 1), "Share of the steps over which the learning rate rises."),
        "pretrain.rounds": Field(1, values.whole(1, 10**5), "Rounds in which caching and pre-training take turns."),
        "pretrain.held_out": Field(8, values.whole(1, 10**5), "Held-out subsets that judge the translator."),
        "pretrain.every": Field(1000, values.whole(1, MOST_STEPS), "Steps between two points of the learning curve."),
    }


def _evaluation_fields() -> dict[str, Field]:
    return {
        "evaluate.stages": Field(
            (),
            values.names("names of stages, start, or STAGE@STEP"),
            "The sets to score; () is the last one, and STAGE@STEP a stage's set after that many of its steps.",
        ),
        "evaluate.protocol": Field(
            None,
            values.one_of(*PROTOCOLS),
            "What fills the fields of `evaluate`; by default `protocol`, as all others.",
        ),
        "evaluate.networks": Field(3, values.whole(0, 10**4), "Networks that are trained on each set; 0 scores none."),
        "evaluate.architecture": Field(
            by_protocol(frepo_torch="convnet", frepo_jax="convnet", dc="dc_convnet"),
            values.one_of(*_CONVNETS, "alexnet", "vgg11", "resnet18"),
            "Their architecture.",
        ),
        "evaluate.width": Field(
            0,
            values.whole(0, MOST_WIDTH),
            "Their width; 0 is `network.width` for ConvNets, else the architecture's own.",
        ),
        "evaluate.depth": Field(3, values.whole(1, 12), "Their blocks, if they are ConvNets."),
        "evaluate.norm": Field(
            by_protocol(frepo_torch="none", frepo_jax="none", dc="instance"),
            values.one_of(*_NORMS),
            "Their normalisation.",
        ),
        "evaluate.initialisation": Field(
            by_protocol(frepo_torch="torch", frepo_jax="lecun", dc="torch"),
            values.one_of(*_INITIALISATIONS),
            "How their parameters are drawn.",
        ),
        "evaluate.fit": Field(
            by_protocol(frepo_torch="train", frepo_jax="train", ridge_then_train="ridge_then_train", ridge="ridge"),
            values.one_of("train", "ridge", "ridge_then_train"),
            "What learns: all layers, by gradient descent; or the dense layer alone, by ridge regression in closed "
            "form, which is what sets are distilled for; or first that, then all.",
        ),
        "evaluate.optimiser": Field(
            by_protocol(frepo_torch="adamw", frepo_jax="adam", dc="sgd"),
            values.one_of(*OPTIMISERS, "sgd"),
            "Their optimiser; sgd has momentum 0.9.",
        ),
        "evaluate.rate": Field(
            by_protocol(frepo_torch=3e-4, frepo_jax=3e-4, ridge_then_train=1e-4, dc=0.01, mtt=0.0),
            values.number(0, MOST_RATE),
            "Their peak learning rate; 0 is the step size that MTT learned with the set, 0.01 for a set without one.",
        ),
        "evaluate.weight_decay": Field(
            by_protocol(frepo_torch=5e-4, frepo_jax=0.0, dc=5e-4, rtp=0.0),
            values.number(0, MOST_RATE),
            "Their weight decay, for adamw and sgd.",
        ),
        "evaluate.schedule": Field(
            by_protocol(
                frepo_torch="warmup_times_cosine",
                frepo_jax="warmup_cosine",
                dc="drop",
                idc="two_drops",
                rtp="constant",
            ),
            values.one_of("warmup_cosine", "warmup_times_cosine", "drop", "two_drops", "constant"),
            "Their learning rate over the steps; drop is a tenth of it from the middle on, two_drops a fifth from two "
            "thirds on and a fifth of that from five sixths on.",
        ),
        "evaluate.policy": Field(
            by_protocol(
                frepo_torch="dsa", frepo_jax="frepo", recommended="dsa", dc="none", dsa="dsa", idc="idc_scoring"
            ),
            values.one_of(*POLICIES),
            "Augmentation of what they learn from.",
        ),
        "evaluate.cutmix": Field(
            by_protocol(frepo_torch=0.0, frepo_jax=0.0, idc=0.5),
            values.number(0, 1),
            "The probability that images of a step then show parts of others, whose labels count as much (CutMix).",
        ),
        "evaluate.mean_over_classes": Field(
            by_protocol(frepo_torch=True, frepo_jax=False),
            values.truth(),
            "Whether their squared error is averaged over classes, or summed and halved.",
        ),
        "evaluate.images": Field(
            by_protocol(frepo_torch="whitened", frepo_jax="whitened", plain_pixels="pixels", dc="whitened"),
            values.one_of("whitened", "rounded", "pixels"),
            "The images that they learn from: whitened ones, 8-bit pixels whitened again, or standardised.",
        ),
        "evaluate.labels": Field(
            by_protocol(frepo_torch="learned", frepo_jax="learned", plain_pixels="hard"),
            values.one_of("learned", "hard"),
            "The labels that they learn: the learned ones, or those of the classes.",
        ),
        "evaluate.loss": Field(
            by_protocol(frepo_torch="squared", frepo_jax="squared", plain_pixels="cross_entropy"),
            values.one_of("squared", "cross_entropy"),
            "Their loss.",
        ),
        "evaluate.batch": Field(
            by_protocol(frepo_torch=500, frepo_jax=500, dc=256, idc=64, rtp=640),
            values.whole(1, MOST_IMAGES),
            "Synthetic images of a step, at most.",
        ),
        "evaluate.epochs": Field(
            by_protocol(frepo_torch=0, frepo_jax=0, dc=301, dsa=1001, idc=1000, rtp=300),
            values.whole(0, MOST_STEPS),
            "Their epochs, of batches of `evaluate.batch`; 0 takes FRePo's number for as many synthetic images.",
        ),
        "evaluate.length": Field(
            by_protocol(frepo_torch="epochs", frepo_jax="steps"),
            values.one_of("steps", "epochs"),
            "What FRePo's number counts: steps, or epochs, one more than it says.",
        ),
        "evaluate.steps": Field(0, values.whole(0, MOST_STEPS), "Their steps; 0 takes `evaluate.epochs`."),
    }


def _machine_fields() -> dict[str, Field]:
    return {
        "compute.chunk": Field(
            ByPlatform(128, 1024), values.whole(1, MOST_IMAGES), "Real images that pass a network at once."
        ),
        "compute.real_dtype": Field(
            # Float16 has as many digits as the TF32 in which GPUs multiply float32 (experiments/README.md).
            ByPlatform("float32", "float16", tpu="float32"),
            values.one_of("float32", "float16", "bfloat16"),
            "What real images, which no gradient follows, pass through the random ConvNets in.",
        ),
        "compute.dispatch": Field(
            ByPlatform(1, 50), values.whole(1, 10**5), "The most steps that one call to the device takes."
        ),
        "compute.networks_at_once": Field(
            1,
            values.whole(1, 1000),
            "Evaluation networks that are trained together: the devices of the host share them; "
            "several on one device are slow on CPU.",
        ),
        "compute.lane_images": Field(
            ByPlatform(128, 1000),
            values.whole(1, MOST_IMAGES),
            "Synthetic images of all subsets that are distilled at once on a device.",
        ),
        "compute.checkpoint_seconds": Field(60.0, values.number(0, 10**7), "Seconds between two checkpoints."),
    }


@functools.cache
def table() -> dict[str, Field]:
    """Every field by its dotted name, in the order of the reference."""
    methods = {
        "method": Field(
            "translate",
            values.text("the name of a method"),
            "Fills `stages` unless they are given; `translate` is the paper's method.",
        ),
        "stages": Field(None, values.names(_stages_words()), "The stages to run, in order."),
    }
    of_stages = {f"{stage.name}.{name}": field for stage in stages().values() for name, field in stage.fields.items()}
    return {
        **_data_fields(),
        **methods,
        **of_stages,
        **_translator_fields(),
        **_pretraining_fields(),
        **_network_fields(),
        **_evaluation_fields(),
        **_machine_fields(),
    }


def _stages_words() -> str:
    allowed = f"some or none of {', '.join(stages())}, each at most once, in the order to run them"
    return f"{allowed}; or {', '.join(PRETRAINING)}"


def default() -> ml_collections.ConfigDict:
    """The default config; a field that is None is filled by `fsdd.config.resolve`."""
    nested: dict[str, Any] = {}
    for name, field in table().items():
        section, _, last = name.rpartition(".")
        place = nested.setdefault(section, {}) if section else nested
        place[last] = placeholder(field.values.type) if field.is_open else field.default
    # Flags may write 1 for 1.0; nothing else changes its type.
    return ml_collections.ConfigDict(nested, convert_dict=True, allow_dotted_keys=False)
