"""Recipes: values for several fields at once, measured together."""

import ml_collections


def few_networks(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Set the recipe for images of full size that was best under 10 minutes on 2 cores (experiments/README.md).

    Real images move over networks that are used more than once, which costs their real features only once; `budget`
    says how many there are. Neither `1 Net` nor a translator comes first until one earns its place: a fresh translator
    (`method` with "translate" in it) does best with 25 networks, a warm-up and a higher rate than the paper's, which
    adapts a pre-trained one.
    """
    values = {
        "method": "baseline",
        "translate.networks": 25,
        "translate.uses": 40,
        "translate.group": 0,
        "translate.rate": 3e-3,
        "translate.final": 0.01,
        "translate.warmup": 0.2,
        "budget": "default",
    }
    config.update_from_flattened_dict(values)
    return config
