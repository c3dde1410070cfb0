"""Progress bars: what they say while their next step is waited for."""

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
