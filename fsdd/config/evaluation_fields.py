"""The fields of networks that score a synthetic set, and of the machine that does all."""

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
)
from fsdd.config.network_fields import CONVNETS, INITIALISATIONS, NORMS

EVALUATION: dict[str, Field] = {
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
        values.one_of(*CONVNETS, "alexnet", "vgg11", "resnet18"),
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
        values.one_of(*NORMS),
        "Their normalisation.",
    ),
    "evaluate.initialisation": Field(
        by_protocol(frepo_torch="torch", frepo_jax="lecun", dc="torch"),
        values.one_of(*INITIALISATIONS),
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
        by_protocol(frepo_torch="dsa", frepo_jax="frepo", recommended="dsa", dc="none", dsa="dsa", idc="idc_scoring"),
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

MACHINE: dict[str, Field] = {
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
        "several on one device are slower than in turn.",
    ),
    "compute.lane_images": Field(
        ByPlatform(128, 1000),
        values.whole(1, MOST_IMAGES),
        "Synthetic images of all subsets that are distilled at once on a device.",
    ),
    "compute.checkpoint_seconds": Field(60.0, values.number(0, 10**7), "Seconds between two checkpoints."),
}
