"""What a refusal is: one line that names the field or file, the value and what is allowed, and everything as it was."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import runs

from fsdd import main
from fsdd.errors import UserError

CONFIG = """
from fsdd import config as configs


def get_config():
    config = configs.default()
    config.dataset = {dataset!r}
    config.network.width = config.network.depth = 2
    config.stages = ("distill",)
    config.distill.steps, config.distill.batch = 3, 8
    config.evaluate.networks = 0
    return config
"""
# LAMB's steps are as large as the rate times the images: within a few they are no numbers.
DIVERGING = ["distill.steps=40", "distill.rate=1000.0", "distill.final=1.0", "distill.optimiser=lamb"]
DIVERGING += ["compute.checkpoint_seconds=0"]


def run(place: pathlib.Path, folder: pathlib.Path, *values: str) -> dict:
    """What the program does with `place`'s tiny.py and `--config.<value>`, without a process of its own."""
    flags = [f"--config={place / 'tiny.py'}", f"--workdir={folder}", *(f"--config.{value}" for value in values)]
    command = main.parse(["fsdd", *flags])
    return runs.run(command.config, command.workdir)


def snapshot(folder: pathlib.Path) -> dict[str, bytes | None]:
    """All files with what they hold, and all folders."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def assert_refused(place: pathlib.Path, folder: pathlib.Path, values, words, kept: pathlib.Path) -> None:
    """A run raises one line with all `words`, and leaves all that is in `kept` as it was."""
    before = snapshot(kept)
    with pytest.raises(UserError) as caught:
        run(place, folder, *values)
    assert_line(str(caught.value), words)
    assert snapshot(kept) == before


def assert_line(line: str, words) -> None:
    assert len(line.splitlines()) == 1
    for word in words:
        assert word in line, line


def cut_all_files(folder: pathlib.Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def broken_arrays(folder: pathlib.Path, arrays: dict, **changes: np.ndarray | None) -> str:
    """An .npz of arrays, some of which are others or, where they are None, missing."""
    kept = {name: array for name, array in (arrays | changes).items() if array is not None}
    np.savez(folder / "broken.npz", **kept)
    return str(folder / "broken.npz")


def process(place: pathlib.Path, *arguments: str, blocks: str = "unlimited") -> subprocess.CompletedProcess:
    """The program in a process of its own, in `place`; no file may grow beyond so many blocks of 512 bytes."""
    # Without JAX's cache of compiled programs, which would meet the limit, too, and warn of it.
    environment = {"PYTHONPATH": str(runs.ROOT), "PYTHONDONTWRITEBYTECODE": "1", "JAX_PLATFORMS": "cpu"}
    environment |= {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    return subprocess.run(
        ["sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh", sys.executable, "-m", "fsdd.main", *arguments],
        cwd=place,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


def assert_failed(status: int, said: str, words) -> None:
    """Status 2, and one line on standard error besides progress bars."""
    lines = [line for line in said.splitlines() if line and "%|" not in line]
    assert status == 2, said
    assert len(lines) == 1 and lines[0].startswith("fsdd: "), said
    assert_line(lines[0], words)
