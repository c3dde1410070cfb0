"""Runs in the process of the tests, from config fields."""

import pathlib
from typing import Any

import ml_collections
import numpy as np
import pytest

from fsdd import api, main
from fsdd import config as configs
from fsdd.io import checkpoint

ROOT = pathlib.Path(__file__).parents[1]
# Every stage in a few steps. Tests that start from these share compiled programs.
TINY = {
    "dataset": "digits",
    "network.width": 4,
    "network.depth": 2,
    "evaluate.networks": 1,
    "evaluate.steps": 3,
    "distill.steps": 4,
    "distill.batch": 32,
    "bilevel.steps": 4,
    "bilevel.inner": 2,
    "bilevel.batch": 32,
    "frepo.steps": 12,
    "frepo.batch": 32,
    "frepo.pool": 3,
    "frepo.updates": 4,
    "frepo.rate": 1e-2,
    "dm.steps": 6,
    "dm.batch": 8,
    "dc.steps": 4,
    "dc.outer": 2,
    "dc.inner": 2,
    "dc.batch": 8,
    "dsa.steps": 4,
    "dsa.outer": 2,
    "dsa.inner": 2,
    "dsa.batch": 8,
    "idc.steps": 4,
    "idc.uses": 3,
    "idc.batch": 8,
    "idc.updates": 2,
    "idc.network_batch": 8,
    "experts.count": 2,
    "experts.batch": 512,
    "experts.policy": "none",
    "mtt.steps": 4,
    "mtt.inner": 2,
    "mtt.epochs": 1,
    "mtt.policy": "none",
    "dd.steps": 4,
    "dd.epochs": 2,
    "dd.batch": 32,
    "rtp.steps": 4,
    "rtp.inner": 2,
    "rtp.batch": 4,
    "translate.networks": 3,
    "translate.real_images": 32,
    "translator.widths": (4, 4, 4),
    "refine.networks": 2,
    "refine.uses": 2,
    "refine.real_images": 32,
}


def default(fields: dict[str, Any]) -> ml_collections.ConfigDict:
    """The default config with some fields changed."""
    config = configs.default()
    config.update_from_flattened_dict(fields)
    return config


def named(name: str, fields: dict[str, Any]) -> ml_collections.ConfigDict:
    """A config of the folder `configs` with some fields changed."""
    config = main.parse(["fsdd", f"--config={ROOT / 'configs' / name}.py"]).config
    config.update_from_flattened_dict(fields)
    return config


def run(config: ml_collections.ConfigDict, folder: pathlib.Path, stage: str | None = None) -> dict[str, Any]:
    """What the command line does with a config."""
    return api.run(configs.resolve(config), folder, stage)


class _Killed(Exception):
    pass


def kill(config: ml_collections.ConfigDict, folder: pathlib.Path, step: int, stage: str | None = None) -> None:
    """Run a config that dies as soon as the checkpoint of a step, or of one after it, is safe."""
    save, config = checkpoint.Checkpoints.save, config.copy_and_resolve_references()
    config.compute.checkpoint_seconds = 0.0

    def save_and_die(self, done, state):
        save(self, done, state)
        if done >= step:
            self.close()
            raise _Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(_Killed):
        patch.setattr(checkpoint.Checkpoints, "save", save_and_die)
        run(config, folder, stage)


def images(path: pathlib.Path) -> np.ndarray:
    """The images in a stage's file."""
    with np.load(path) as arrays:
        return arrays["images"]
