"""Orbax checkpoints: the whole state of a stage while it runs, and translators that outlive it."""

import json
import pathlib
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp

from fsdd.errors import UserError
from fsdd.io.atomic import replacing


class Checkpoints:
    """The last two states of one running stage; each is written completely or not at all."""

    def __init__(self, folder: pathlib.Path):
        options = ocp.CheckpointManagerOptions(max_to_keep=2, create=True)
        self._folder = folder
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def save(self, step: int, state) -> None:
        """Save in the background. The state is copied first: its buffers are donated to the next step."""
        self._manager.save(step, args=ocp.args.StandardSave(jax.tree.map(np.array, state)))

    def restore(self, template) -> tuple[int, object]:
        """`(step, state)` of the newest checkpoint, or `(0, template)` if there is none."""
        step = self._manager.latest_step()
        if step is None:
            return 0, template
        abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), template)
        try:
            restored = self._manager.restore(step, args=ocp.args.StandardRestore(abstract))
        except (ValueError, KeyError, FileNotFoundError, OSError) as error:
            raise UserError(
                f"{self._folder / str(step)} does not hold this stage's state ({_first_line(error)}); "
                "delete it to start the stage over"
            ) from error
        return step, jax.tree.map(jax.numpy.asarray, restored)

    def close(self) -> None:
        """Wait for what is being written."""
        self._manager.wait_until_finished()
        self._manager.close()

    def discard(self) -> None:
        """Close, and delete the checkpoints of a stage that is done."""
        self.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def save_translator(folder: pathlib.Path, variables: dict, card: dict) -> None:
    """Write a translator's variables with a card (JSON) that says what made it."""
    checkpointer = ocp.StandardCheckpointer()
    checkpointer.save((folder / "variables").absolute(), jax.tree.map(np.asarray, variables), force=True)
    checkpointer.wait_until_finished()
    with replacing(folder / "card.json") as path:
        path.write_text(json.dumps(card, indent=2) + "\n")


def load_translator(folder: pathlib.Path, template: dict) -> dict:
    """Variables of a stored translator.

    Args:
        folder: what `save_translator` wrote.
        template: variables of the translator that the config describes.

    Raises:
        UserError: there is no translator, or one of other shapes.
    """
    stored = folder / "variables"
    if not stored.is_dir():
        raise UserError(f"config.translate.init is {str(folder)!r}, which holds no translator checkpoint (variables/)")
    checkpointer = ocp.StandardCheckpointer()
    try:
        found = checkpointer.restore(stored.absolute())
    except Exception as error:
        raise UserError(f"{stored} is not a readable Orbax checkpoint: {_first_line(error)}") from error
    shapes = {"/".join(k.key for k in path): leaf.shape for path, leaf in jax.tree.leaves_with_path(found)}
    wanted = {"/".join(k.key for k in path): leaf.shape for path, leaf in jax.tree.leaves_with_path(template)}
    for name in sorted(shapes | wanted):
        if shapes.get(name) != wanted.get(name):
            raise UserError(
                f"the translator in {folder} has {name} of shape {shapes.get(name)}, config.translator asks for "
                f"{wanted.get(name)}"
            )
    return jax.tree.map(jax.numpy.asarray, found)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
