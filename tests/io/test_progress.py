"""Progress bars: what they say while their next step is waited for; and how long that takes."""

import io
import itertools
import time

import pytest

from fsdd.io import progress


@pytest.mark.parametrize(("between", "shown"), [(0.0, True), (3600.0, False)])
def test_a_bar_says_what_its_step_waits_for_as_seldom_as_it_is_redrawn(capsys, between, shown):
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


def test_the_bar_that_was_made_last_is_the_one_shown(capsys):
    with progress.bar("outer", 10) as outer, progress.bar("inner", 10) as inner:
        outer.mininterval = inner.mininterval = 0.0
        progress.waiting("chunks", 1, 2)
        assert [inner.postfix, outer.postfix] == ["chunks 1/2", None]


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
