"""Imports point one way, and what computes knows no files."""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "fsdd"
COMPUTING = ("core", "networks", "methods")
# What each part of the package may import of the others, besides itself and `errors`.
ALLOWED = {
    "core": set(),
    "networks": {"core"},
    "methods": {"core", "networks"},
    "evaluation": {"core", "networks", "methods"},
    "data": set(),
    "io": {"core"},
    "errors": set(),
    "provenance": set(),
    "rules": {"core", "networks", "methods", "evaluation"},
    "presets": set(),
    "fields": set(),
    "config": {"fields", "presets", "rules"},
    "translators": {"core", "networks", "methods", "io", "config", "provenance"},
    "run": {"core", "networks", "methods", "evaluation", "data", "io", "config", "provenance", "translators"},
    "starts": {"core", "networks", "methods", "io", "run"},
    "stage_files": {"core", "io", "config", "provenance", "run"},
    "stages": {
        *("core", "networks", "methods", "io", "config", "provenance"),
        *("run", "translators", "starts", "stage_files"),
    },
    "estimate": {"core", "networks", "methods", "evaluation", "io", "config", "run", "translators"},
    "pretraining": {
        *("core", "networks", "methods", "data", "io"),
        *("config", "provenance", "rules", "run", "translators", "estimate"),
    },
    "pipeline": {
        *("core", "networks", "methods", "evaluation", "data", "io"),
        *("config", "provenance", "run", "stages", "stage_files", "estimate", "pretraining", "rules"),
    },
    "hosts": set(),
    "api": {"core", "networks", "methods", "evaluation", "data", "io", "config", "pipeline", "rules"},
    "replay": {"api", "io"},
    "main": {"config", "pipeline", "pretraining", "hosts"},
}
KEPT_OUT = {"array_record", "grain", "matplotlib", "ml_collections", "orbax", "tensorflow_datasets", "tqdm"}


def imported(file: pathlib.Path) -> set[str]:
    """Dotted names of all that a source imports, also inside functions: `from a import b` counts as a.b."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}, line {node.lineno}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def sources(part: str) -> list[pathlib.Path]:
    folder = PACKAGE / part
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def test_every_part_of_the_package_has_its_place():
    parts = {entry.stem for entry in PACKAGE.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").is_file()}
    assert parts - {"__init__"} == set(ALLOWED)


@pytest.mark.parametrize("part", ALLOWED)
def test_imports_point_one_way(part):
    for file in sources(part):
        used = {name.split(".")[1] for name in imported(file) if name.startswith("fsdd.")}
        assert used <= ALLOWED[part] | {part, "errors"}, file


@pytest.mark.parametrize("part", COMPUTING)
def test_what_computes_imports_no_library_for_files_or_configs(part):
    for file in sources(part):
        assert not {name.split(".")[0] for name in imported(file)} & KEPT_OUT, file
