"""The reference of fields: configs/README.md and --help say what the table says."""

import re

import pytest
import runs

from fsdd import config as configs
from fsdd.config import reference
from fsdd.config.fields import Field
from fsdd.config.values import text


def test_the_page_of_configs_is_up_to_date():
    page = (runs.ROOT / "configs" / "README.md").read_text()
    between = page.partition("<!-- fields -->\n")[2].partition("\n<!-- end -->")[0]
    assert between == reference.as_markdown(), "run: python -m fsdd.config.reference --write"


def test_a_page_is_rewritten_between_its_markers(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- fields -->\nold\n<!-- end -->\nafter\n")
    for _ in range(2):
        reference.write(page)
        assert page.read_text() == f"before\n<!-- fields -->\n{reference.as_markdown()}\n<!-- end -->\nafter\n"
    page.write_text("no markers")
    with pytest.raises(ValueError, match="lacks the markers"):
        reference.write(page)
    assert page.read_text() == "no markers"


def test_rows_have_as_many_cells_as_their_head(monkeypatch):
    field = Field("a|b", text("a|b or c"), "One of a | b.")
    monkeypatch.setattr(reference, "table", lambda: configs.table() | {"new": field})
    shown = reference.as_markdown()
    assert r"| `new` | `a\|b` | a\|b or c | One of a \| b. |" in shown
    for block in shown.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1


def test_help_lists_every_field_method_and_stage():
    shown, page = reference.as_text(), reference.as_markdown()
    for name in configs.table():
        assert f"--config.{name}=" in shown
        assert f"\n| `{name}` | " in page
    for name in [*configs.methods(), *configs.stages()]:
        assert f"\n| `{name}` | " in page
