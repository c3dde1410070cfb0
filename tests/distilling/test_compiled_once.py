"""What a stage has compiled it does not compile again: for another IPC, another set, another network or another run."""

import jax
import pytest
import runs

from fsdd import config as configs
from fsdd.distilling import context as contexts
from fsdd.distilling import pipeline, scoring
from fsdd.io import progress

# Networks of a width that no other test has: a process shares what any of its runs compiled.
FIELDS = runs.TINY | {"evaluate.networks": 2, "network.width": 5}


def _count(task) -> int:
    before = progress.compile_clock.programs
    task()
    return progress.compile_clock.programs - before


@pytest.fixture
def stored():
    """The events of JAX's persistent cache, which here keeps whatever was compiled."""
    names, seen = ("jax_persistent_cache_min_compile_time_secs", "jax_persistent_cache_min_entry_size_bytes"), []
    before = {name: getattr(jax.config, name) for name in names}
    for name, value in zip(names, (0.0, -1), strict=True):
        jax.config.update(name, value)
    jax.monitoring.register_event_listener(lambda event, **_: seen.append(event.rpartition("/")[2]))
    yield seen
    for name, value in before.items():
        jax.config.update(name, value)


# Within a process only the program that draws a fresh translator is a run's own.
OWN = {"distill": 0, "refine": 0, "translate": 1, "frepo": 0, "bilevel": 0, "dm": 0, "dc": 0}


# Stages that compile for long.
_MARKS = dict.fromkeys(("bilevel", "frepo", "dc"), pytest.mark.slow) | dict.fromkeys(
    ("translate", "dm"), pytest.mark.whole
)
_STAGES = [pytest.param(name, marks=_MARKS.get(name, ())) for name in OWN]


@pytest.mark.parametrize("stage", _STAGES)
def test_another_seed_compiles_nothing(tmp_path, stage, stored):
    counts = []
    for seed in (0, 1):
        config = configs.resolve(runs.default(FIELDS | {"stages": (stage,), "seed": seed}))
        context = contexts.prepare(config, tmp_path / str(seed))
        stored.clear()
        counts.append(_count(lambda context=context: pipeline.run_stages(context)))
    assert counts[0] > 0
    assert counts[1] <= OWN[stage]
    # Keys and images are no part of a program: that of another seed, in this process or a later one, is in the cache.
    assert stored.count("cache_hits") == counts[1] and "cache_misses" not in stored


def test_many_networks_are_no_more_programs_than_few(tmp_path):
    counts = []
    for networks in (2, 6):
        fields = {"stages": ("refine",), "refine.networks": networks, "refine.group": 2, "seed": 3}
        context = contexts.prepare(configs.resolve(runs.default(FIELDS | fields)), tmp_path / str(networks))
        counts.append(_count(lambda context=context: pipeline.run_stages(context)))
    # The step alone: its rate goes over another number of steps.
    assert counts[1] <= 1


def test_sets_of_one_size_and_networks_are_scored_by_the_same_programs(tmp_path):
    # Of a size that no other test scores in this process.
    context = contexts.prepare(configs.resolve(runs.default(FIELDS | {"stages": (), "ipc": 3})), tmp_path)
    synthetic = pipeline.run_stages(context)["start"]
    scorer = scoring.Scorer(context)
    assert _count(lambda: scorer.score("start", synthetic)) > 0
    others = [synthetic.replace(images=factor * synthetic.images) for factor in (-1, 2)]
    assert _count(lambda: scorer.score("start", others[0])) == 0
    assert _count(lambda: scoring.Scorer(context).score("start", others[1])) == 0
