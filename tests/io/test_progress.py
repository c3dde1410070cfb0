"""Progress bars: what they say while their next step is waited for; and how long that takes."""

import io
import itertools
import time

import pytest

from fsdd.io import progress


@pytest.fixture
def terminal(monkeypatch):
    """Standard error is taken for a terminal."""
    monkeypatch.setattr(progress, "_is_terminal", lambda: True)


@pytest.mark.parametrize(("between", "shown"), [(0.0, True), (3600.0, False)])
def test_a_bar_says_what_its_step_waits_for_as_seldom_as_it_is_redrawn(terminal, capsys, between, shown):
    with progress.bar("refine", 10) as bar:
        bar.mininterval = between
        progress.waiting("real images", 1280, 50_000)
    assert ("real images 1,280/50,000" in capsys.readouterr().err) == shown


def test_nothing_is_said_where_no_bar_is_shown(capsys):
    progress.waiting("real images", 1, 2)
    with progress.bar("refine", 10):
        pass
    capsys.readouterr()
    progress.waiting("real images", 1, 2)
    assert capsys.readouterr().err == ""


def test_the_bar_that_was_made_last_is_the_one_shown(terminal):
    with progress.bar("outer", 10) as outer, progress.bar("inner", 10) as inner:
        outer.mininterval = inner.mininterval = 0.0
        progress.waiting("chunks", 1, 2)
        assert [inner.postfix, outer.postfix] == ["chunks 1/2", None]


@pytest.mark.parametrize(("seconds", "lines"), [(0.0, 10), (3600.0, 1)])
def test_a_log_gets_a_line_for_each_tenth_but_none_soon_after_another(capsys, monkeypatch, seconds, lines):
    monkeypatch.setattr(progress, "_SELDOM", seconds)
    with progress.bar("refine", 1000) as bar:
        bar.mininterval = 0
        for step in range(1000):
            bar.set_postfix(loss=f"{step}", refresh=False)
            bar.update(1)
    said = capsys.readouterr().err
    assert len(said.splitlines()) == lines and "\r" not in said
    last = said.splitlines()[-1]
    assert last.startswith("refine: 100%| 1000/1000 [") and last.endswith("loss=999]")


def test_a_log_of_a_resumed_run_goes_on_with_the_next_tenth(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_SELDOM", 0.0)
    with progress.bar("refine", 10, start=7) as bar:
        bar.mininterval = 0
        for _ in range(3):
            bar.update(1)
    assert [line.split("|")[0] for line in capsys.readouterr().err.splitlines()] == [
        "refine: 80%",
        "refine: 90%",
        "refine: 100%",
    ]


def test_units_that_were_done_before_say_nothing_about_the_rate_and_need_no_line(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_SELDOM", 0.0)
    with progress.bar("evaluate", 10) as bar:
        bar.mininterval = 0
        bar.update(2)
        bar.skip(5)
        assert (bar.n, bar.initial) == (7, 5)
        bar.update(3)
    assert [line.split("|")[0] for line in capsys.readouterr().err.splitlines()] == ["evaluate: 20%", "evaluate: 100%"]


def test_what_is_told_piece_by_piece_is_summed(terminal):
    with progress.bar("evaluate", 10) as bar:
        count = progress.counting("test images", 1000)
        for more in (250, 250, 400):
            bar.mininterval = 0.0
            count(more)
        assert bar.postfix == "test images 900/1,000"


def test_waiting_is_counted_and_what_is_done_with_the_items_is_not():
    def slow():
        for item in range(3):
            time.sleep(0.02)
            yield item

    waited, began = progress.Waited(), time.perf_counter()
    seen = []
    for item in waited.over(slow()):
        seen.append(item)
        time.sleep(0.1)
    assert seen == [0, 1, 2]
    assert 0.06 <= waited.seconds < time.perf_counter() - began - 0.3 + 0.001
    # An iteration that is left early has been waited for until then.
    before = waited.seconds
    assert list(itertools.islice(waited.over(slow()), 2)) == [0, 1]
    assert waited.seconds >= before + 0.04


def test_a_line_of_letters_that_the_terminal_does_not_have_is_escaped(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))
    progress.tell("茶: 2 classes, \udce9")
    assert raw.getvalue() == b"\\u8336: 2 classes, \\udce9\n"
