"""Pages show what was measured: nobody typed or forgot a figure; and they lead to what there is."""

import importlib
import re

import pytest

from experiments import pages, records

EXPERIMENTS = [page for page in pages.PAGES if page.parent != records.ROOT]


def name_of(page):
    return str(page.relative_to(records.ROOT))


@pytest.mark.parametrize("page", pages.PAGES, ids=name_of)
def test_pages_are_up_to_date(page):
    assert pages.render(page.read_text()) == page.read_text()


def test_every_table_has_its_place_on_a_page():
    text = "".join(page.read_text() for page in pages.PAGES)
    assert [name for name in pages.TABLES if f"<!-- {name} -->" not in text] == []


def test_a_page_is_rendered_from_results():
    text = "in 9 networks 1.0 ± 2.0<!--one_net/one_net_torch_seed0-->, seeds 3\n<!-- factoring -->\nstale\n<!-- end -->"
    shown = records.figure("one_net/one_net_torch_seed0")
    rendered = pages.render(text)
    assert rendered.startswith(f"in 9 networks {shown}<!--one_net/one_net_torch_seed0-->, seeds 3\n")
    assert "stale" not in rendered and "Cholesky QR (ms)" in rendered


@pytest.mark.parametrize("page", EXPERIMENTS, ids=name_of)
def test_links_lead_to_files_and_headings(page):
    text = page.read_text()
    for place in re.findall(r"\]\(([^)]+)\)", text):
        path, _, heading = place.partition("#")
        target = page.parent / path
        assert target.is_file(), place
        if heading:
            titles = re.findall(r"^#+ (.+)$", target.read_text(), flags=re.MULTILINE)
            assert heading in [title.lower().replace(" ", "-") for title in titles], place


@pytest.mark.parametrize("page", EXPERIMENTS, ids=name_of)
def test_commands_name_modules_that_there_are(page):
    for module in set(re.findall(r"python -m (experiments[.\w]+)", page.read_text())):
        assert importlib.util.find_spec(module), module


def test_every_picture_and_result_is_on_a_page():
    text = "".join(page.read_text() for page in pages.PAGES)
    pictures = {path.name for path in records.FOLDER.glob("*.png")}
    assert {name for name in pictures if name not in text} == set()


def test_the_index_starts_with_what_waits_for_a_gpu_and_is_one_page():
    lines = (records.ROOT / "experiments" / "README.md").read_text().splitlines()
    assert lines[2] == "## What waits for a GPU"
    assert len(lines) <= 170
