"""Randomness: what each use of it draws depends on the seed, a purpose of its own and the step, and on nothing else."""

import jax

from fsdd.config import Resolved

# The position of a purpose determines what it draws: new ones go to the end.
PURPOSES = ("distill", "translate", "refine", "autoencoder", "evaluate", "cache", "pretrain", "bilevel", "frepo")
PURPOSES += ("dm", "dc", "dsa", "noise", "idc", "experts", "mtt", "dd", "rtp")


def purpose_key(seed: int, purpose: str) -> jax.Array:
    """The root key of one of `PURPOSES`."""
    return jax.random.fold_in(jax.random.key(seed), PURPOSES.index(purpose))


def shared_seed(config: Resolved) -> int:
    """The root of what sets of several seeds share."""
    return config.seed if config.shared_seed is None else config.shared_seed


def fixed_network_key(config: Resolved) -> jax.Array:
    """The key of the one fixed network, whatever the seed of the images: translators are tied to this network."""
    return jax.random.fold_in(purpose_key(config.network.seed, "distill"), 0)


def scoring_key(seed: int, index: int) -> jax.Array:
    """The key of evaluation network `index`: of its parameters, its batches and its augmentations."""
    return jax.random.fold_in(purpose_key(seed, "evaluate"), index)
