"""A budget goes to the jobs that fit into it; what they leave is merged, what fails is told, what is late goes on."""

import dataclasses
import json
import time

import pytest

from experiments import cells, jobs, predictions, queue, records, sweep
from experiments.jobs import Job, Place
from experiments.predictions import DEVICES, Prediction
from fsdd.errors import UserError

TWO = DEVICES["h100"]._replace(side_by_side=2, bytes=10.0)


def job(name, folder=None, code="", seconds=1.0, size=1.0, **fields):
    """A job that runs Python `code`, in which RESULT is where it writes."""
    result = (folder or records.FOLDER) / "parts" / name / "cells.json"
    code = code.replace("RESULT", repr(str(result)))
    return Job(name, "of a test", ("-c", code), Prediction(0.0, seconds, size), result, **fields)


def writing(name, wait=0.0):
    return f"import json, time; time.sleep({wait}); json.dump([{{'row': {name!r}}}], open(RESULT, 'w'))"


def test_the_first_that_fits_starts():
    waiting = [job("long", seconds=100), job("large", size=8), job("small")]
    assert queue.choose(waiting, [], 1000, TWO).name == "long"
    assert queue.choose(waiting, [], 50, TWO).name == "large"
    # Beside another, each gets half of the device.
    assert queue.choose(waiting, [job("one", size=5)], 199, TWO).name == "small"
    assert queue.choose(waiting, [job("one")], 1.9, TWO) is None
    assert queue.choose(waiting, [job("one"), job("two")], 1000, TWO) is None
    # What is larger than the memory may try, alone.
    assert queue.choose([job("huge", size=99)], [], 1000, TWO).name == "huge"


def test_one_that_times_programs_runs_alone():
    timing = dataclasses.replace(job("timing"), timed=True)
    assert queue.choose([timing, job("small")], [], 1000, TWO) is timing
    assert queue.choose([job("small")], [timing], 1000, TWO) is None
    assert queue.choose([timing, job("small")], [job("one")], 1000, TWO) is None
    # What there is no time for holds nothing up.
    late = dataclasses.replace(job("late", seconds=2000), timed=True)
    assert queue.choose([late, job("small")], [job("one")], 1000, TWO).name == "small"


