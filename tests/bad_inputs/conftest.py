"""Runs that take seconds, shared by the tests of a file."""

import pathlib
import time

import numpy as np
import pytest
import refusals
from commands import command  # noqa: F401  a fixture

from fsdd.errors import UserError


@pytest.fixture(scope="session")
def arrays() -> dict[str, np.ndarray]:
    """Three classes of six grey 6x6 images."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 6)
    return {
        "train_images": random.random((18, 6, 6), np.float32),
        "train_labels": labels,
        "test_images": random.random((18, 6, 6), np.float32),
        "test_labels": labels,
    }


@pytest.fixture(scope="session")
def place(tmp_path_factory, arrays) -> pathlib.Path:
    """A folder with data.npz and tiny.py, the config of a run that takes seconds."""
    folder = tmp_path_factory.mktemp("place")
    np.savez(folder / "data.npz", **arrays)
    (folder / "tiny.py").write_text(refusals.CONFIG.format(dataset=str(folder / "data.npz")))
    return folder


@pytest.fixture(scope="session")
def finished(place) -> pathlib.Path:
    """The workdir of a finished run."""
    refusals.run(place, place / "finished")
    return place / "finished"


@pytest.fixture(scope="session")
def diverged(place) -> tuple[pathlib.Path, str]:
    """The workdir of a run that diverged after some checkpoints, and what it said."""
    folder = place / "diverged"
    with pytest.raises(UserError) as caught:
        refusals.run(place, folder, *refusals.DIVERGING)
    until = time.monotonic() + 20
    while not (folder / "distill/checkpoints/7").is_dir() and time.monotonic() < until:
        time.sleep(0.1)
    return folder, str(caught.value)
