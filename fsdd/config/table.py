"""The table of all fields: what each is unless a config says otherwise, which values it may have, and what it means.

Checks, errors, `--help` and `configs/README.md` come from this table. The fields of a stage stand in the stage's own
file, in `fsdd/distilling/stages`, all others in the modules `..._fields` beside this one. Figures are those of the
paper's Table 1 where it has them.
"""

import functools
from typing import Any

import ml_collections
from ml_collections.config_dict import placeholder

from fsdd.config import data_fields, evaluation_fields, network_fields, values
from fsdd.config.fields import BUDGETS, Field
from fsdd.config.registry import PRETRAINING, stages


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
        "budget": Field(
            None,
            values.one_of(*BUDGETS),
            "How long `refine` may take: fills its networks, their uses and its rate where a config leaves them open, "
            "by the images per class that networks see; at ten classes of 32x32 pixels about 2 minutes, 10, or an hour "
            "on 2 cores.",
            optional=True,
        ),
    }
    of_stages = {f"{stage.name}.{name}": field for stage in stages().values() for name, field in stage.fields.items()}
    return {
        **data_fields.DATA,
        **methods,
        **of_stages,
        **network_fields.TRANSLATOR,
        **network_fields.PRETRAINING,
        **network_fields.NETWORK,
        **evaluation_fields.EVALUATION,
        **evaluation_fields.MACHINE,
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
