"""The README and the pages beside it: their commands are good, and their Python runs."""

import pathlib
import re
import shlex

import numpy as np
import pytest
from PIL import Image

from fsdd import config as configs
from fsdd import main

ROOT = pathlib.Path(__file__).parents[1]
PAGES = ("README.md", "configs/README.md", "docs/python.md", "experiments/README.md")
PAGES += tuple(f"fsdd/{folder}/README.md" for folder in ("data", "exports", "integrations", "pretraining"))
TINY = {
    "ipc": 1,
    "image_size": 8,
    "network.width": 4,
    "network.depth": 2,
    "distill.steps": 3,
    "refine.networks": 2,
    "refine.uses": 2,
    "evaluate.networks": 2,
    "evaluate.steps": 3,
}


def commands(page: str) -> list[str]:
    """The command lines of `fsdd.main` that a page shows, whole ones only."""
    found = re.findall(r"python -m fsdd\.main (--[^`|\n#]*)", (ROOT / page).read_text())
    return [command.strip() for command in found if "..." not in command]


@pytest.mark.parametrize(("page", "command"), [(page, command) for page in PAGES for command in commands(page)])
def test_commands_are_good(page, command, monkeypatch):
    monkeypatch.chdir(ROOT)
    parsed = main.parse(["fsdd", *shlex.split(command.partition(" && ")[0])])
    if not isinstance(parsed, pathlib.Path):
        configs.resolve(parsed.config)


def test_pages_show_commands():
    assert len(commands("README.md")) >= 4
    assert len(commands("fsdd/pretraining/README.md")) >= 3


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder `photos/` in the current one: two classes, bright and dark."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("bright", 150)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(10):
            pixels = rng.integers(low, low + 100, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{index}.png")
    return tmp_path / "photos"


@pytest.mark.whole
def test_the_python_of_the_readme_runs(photos):
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    small = block.replace("ipc=10, image_size=32", f"fields={TINY!r}")
    assert small != block
    test_images = np.stack([np.asarray(Image.open(path)) for path in sorted(photos.glob("*/*.png"))])
    names = {"test_images": test_images, "test_labels": np.repeat([0, 1], 10)}
    exec(small, names)
    assert names["images"].shape == (2, 8, 8, 3) and names["labels"].shape == (2, 2)
    assert len(names["accuracies"]) == 2 and names["accuracies"].std is not None
    assert pathlib.Path("classifier.npz").is_file()
    assert {path.parent.name for path in pathlib.Path("distilled").glob("*/*.png")} == {"dark", "bright"}


def test_links_of_pages_lead_somewhere():
    for page in PAGES:
        folder = (ROOT / page).parent
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
            assert target.startswith("http") or (folder / target).exists(), f"{page}: {target}"
