"""The fields of random networks, of the loss in them, of translators, and of pre-training those on subsets."""

from fsdd.config import values
from fsdd.config.fields import (
    MOST_IMAGES,
    MOST_RATE,
    MOST_STEPS,
    MOST_WIDTH,
    OPTIMISERS,
    POLICIES,
    SEED,
    Field,
    by_protocol,
    schedule_fields,
)

INITIALISATIONS = ("lecun", "torch")
NORMS = ("none", "batch", "instance")
CONVNETS = ("convnet", "dc_convnet")
_DTYPES = ("float32", "bfloat16")

NETWORK: dict[str, Field] = {
    "network.architecture": Field(
        by_protocol(frepo_torch="convnet", frepo_jax="convnet", dc="dc_convnet"),
        values.one_of(*CONVNETS),
        "The random networks: FRePo's ConvNet, or DC's, whose width is the same in all blocks.",
    ),
    "network.width": Field(128, values.whole(1, MOST_WIDTH), "Channels of the first block of the random ConvNets."),
    "network.depth": Field(3, values.whole(1, 12), "Blocks of the random ConvNets."),
    "network.norm": Field(
        by_protocol(frepo_torch="batch", frepo_jax="batch", dc="instance"),
        values.one_of(*NORMS),
        "Normalisation in the random ConvNets.",
    ),
    "network.initialisation": Field(
        by_protocol(frepo_torch="torch", frepo_jax="lecun", dc="torch"),
        values.one_of(*INITIALISATIONS),
        "How the parameters of the random ConvNets are drawn.",
    ),
    "network.dtype": Field(
        "float32", values.one_of(*_DTYPES), "What synthetic images pass through the random ConvNets in."
    ),
    "network.cache_dtype": Field("float32", values.one_of(*_DTYPES), "What kept features are stored in."),
    "network.seed": Field(0, SEED, "Determines the one fixed network."),
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

TRANSLATOR: dict[str, Field] = {
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

_REAL = values.whole(1, MOST_IMAGES)
PRETRAINING: dict[str, Field] = {
    "subsets.count": Field(5000, values.whole(1, 10**7), "N, the number of cached subsets of the big set."),
    "subsets.classes_min": Field(10, values.whole(2, 10**5), "The fewest classes of a subset."),
    "subsets.classes_max": Field(100, values.whole(2, 10**5), "The most classes of a subset."),
    "subsets.images": Field(4000, _REAL, "M, the most real images of a subset."),
    "subsets.synthetic": Field(1000, _REAL, "The most synthetic images of a subset."),
    "subsets.views": Field(4, values.whole(1, 1000), "How often each real image is kept: as it is, then augmented."),
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
    "pretrain.real_images": Field(1024, _REAL, "Real images of each subset in a step."),
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
