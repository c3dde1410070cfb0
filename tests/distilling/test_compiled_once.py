"""What a stage has compiled it does not compile again: for another IPC, another set, another network or another run."""

import pytest
import runs

from fsdd import config as configs
from fsdd.distilling import context as contexts
from fsdd.distilling import pipeline, scoring
from fsdd.io import progress

FIELDS = runs.TINY | {"evaluate.networks": 2}


def _count(task) -> int:
    before = progress.compile_clock.programs
    task()
    return progress.compile_clock.programs - before


# A step has its keys and its rate's schedule in it, and FRePo's pool and a fresh translator are drawn by programs that
# have theirs: those of another run are others. All else, such as networks, features and optimisers, is shared.
OWN = {"distill": 1, "refine": 1, "translate": 2, "frepo": 2, "bilevel": 3}


# Those that compile for long are slow.
_STAGES = [pytest.param(name, marks=pytest.mark.slow) if name in ("bilevel", "frepo") else name for name in OWN]


@pytest.mark.parametrize("stage", _STAGES)
def test_another_run_compiles_its_own_step_alone(tmp_path, stage):
    counts = []
    for seed in (0, 1):
        config = configs.resolve(runs.default(FIELDS | {"stages": (stage,), "seed": seed}))
        context = contexts.prepare(config, tmp_path / str(seed))
        counts.append(_count(lambda context=context: pipeline.run_stages(context)))
    assert counts[0] > 0
    assert counts[1] <= OWN[stage]


def test_many_networks_are_no_more_programs_than_few(tmp_path):
    counts = []
    for networks in (2, 6):
        fields = {"stages": ("refine",), "refine.networks": networks, "refine.group": 2, "seed": 3}
        context = contexts.prepare(configs.resolve(runs.default(FIELDS | fields)), tmp_path / str(networks))
        counts.append(_count(lambda context=context: pipeline.run_stages(context)))
    assert counts[1] <= OWN["refine"]


def test_sets_of_one_size_and_networks_are_scored_by_the_same_programs(tmp_path):
    # Of a size that no other test scores in this process.
    context = contexts.prepare(configs.resolve(runs.default(FIELDS | {"stages": (), "ipc": 3})), tmp_path)
    synthetic = pipeline.run_stages(context)["start"]
    scorer = scoring.Scorer(context)
    assert _count(lambda: scorer.score("start", synthetic)) > 0
    others = [synthetic.replace(images=factor * synthetic.images) for factor in (-1, 2)]
    assert _count(lambda: scorer.score("start", others[0])) == 0
    assert _count(lambda: scoring.Scorer(context).score("start", others[1])) == 0
