"""Seconds of iterations: what is timed is what Table 2 names, and steps that compile do not count."""

import pytest

from experiments import cells, sweep
from experiments.benchmarks import iterations
from experiments.paper import table2
from fsdd import config as configs
from fsdd.errors import UserError

ROWS = cells.are_there(table2.TIMED)


def test_medians_are_of_steps_after_those_that_compile(monkeypatch):
    clock, now = iterations.Clock(), iter([0.0, 50.0, 60.0, 61.0, 64.0, 66.0])
    monkeypatch.setattr(iterations.time, "perf_counter", lambda: next(now))
    monkeypatch.setattr(iterations, "busy_seconds", lambda: float(len(clock.ticks.get("dm", ()))))
    for step in (10, 20, 30, 40, 50, 60):
        clock("dm", step)
    found = clock.medians("dm")
    assert found == {"seconds": pytest.approx(0.1), "wall_seconds": pytest.approx(0.2), "samples": 3}
    clock.ticks["dm"] = clock.ticks["dm"][:3]
    with pytest.raises(UserError, match="--steps: dm took 3 dispatches; allowed: 4 or more"):
        clock.medians("dm")


@pytest.mark.parametrize("name", ROWS)
def test_a_short_run_has_the_size_of_the_whole_one(name):
    """All fields but those that count steps are the same."""
    row = cells.build_row(name, "cifar10", 1, "paper")
    whole, short = (configs.resolve(sweep.build_config(one)) for one in (row, iterations.shortened(row, 7)))
    timed = table2.ITERATIONS[name]
    assert timed.keys() <= set(whole.stages)
    assert {stage: configs.steps_of(short, stage) for stage in timed} == dict.fromkeys(timed, 7)
    counts = {f"{stage}.{field}" for stage in whole.stages for field in ("steps", "networks", "uses", "group")}
    counts |= {"experts.count", "evaluate.networks", "evaluate.stages", "compute.checkpoint_seconds"}
    whole, short = configs.flat(whole), configs.flat(short)
    assert {field for field in whole if whole[field] != short[field]} <= counts


def test_work_is_that_of_the_official_codes():
    """Convolutions and products of an iteration, counted by PyTorch on DC's network, in GFLOP; ours are estimates.

    XLA does not count what a kernel's window sees of the border.
    """
    wanted = {"dm": 262, "dc": 768, "dsa": 768, "idc": 806}
    for name, flops in wanted.items():
        found = iterations.step_flops(cells.build_row(name, "cifar10", 1, "paper"), name)
        assert found / 1e9 == pytest.approx(flops, rel=0.1), name
    ours = cells.build_row("with_adaptation", "cifar10", 1, "paper")
    # 20 images there and back, of 0.31 GFLOP each way; real features, which come first, are none of it.
    assert iterations.step_flops(ours, "distill") / 1e9 == pytest.approx(2 * 20 * 0.308, rel=0.15)


@pytest.mark.whole
def test_iterations_are_timed_on_digits():
    entry = iterations.measure("dm", "digits", 1, 5, 1e11, None)
    assert entry["stages"]["dm"]["seconds"] > 0 and entry["stages"]["dm"]["samples"] == 2
    assert entry["stages"]["dm"]["floor"] == entry["stages"]["dm"]["flops"] / 1e11
    assert "| digits | 1 | DM | dm |" in iterations.markdown([entry])
