"""What a run is told: one table of fields, the stages and methods, and how a config is completed and checked."""

from fsdd.config.fields import BUDGETS
from fsdd.config.recipes import few_networks
from fsdd.config.registry import PRETRAINING, Stage, methods, stages
from fsdd.config.resolution import (
    bad_value,
    check_value,
    compatible,
    defaults,
    flat,
    marks,
    replace,
    resolve,
    select,
    steps_of,
    unknown_field,
    with_budget,
)
from fsdd.config.resolved import Resolved
from fsdd.config.table import default, table

__all__ = [
    "BUDGETS",
    "PRETRAINING",
    "Resolved",
    "Stage",
    "bad_value",
    "check_value",
    "compatible",
    "default",
    "defaults",
    "few_networks",
    "flat",
    "marks",
    "methods",
    "replace",
    "resolve",
    "select",
    "stages",
    "steps_of",
    "table",
    "unknown_field",
    "with_budget",
]
