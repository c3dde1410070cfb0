"""Any value of any field is taken, or refused in one line that names the field, the value and what is allowed."""

import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from fsdd import config as configs
from fsdd.errors import UserError

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.sampled_from(
        [2**31, 2**63, 2**200, -1, 1e300, -0.0, math.nan, math.inf, "\0", "~nosuchuser", object, np.zeros(2)]
    ),
)
_ANY = st.one_of(_SCALARS, st.lists(_SCALARS, max_size=3), st.lists(_SCALARS, max_size=3).map(tuple), st.just({"a": 1}))


@pytest.mark.parametrize("name", list(configs.table()))
@hypothesis.given(value=_ANY)
@hypothesis.settings(max_examples=30)
def test_any_value_is_taken_or_refused_by_name(name, value):
    try:
        configs.check_value(name, value)
    except UserError as error:
        line = str(error)
        assert line.startswith(f"config.{name} is ") and "; allowed: " in line
        assert len(line.splitlines()) == 1
        return
    kind = configs.table()[name].values.type
    assert value is None or isinstance(
        value, (kind, int) if kind is float else (tuple, list) if kind is tuple else kind
    )


@pytest.mark.parametrize("name", [name for name, field in configs.table().items() if field.values.type in (int, float)])
def test_every_number_has_bounds(name):
    holds = configs.table()[name].values.holds
    assert not any(holds(value) for value in (2**64, -(2**64), 1e300, -1e300, math.inf, -math.inf, math.nan, True))
