"""The type of a config that is complete."""

import ml_collections


class Resolved(ml_collections.FrozenConfigDict):
    """A config that is complete, checked and immutable; `fsdd.config.resolve` makes it, and all else only reads it."""
