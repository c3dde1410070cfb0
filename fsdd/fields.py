"""Every field of a config, and what it is unless a config says otherwise."""

from typing import Any

import ml_collections
from ml_collections.config_dict import placeholder


def _stream(**fields: Any) -> dict[str, Any]:
    """Fields of `methods.streams.Stream`; a group of 0 becomes as many networks as memory should hold."""
    return {"networks": 1, "uses": 1, "group": 1, "real_images": 0, "batch": 0} | fields


def _sets() -> dict[str, Any]:
    """Fields of the real set, and of the synthetic one."""
    return {
        "dataset": "cifar10",
        "data_dir": placeholder(str),
        "image_size": 0,
        "test_fraction": 0.2,
        # Above 0, so much of each class's training images takes the place of the test split: to choose settings.
        "validation_fraction": 0.0,
        # Some of its classes; () is all of them.
        "classes": (),
        # Whether the mirror image of an image is as good as the image; None: not for sets of digits and the like.
        "mirror": placeholder(bool),
        "ipc": 1,
        # Side of what networks see over the side of what is stored; 2 stores four times as many images (DS).
        "factor": 1,
        # The real images that S starts from: random ones, or those whose mean feature is closest to their class's.
        "start": "random",
        "seed": 0,
        "whitening": {"kind": placeholder(str), "regularisation": 0.1},
        # Whether labels move with the images, or stay those of the classes.
        "labels": placeholder(str),
    }


def _moving() -> dict[str, Any]:
    """Fields of the stages in which S, the translator or the one network moves."""
    return {
        # Alg. 1: 4,000 outer steps, T = 16 inner ones. Its rates are not in the paper. Plain gradient descent, with
        # which Alg. 1 is written, diverges above a rate of 10 and below it barely moves images in 16 steps.
        "bilevel": {
            "steps": 4000,
            "inner": 16,
            "inner_optimiser": "adam",
            "inner_rate": 0.05,
            "batch": 1024,
            "remat": True,
            "optimiser": "adam",
            "rate": 1e-4,
            "final": 0.1,
        },
        # T = 3,000 and alpha = 1e-3.
        "distill": _stream(uses=3000, batch=1024) | {"optimiser": placeholder(str), "rate": 1e-3, "final": 0.1},
        # S' = 1,000 steps at eta' = 1e-4, a fresh network each.
        "translate": _stream(networks=1000, real_images=1024)
        | {
            "init": "fresh",
            "optimiser": "adam",
            "rate": 1e-4,
            "final": 1.0,
            "warmup": 0.0,
            # Whether the set's labels move, too; and the images a class of all sets that it is adapted to, () for ipc.
            "labels": True,
            "label_rate": 1e-3,
            "ipcs": (),
        },
        # 32 networks in turn, 32 uses each: measured in experiments/results/refine.json.
        "refine": _stream(networks=32, uses=32, group=0, real_images=1024)
        | {"optimiser": placeholder(str), "rate": 3e-3, "final": 0.1},
        # FRePo's own figures.
        "frepo": {
            "steps": 500_000,
            "pool": 10,
            "updates": 100,
            "network_rate": 3e-4,
            "network_batch": 500,
            "batch": 1024,
            "optimiser": placeholder(str),
            "rate": placeholder(float),
            "final": 0.1,
        },
    }


def _pretraining() -> dict[str, Any]:
    """Fields of the stages `cache` and `pretrain`."""
    return {
        # N = 5,000 subsets of 10 to 100 classes, at most M = 4,000 real and I_max = 1,000 synthetic images each.
        "subsets": {
            "count": 5000,
            "classes_min": 10,
            "classes_max": 100,
            "images": 4000,
            "synthetic": 1000,
            "views": 4,
            "policy": "dsa",
            "buckets": 8,
        },
        # S = 200,000 steps at eta = 1e-5 on B = 4 subsets, each in a fresh network.
        "pretrain": {
            "init": "fresh",
            "target": "",
            # Width of the random networks; 0 is network.width. Narrower ones cost a fraction.
            "width": 0,
            # Whether predictions are scaled to the labels before they are judged; the paper does not.
            "scaled": False,
            "steps": 200_000,
            "subsets": 4,
            "uses": 1,
            "group": 1,
            "real_images": 1024,
            "optimiser": "adam",
            "rate": 1e-5,
            "final": 1.0,
            "warmup": 0.0,
            "rounds": 1,
            "held_out": 8,
            "every": 1000,
        },
    }


def _evaluation() -> dict[str, Any]:
    """Fields of the evaluation; the protocol fills what is open. `evaluation/training.py` says what a recipe is."""
    return {
        "evaluate": {
            "stages": (),
            "networks": 3,
            "architecture": "convnet",
            "width": 0,
            "depth": 3,
            "norm": "none",
            "initialisation": placeholder(str),
            "optimiser": placeholder(str),
            "rate": 3e-4,
            "weight_decay": placeholder(float),
            "schedule": placeholder(str),
            "policy": placeholder(str),
            "mean_over_classes": placeholder(bool),
            # What they learn from, and how: `evaluation/material.py` and `evaluation/training.py` say what there is.
            "images": placeholder(str),
            "labels": placeholder(str),
            "loss": placeholder(str),
            "batch": 500,
            "steps": 0,
        },
    }


def _machine() -> dict[str, Any]:
    """Fields of what the machine allows; results differ by rounding at most."""
    return {
        # Real images through a network at once; steps a call to the device; evaluation networks trained together, each
        # convolution then with a kernel a network, which is slow on CPU and has not been timed elsewhere; synthetic
        # images of all cached subsets that are distilled at once on a device; seconds between checkpoints.
        "compute": {
            "chunk": placeholder(int),
            "dispatch": placeholder(int),
            "networks_at_once": 1,
            "lane_images": placeholder(int),
            "checkpoint_seconds": 60.0,
        },
    }


def default() -> ml_collections.ConfigDict:
    """The default config; a field of None is filled by `resolve` from the protocol or the platform.

    The figures are the paper's Table 1 where it has them.
    """
    return ml_collections.ConfigDict(
        {
            "protocol": "best",
            **_sets(),
            "network": {
                "width": 128,
                "depth": 3,
                "norm": "batch",
                "initialisation": placeholder(str),
                "dtype": "float32",
                "cache_dtype": "float32",
                "seed": 0,
            },
            "objective": {"flip": placeholder(bool), "scale": placeholder(float), "ridge": 1e-6},
            # Fills `stages` unless they are given: "translate" is the paper's method.
            "method": "translate",
            "stages": placeholder(tuple),
            **_moving(),
            **_pretraining(),
            # networks/translator.py says what it is; `statistics`, methods/translation.py.
            "translator": {"widths": (64, 64, 64), "stride": 1, "residual": True, "statistics": "batch"},
            "autoencoder": {"steps": 1000, "batch": 128, "rate": 1e-3},
            **_evaluation(),
            **_machine(),
        },
        # Flags may write 1 for 1.0; nothing else changes its type.
        convert_dict=True,
        allow_dotted_keys=False,
    )
