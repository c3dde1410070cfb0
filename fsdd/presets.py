"""Named sets of values: the published protocols, the methods, and what depends on the machine."""

# What a set is made for, and scored by: all that was learned, or plain images and classes.
_AS_LEARNED = {
    "whitening.kind": "auto",
    "labels": "learned",
    "evaluate.images": "whitened",
    "evaluate.labels": "learned",
    "evaluate.loss": "squared",
}
_PLAIN = {
    "whitening.kind": "standardize",
    "labels": "hard",
    "evaluate.images": "pixels",
    "evaluate.labels": "hard",
    "evaluate.loss": "cross_entropy",
}

# What FRePo's two codes do differently (all other fields are common to both), the best of both as measured
# (experiments/results/one_net.json), and that for sets of plain images.
PROTOCOLS = {
    "torch": _AS_LEARNED
    | {
        "network.initialisation": "torch",
        "objective.scale": 1.0,
        "objective.flip": True,
        "distill.optimiser": "adam",
        "refine.optimiser": "adam",
        "frepo.optimiser": "adam",
        "frepo.rate": 1e-3,
        "evaluate.initialisation": "torch",
        "evaluate.optimiser": "adamw",
        "evaluate.weight_decay": 5e-4,
        "evaluate.schedule": "warmup_times_cosine",
        "evaluate.policy": "dsa",
        "evaluate.mean_over_classes": True,
    },
    "jax": _AS_LEARNED
    | {
        "network.initialisation": "lecun",
        "objective.scale": 0.5,
        "objective.flip": True,
        "distill.optimiser": "lamb",
        "refine.optimiser": "lamb",
        "frepo.optimiser": "lamb",
        "frepo.rate": 3e-4,
        "evaluate.initialisation": "lecun",
        "evaluate.optimiser": "adam",
        "evaluate.weight_decay": 0.0,
        "evaluate.schedule": "warmup_cosine",
        "evaluate.policy": "frepo",
        "evaluate.mean_over_classes": False,
    },
}
PROTOCOLS["best"] = PROTOCOLS["jax"] | {"distill.optimiser": "adam", "evaluate.policy": "dsa"}
PROTOCOLS["plain"] = PROTOCOLS["best"] | _PLAIN

# The stages of each named method.
METHODS = {
    "real": (),
    "distill": ("distill",),
    "translate": ("distill", "translate"),
    "refine": ("distill", "refine"),
    "translate_refine": ("distill", "translate", "refine"),
    "baseline": ("refine",),
    "bilevel": ("bilevel", "distill"),
    "frepo": ("frepo",),
}

# What depends on the machine and, but for rounding, not the result: (CPU, accelerator).
PLATFORM = {
    "compute.chunk": (128, 1024),
    "compute.dispatch": (1, 50),
    "compute.lane_images": (128, 1000),
}
