"""The table of fields: defaults are allowed, bounds hold as the words say, and choices are those of the code."""

import dataclasses
import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fsdd
from fsdd import config as configs
from fsdd.config.fields import BUDGETS, PROTOCOLS, ByBudget, ByPlatform, ByProtocol, Field
from fsdd.core import augmentation, whitening
from fsdd.errors import UserError
from fsdd.evaluation import training_recipes, training_sets
from fsdd.methods import bilevel, frepo, gradient_matching, idc, optimisers, translation
from fsdd.networks import architectures, layers

TABLE = configs.table()
BY_TYPE = {kind: [name for name in TABLE if TABLE[name].values.type is kind] for kind in (int, float, bool, str, tuple)}
CHOICES = {
    "distill.optimiser": optimisers.OPTIMISERS,
    "refine.optimiser": optimisers.OPTIMISERS,
    "translate.optimiser": optimisers.OPTIMISERS,
    "frepo.optimiser": optimisers.OPTIMISERS,
    "bilevel.optimiser": optimisers.OPTIMISERS,
    "pretrain.optimiser": optimisers.OPTIMISERS,
    "evaluate.optimiser": training_recipes.OPTIMISERS,
    "bilevel.inner_optimiser": bilevel.OPTIMISERS,
    "dc.distance": gradient_matching.DISTANCES,
    "dsa.distance": gradient_matching.DISTANCES,
    "dc.policy": augmentation.POLICIES,
    "dsa.policy": augmentation.POLICIES,
    "dm.policy": augmentation.POLICIES,
    "idc.distance": idc.DISTANCES,
    "idc.policy": augmentation.POLICIES,
    "idc.network_policy": augmentation.POLICIES,
    "experts.policy": augmentation.POLICIES,
    "mtt.policy": augmentation.POLICIES,
    "rtp.policy": augmentation.POLICIES,
    "subsets.policy": augmentation.POLICIES,
    "evaluate.policy": augmentation.POLICIES,
    "network.architecture": architectures.CONVNETS,
    "network.norm": layers.NORMS,
    "evaluate.norm": layers.NORMS,
    "network.initialisation": layers.INITIALISATIONS,
    "evaluate.initialisation": layers.INITIALISATIONS,
    "evaluate.architecture": architectures.ARCHITECTURES,
    "whitening.kind": whitening.KINDS,
    "evaluate.fit": training_recipes.FITS,
    "evaluate.loss": training_recipes.LOSSES,
    "evaluate.schedule": training_recipes.SCHEDULES,
    "evaluate.length": training_recipes.LENGTHS,
    "frepo.network_schedule": frepo.SCHEDULES,
    "evaluate.images": training_sets.IMAGES,
    "evaluate.labels": training_sets.LABELS,
    "translator.statistics": translation.STATISTICS,
}


def _defaults(field: Field) -> list[Any]:
    if isinstance(field.default, ByProtocol):
        return [field.default.value(protocol) for protocol in PROTOCOLS]
    if isinstance(field.default, ByPlatform):
        return [field.default.value(platform) for platform in ("cpu", "gpu", "tpu")]
    if isinstance(field.default, ByBudget):
        cases = [(budget, images) for budget in (None, *BUDGETS) for images in (1, 4, 10, 10**5)]
        filled = [dataclasses.replace(field, default=field.default.value(*case)) for case in cases]
        return [default for one in filled for default in _defaults(one)]
    return [field.default]


@pytest.mark.parametrize("name", TABLE)
def test_a_field_has_an_allowed_default_and_a_sentence(name):
    field = TABLE[name]
    for value in _defaults(field):
        assert field.values.holds(value) or value is None
        assert value is None or isinstance(value, field.values.type)
    assert field.meaning[0].isupper() or field.meaning.startswith(("eta", "omega"))
    assert field.meaning.endswith(".")
    assert field.values.words


def test_every_field_is_of_one_kind():
    assert sorted(name for names in BY_TYPE.values() for name in names) == sorted(TABLE)
    assert list(configs.flat(configs.default())).sort() == list(TABLE).sort()


def test_a_default_by_platform_is_another_on_tpus_only_where_it_says_so():
    two, three = ByPlatform(1, 2), ByPlatform(1, 2, tpu=3)
    assert [two.value(platform) for platform in ("cpu", "gpu", "tpu")] == [1, 2, 2]
    assert [three.value(platform) for platform in ("cpu", "gpu", "tpu")] == [1, 2, 3]
    assert (str(two), str(three)) == ("1 on CPU, else 2", "1 on CPU, 3 on TPU, else 2")


def test_a_default_by_budget_is_that_of_as_many_images_or_of_the_next_fewer():
    default = ByBudget(7, {"fast": {1: 10, 5: 20, 50: 30}})
    found = [default.value("fast", images) for images in (1, 4, 5, 49, 50, 1000)]
    assert found == [10, 10, 20, 20, 30, 30]
    assert default.value(None, 50) == 7
    assert str(default) == "7, or by budget"


@pytest.mark.parametrize("name", CHOICES)
def test_choices_are_those_of_the_code(name):
    chosen = TABLE[name].values.words.removeprefix("one of ").split(", ")
    assert sorted(chosen) == sorted(CHOICES[name])


