"""What a field is: its default, the values that it may have, and what it means."""

import dataclasses
from typing import Any

from fsdd.config import values
from fsdd.config.values import Values

# Where a protocol does not say what a field is, the one that it builds on does.
PROTOCOLS = {
    "frepo_torch": None,
    "frepo_jax": None,
    "recommended": "frepo_jax",
    "ridge_then_train": "recommended",
    "ridge": "recommended",
    "plain_pixels": "recommended",
    "dc": "plain_pixels",
    "dsa": "dc",
    "idc": "dsa",
    "mtt": "dsa",
    "rtp": "dc",
}
# From the shortest on.
BUDGETS = ("fast", "default", "long")
OPTIMISERS = ("adam", "adamw", "lamb")
POLICIES = ("none", "frepo", "dsa", "idc_matching", "idc_training", "idc_scoring")
# Larger than any machine of today needs, and small enough for the arithmetic that follows.
MOST_STEPS, MOST_IMAGES, MOST_WIDTH, MOST_RATE = 10**8, 10**7, 8192, 1000.0
SEED = values.whole(0, 2**32 - 1)


@dataclasses.dataclass(frozen=True)
class ByProtocol:
    """A default that depends on the protocol; one that is not named has the value of the protocol it builds on."""

    values: dict[str, Any]

    def value(self, protocol: str) -> Any:
        """The default under one of `PROTOCOLS`."""
        while protocol not in self.values:
            protocol = PROTOCOLS[protocol]
        return self.values[protocol]

    def __str__(self):
        return ", ".join(f"{value} by {protocol}" for protocol, value in self.values.items())


@dataclasses.dataclass(frozen=True)
class ByPlatform:
    """A default that depends on the platform; results differ by rounding at most.

    Attributes:
        cpu: on CPU.
        accelerator: on all others.
        tpu: on TPU, if not that.
    """

    cpu: Any
    accelerator: Any
    tpu: Any = None

    def value(self, platform: str) -> Any:
        """The default on a platform, as `jax.default_backend` calls it."""
        of = {"cpu": self.cpu, "tpu": self.accelerator if self.tpu is None else self.tpu}
        return of.get(platform, self.accelerator)

    def __str__(self):
        tpu = "" if self.tpu is None else f", {self.tpu} on TPU"
        return f"{self.cpu} on CPU{tpu}, else {self.accelerator}"


@dataclasses.dataclass(frozen=True)
class ByBudget:
    """A default that depends on the budget of a run, and on how many images of a class networks see.

    Attributes:
        otherwise: without a budget.
        values: by budget, what it is from so many images per class on; may depend on the protocol.
    """

    otherwise: Any
    values: dict[str, dict[int, Any]]

    def value(self, budget: str | None, images: int) -> Any:
        """The default of a budget, one of `BUDGETS` or None, at so many images per class."""
        if budget is None:
            return self.otherwise
        fewest = max(count for count in self.values[budget] if count <= images)
        return self.values[budget][fewest]

    def __str__(self):
        return f"{self.otherwise}, or by budget"


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of a config.

    Attributes:
        default: its value unless a config gives another; None where `resolve` works it out from other fields.
        values: those that it may have.
        meaning: one sentence of documentation.
        optional: whether None is an allowed value.
    """

    default: Any
    values: Values
    meaning: str
    optional: bool = False

    @property
    def is_open(self) -> bool:
        """Whether `resolve` fills the field where a config leaves it."""
        return self.default is None or isinstance(self.default, ByProtocol | ByPlatform | ByBudget)


def by_protocol(**protocols: Any) -> ByProtocol:
    """A default for each protocol that differs from the one it builds on."""
    return ByProtocol(protocols)


def schedule_fields(rate: Any, final: float) -> dict[str, Field]:
    """The fields of a learning rate that falls by a cosine, for the section of a stage."""
    return {
        "rate": Field(rate, values.above(0, MOST_RATE), "Learning rate at the first step."),
        "final": Field(final, values.number(0, 1), "Learning rate at the last step over that at the first."),
    }


def stream_fields(networks: Any, uses: Any, group: int, real_images: int) -> dict[str, Field]:
    """The fields of a stream of random networks, for the section of a stage; see `fsdd/methods/streams.py`."""
    return {
        "networks": Field(networks, values.whole(1, 10**6), "Random networks that serve the steps, each in its turn."),
        "uses": Field(uses, values.whole(1, 10**6), "Steps that each network serves."),
        "networks_per_step": Field(
            1,
            values.whole(1, 10**4),
            "Networks that serve a step together, a divisor of `networks`, so that steps are so many times fewer: each "
            "follows their mean gradient, and the devices of the host share them.",
        ),
        "group": Field(
            group,
            values.whole(0, 10**6),
            "Networks held in memory at once, a divisor of `networks`; 0 is the largest divisor up to 125. "
            "Those that serve a step together are held together.",
        ),
        "real_images": Field(
            real_images, values.whole(0, MOST_IMAGES), "Real images whose features a network keeps; 0 is all of them."
        ),
        "batch": Field(0, values.whole(0, MOST_IMAGES), "Of these, how many a step sees; 0 is all of them."),
    }
