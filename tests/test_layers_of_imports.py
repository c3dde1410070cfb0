"""Imports point one way, and what computes knows no files."""

import ast
import collections
import os
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "fsdd"
COMPUTING = ("core", "networks", "methods")
# What each part of the package may import of the others, besides itself and `errors`.
COMPUTING_AND_SCORING = {*COMPUTING, "evaluation"}
BELOW_RUNS = {*COMPUTING_AND_SCORING, "data", "io", "config", "assembly"}
ALLOWED = {
    "errors": set(),
    "config": set(),
    "core": set(),
    "networks": {"core"},
    "methods": {"core", "networks"},
    "evaluation": {*COMPUTING},
    "io": {"core"},
    # What a dataset's name means is the same for fields and for sources.
    "data": {"config", "io"},
    "assembly": BELOW_RUNS - {"assembly"},
    "distilling": BELOW_RUNS,
    "pretraining": BELOW_RUNS,
    "api": {*BELOW_RUNS, "distilling", "pretraining"},
    "integrations": {"api", "core", "data", "io"},
    "exports": {"config", "core", "integrations", "io"},
    # The command of exports.
    "export": {"exports"},
    # It connects the processes of a job, and looks into stores.
    "main": {"assembly", "api", "config", "io", "pretraining"},
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
    # What is in `fsdd` itself only names what is elsewhere, and translators are no code.
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


def test_the_command_line_takes_from_pretraining_what_is_no_run():
    used = {name for name in imported(PACKAGE / "main.py") if name.startswith("fsdd.pretraining")}
    assert used == {"fsdd.pretraining.hosts", "fsdd.pretraining.inspection"}


def test_no_two_modules_have_one_name():
    """But for the stages: a file there has the name of its stage, and may have that of the method that it runs."""
    files = [file for file in PACKAGE.rglob("*.py") if file.stem != "__init__" and file.parent.name != "stages"]
    counts = collections.Counter(file.stem for file in files)
    assert not {name for name, count in counts.items() if count > 1}


def test_the_file_of_a_stage_has_its_name():
    for file in (PACKAGE / "distilling" / "stages").glob("[!_]*.py"):
        assert f'    name="{file.stem}",' in file.read_text()


WITHOUT_JAX = """
import sys
from fsdd import config, main
config.default(), config.methods(), config.stages()
command = main.parse(["fsdd", "--config=quickstart", "--config.ipc=2", "--config.method=refine"])
assert command.config.ipc == 2
print(sorted({name.partition(".")[0] for name in sys.modules} & {"jax", "flax", "optax", "orbax", "tensorflow"}))
"""


def test_configs_and_flags_are_read_without_jax():
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-c", WITHOUT_JAX]
    done = subprocess.run(command, env=environment, cwd=PACKAGE.parent, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