def test_no_choice_is_left_out():
    """Words of one field that are not compared above are compared with nothing else in the code."""
    free = {"protocol", "evaluate.protocol", "factor", "start", "labels", "network.dtype", "network.cache_dtype"}
    free |= {"compute.real_dtype", "translator.stride", "pretrain.real", "budget"}
    assert {name for name in TABLE if TABLE[name].values.words.startswith("one of ")} == set(CHOICES) | free


def _bounds(words: str) -> tuple[float, float, bool]:
    """The least and the largest value that words allow, and whether the least is allowed itself."""
    if words == "0, or a number above 0 and below 1":
        return 0.0, math.nextafter(1, 0), True
    number = r"(-?[\d.]+(?:e[+-]?\d+)?)"
    if found := re.fullmatch(f"a (?:whole )?number from {number} to {number}", words):
        return float(found[1]), float(found[2]), True
    found = re.fullmatch(f"a number above {number}, at most {number}", words)
    return float(found[1]), float(found[2]), False


@st.composite
def _bad_whole(draw) -> tuple[str, Any]:
    name = draw(st.sampled_from(BY_TYPE[int]))
    wrong = st.sampled_from([True, False, "1", (1,), 1.5, math.nan, math.inf])
    words = TABLE[name].values.words
    if words.startswith("one of "):
        chosen = [int(choice) for choice in words.removeprefix("one of ").split(", ")]
        return name, draw(wrong | st.integers().filter(lambda value: value not in chosen))
    low, high, _ = _bounds(words)
    return name, draw(wrong | st.integers(max_value=int(low) - 1) | st.integers(int(high) + 1) | st.just(10**400))


@st.composite
def _bad_number(draw) -> tuple[str, Any]:
    name = draw(st.sampled_from(BY_TYPE[float]))
    low, high, includes_low = _bounds(TABLE[name].values.words)
    wrong = st.sampled_from([True, False, "0.5", (0.5,), math.nan, math.inf, -math.inf, 10**400, -(10**400)])
    below = st.floats(max_value=low, exclude_max=includes_low, allow_nan=False)
    return name, draw(wrong | below | st.floats(min_value=high, exclude_min=True, allow_nan=False))


@st.composite
def _bad_truth(draw) -> tuple[str, Any]:
    return draw(st.sampled_from(BY_TYPE[bool])), draw(st.sampled_from([0, 1, 1.0, "True", (True,), math.nan]))


@st.composite
def _bad_text(draw) -> tuple[str, Any]:
    name = draw(st.sampled_from(BY_TYPE[str]))
    wrong = st.integers() | st.floats() | st.booleans() | st.tuples(st.text())
    if not TABLE[name].values.words.startswith("one of "):
        return name, draw(wrong)
    return name, draw(wrong | st.text().filter(lambda value: not TABLE[name].values.holds(value)))


@st.composite
def _bad_tuple(draw) -> tuple[str, Any]:
    name = draw(st.sampled_from(BY_TYPE[tuple]))
    wrong = st.sampled_from([3, 0.5, True, (None,), ((1, 2),), ({"a": 1},)])
    if name in ("stages", "evaluate.stages"):
        return name, draw(wrong | st.tuples(st.integers(), st.text()))
    bad = {"translator.widths": (0, 8, 8), "classes": (-1, 2), "translate.ipcs": (0, 1)}
    bad |= {"pixel_range": (1, 1), "alpha_background": (0, 0, 256), "picture_bands": (0, 1)}
    bad |= {"seeds": (-1, 2)}
    return name, draw(wrong | st.sampled_from([bad[name], (1, True, 2), (1.5, 2, 3), ("1", 2, 3), (2**32, 2, 3)]))


@settings(deadline=None, max_examples=400)
@given(case=_bad_whole() | _bad_number() | _bad_truth() | _bad_text() | _bad_tuple())
def test_a_bad_value_is_one_line_that_names_it_and_what_is_allowed(tmp_path_factory, case):
    name, value = case
    folder = tmp_path_factory.getbasetemp() / "never made"
    with pytest.raises(UserError) as caught:
        # A value that was taken after all would end in another line.
        fsdd.distill("/nowhere", folder, {name: value})
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    shown = {repr(value), repr(float(value)) if isinstance(value, int) and abs(value) < 1e300 else repr(value)}
    # Data may be long, and are shown in part.
    shown = {repr(value)[:80]} if name == "dataset" else shown
    called = {"dataset": "fields['dataset']"} | {own: own for own in ("ipc", "method", "image_size", "budget", "seed")}
    called = called.get(name, f"fields[{name!r}]")
    allowed = "the argument data" if name == "dataset" else TABLE[name].values.words
    assert any(line.startswith(f"{called} is {one}; allowed: {allowed}") for one in shown), line
    assert not folder.exists()


@pytest.mark.parametrize("name", [*BY_TYPE[int], *BY_TYPE[float]])
def test_the_least_and_the_largest_that_words_name_are_allowed(name):
    values = TABLE[name].values
    if values.words.startswith("one of "):
        assert all(values.holds(int(choice)) for choice in values.words.removeprefix("one of ").split(", "))
        return
    low, high, includes_low = _bounds(values.words)
    low, high = (values.type(low), values.type(high))
    assert values.holds(high)
    assert values.holds(low) == includes_low
    # A whole number may stand for another number.
    assert values.type is int or values.holds(int(high)) == (int(high) > low or includes_low)