def test_programs_compile_quickly_on_a_gpu_where_they_are_not_timed(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    timing = dataclasses.replace(job("timing"), timed=True)
    assert queue.build_environment(job("one"), "h200")["XLA_FLAGS"] == "--xla_gpu_enable_triton_gemm=false"
    assert "XLA_FLAGS" not in queue.build_environment(timing, "h200")
    assert "XLA_FLAGS" not in queue.build_environment(job("one"), "cpu")
    monkeypatch.setenv("XLA_FLAGS", "--mine")
    assert queue.build_environment(job("one"), "h200")["XLA_FLAGS"] == "--mine"


def test_one_that_builds_on_another_waits_for_it():
    second = job("second", after="first")
    assert queue.choose([second], [job("first")], 1000, TWO) is None
    assert queue.choose([second, job("first")], [], 1000, TWO).name == "first"
    assert queue.choose([second], [], 1000, TWO) is second


def test_results_come_together_and_failures_are_told(tmp_path, capfd):
    place = Place(tmp_path / "root", tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cells.json").write_text(json.dumps([{"row": "b", "old": 1}, {"row": "z", "old": 1}]))
    failing = job("failing", tmp_path, "raise SystemExit('no such translator')")
    waiting = [job("b", tmp_path, writing("b")), failing, job("a", tmp_path, writing("a"))]
    outcomes = queue.run(waiting, 1.0, TWO, place)
    assert json.loads((tmp_path / "out" / "cells.json").read_text()) == [
        {"row": "a"}, {"row": "b"}, {"row": "z", "old": 1},
    ]  # fmt: skip
    assert outcomes["a"].startswith("done in") and outcomes["b"].startswith("done in")
    assert outcomes["failing"].startswith("failed after") and "no such translator" in outcomes["failing"]
    assert "no such translator" in (tmp_path / "root" / "logs" / "failing.log").read_text()
    # What they print goes to their logs.
    assert "no such translator" not in capfd.readouterr().err


def test_what_is_late_is_stopped_and_may_write_a_checkpoint(tmp_path):
    place, mark = Place(tmp_path / "root", tmp_path / "out"), tmp_path / "checkpoint"
    code = f"""
import signal, sys, time, pathlib
def stop(*_):
    pathlib.Path({str(mark)!r}).write_text("kept")
    sys.exit(1)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(60)
"""
    began = time.monotonic()
    late, never = job("late", tmp_path, code, seconds=2), job("never", tmp_path, writing("never"), seconds=1e6)
    outcomes = queue.run([late, never], 3 / 60, TWO, place)
    assert time.monotonic() - began < 20
    assert mark.read_text() == "kept"
    assert outcomes["late"].startswith("stopped after") and outcomes["never"] == "not started"
    assert not (tmp_path / "out").exists()


def test_done_cells_are_no_jobs(tmp_path):
    place = Place(tmp_path / "root", tmp_path / "out", "/data")
    path = tmp_path / "queue.json"
    wanted = {"scale": "smoke", "dataset": "digits", "ipc": [1], "rows": ["one_net", "refine"]}
    path.write_text(json.dumps([{"why": "to see", "cells": wanted, "devices": ["cpu"]}]))
    assert not jobs.read(path, "h100", place)
    first, second = jobs.read(path, "cpu", place)
    assert (first.name, second.name, second.after) == ("digits_ipc1_one_net", "digits_ipc1_refine", first.name)
    assert first.arguments[:2] == ("-m", "experiments.paper.table3") and "--data_dir=/data" in first.arguments
    row = cells.build_row("one_net", "digits", 1, "smoke")
    place.out.mkdir()
    (place.out / "cells_smoke.json").write_text(json.dumps([{"row": row.name, "command": sweep.command(row)}]))
    assert [one.name for one in jobs.read(path, "cpu", place)] == [second.name]
    # Another command made it.
    (place.out / "cells_smoke.json").write_text(json.dumps([{"row": row.name, "command": "other"}]))
    assert len(jobs.read(path, "cpu", place)) == 2


def test_finished_stages_shorten_a_prediction(tmp_path):
    place = Place(tmp_path, tmp_path / "out")
    path = tmp_path / "queue.json"
    wanted = {"scale": "paper", "dataset": "cifar100", "ipc": [1], "rows": ["refine"]}
    path.write_text(json.dumps([{"why": "to see", "cells": wanted}]))
    (whole,) = jobs.read(path, "h100", place)
    stage = tmp_path / "paper" / "cifar100_ipc1_without_pretraining" / "distill"
    stage.mkdir(parents=True)
    (stage / "result.json").write_text("{}")
    (left,) = jobs.read(path, "h100", place)
    assert left.prediction.seconds() < whole.prediction.seconds() - 10


def test_the_queue_of_the_repository_is_read_for_every_device(tmp_path):
    place = Place(tmp_path, tmp_path, "/data")
    for device in predictions.DEVICES:
        found = jobs.read(jobs.FILE, device, place)
        assert len({one.name for one in found}) == len(found)
        assert all(one.prediction.seconds() > 0 for one in found)
        print(queue.describe(found))


@pytest.mark.parametrize(
    "text", ["no JSON", '[{"why": "x"}]', '[{"why": "x", "cells": {"scale": "paper"}}]', '[{"why": "x", "runs": 3}]']
)
def test_a_file_that_is_no_queue_is_one_line(text, tmp_path):
    path = tmp_path / "queue.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"queue\.json"):
        jobs.read(path, "h100", Place(tmp_path, tmp_path))


@pytest.mark.slow
def test_a_minute_of_digits(tmp_path):
    """Three cells of the smoke test, two of which start from the first."""
    path = tmp_path / "queue.json"
    wanted = {"scale": "smoke", "dataset": "digits", "ipc": [1], "rows": ["one_net", "refine", "without_pretraining"]}
    path.write_text(json.dumps([{"why": "to see", "cells": wanted, "devices": ["cpu"]}]))
    words = ["--minutes", "2", "--file", str(path), "--root", str(tmp_path / "root"), "--out", str(tmp_path / "out")]
    assert queue.main(queue.parse_arguments([*words, "--device", "cpu"])) == 0
    found = json.loads((tmp_path / "out" / "cells_smoke.json").read_text())
    assert [one["row"] for one in found] == [
        "digits_ipc1_one_net", "digits_ipc1_refine", "digits_ipc1_without_pretraining",
    ]  # fmt: skip
    refined = (tmp_path / "root" / "smoke" / "digits_ipc1_refine" / "distill" / "set.npz").read_bytes()
    assert refined == (tmp_path / "root" / "smoke" / "digits_ipc1_one_net" / "distill" / "set.npz").read_bytes()
