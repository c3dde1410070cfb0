"""Orbax checkpoints: the whole state of a stage while it runs, and translators and networks that outlive it."""

import contextlib
import functools
import json
import os
import pathlib
import re
from collections.abc import Iterator

import jax
import numpy as np
import orbax.checkpoint as ocp

from fsdd.errors import UserError
from fsdd.io.atomic import replacing


class Checkpoints:
    """The last two states of one running stage; each is written completely or not at all."""

    def __init__(self, folder: pathlib.Path):
        """Checkpoints in `folder`, which is made if it is not there."""
        options = ocp.CheckpointManagerOptions(max_to_keep=2, create=False, multiprocessing_options=_alone())
        self._folder = folder
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def save(self, step: int, state) -> None:
        """Save in the background. The state is copied first: its buffers are donated to the next step."""
        with _writing(self._folder):
            self._manager.save(step, args=ocp.args.StandardSave(jax.tree.map(np.array, state)))

    def restore(self, template) -> tuple[int, object]:
        """`(step, state)` of the newest checkpoint, or `(0, template)` if there is none.

        Raises:
            UserError: it is damaged, or of another state: one with other leaves, shapes or types.
        """
        step = self._manager.latest_step()
        if step is None:
            return 0, template
        abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), template)
        try:
            restored = self._manager.restore(step, args=ocp.args.StandardRestore(abstract))
            _check_leaves(self._folder / str(step) / "default", abstract)
        except Exception as error:  # damaged files make Orbax and TensorStore raise many types
            raise UserError(
                f"{self._folder / str(step)} does not hold this stage's state ({_first_line(error)}); "
                "delete it to go on from the checkpoint before it, or from the start"
            ) from error
        return step, jax.tree.map(jax.numpy.asarray, restored)

    def wait(self) -> None:
        """Return once what is being written is whole."""
        with _writing(self._folder):
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait for what is being written, and take no more."""
        self.wait()
        self._manager.close()


def _check_leaves(stored: pathlib.Path, wanted) -> None:
    """Check that stored leaves have the shapes and types of a template, to which Orbax would cut, pad and cast them.

    Raises:
        ValueError: one has others.
    """
    found = ocp.tree.to_flat_dict(ocp.StandardCheckpointHandler().metadata(stored.absolute()).tree, sep="/")
    for name, leaf in ocp.tree.to_flat_dict(wanted, sep="/").items():
        one, other = ((part.dtype, tuple(part.shape)) for part in (found[name], leaf))
        if one != other:
            raise ValueError(f"{name} is {_describe(*one)}, this run needs {_describe(*other)}")


def _describe(dtype, shape: tuple[int, ...]) -> str:
    return f"{np.dtype(dtype).name}{list(shape)}"


def _alone() -> ocp.options.MultiprocessingOptions:
    """A process of a job saves what it alone has, or what all have alike: none waits for another."""
    process = jax.process_index()
    return ocp.options.MultiprocessingOptions(process, {process}, f"process{process}")


def save_variables(folder: pathlib.Path, variables: dict, card: dict) -> None:
    """Write variables, a translator's or a network's, with a card (JSON) that says what made them."""
    checkpointer = ocp.StandardCheckpointer(multiprocessing_options=_alone())
    with _writing(folder / "variables"):
        checkpointer.save((folder / "variables").absolute(), jax.tree.map(np.asarray, variables), force=True)
        checkpointer.wait_until_finished()
    with replacing(folder / "card.json") as path:
        path.write_text(json.dumps(card, indent=2) + "\n")


def load_variables(folder: pathlib.Path, template: dict, part: str) -> dict:
    """Stored variables.

    Args:
        folder: what `save_variables` wrote.
        template: variables of what the config describes.
        part: of the config, that describes them.

    Raises:
        UserError: it is unreadable, or has other shapes.
    """
    stored = folder / "variables"
    checkpointer = ocp.StandardCheckpointer(multiprocessing_options=_alone())
    try:
        restored = checkpointer.restore(stored.absolute())
    except Exception as error:
        raise UserError(f"{stored} is not a readable Orbax checkpoint: {_first_line(error)}") from error
    shapes, wanted = _shapes(restored), _shapes(template)
    for name in sorted(shapes | wanted):
        if shapes.get(name) != wanted.get(name):
            raise UserError(
                f"the {part} in {folder} has {name} of shape {shapes.get(name)}, config.{part} asks for "
                f"{wanted.get(name)}"
            )
    return jax.tree.map(jax.numpy.asarray, restored)


def _shapes(tree: dict) -> dict[str, tuple[int, ...]]:
    names = functools.partial(jax.tree_util.keystr, simple=True, separator="/")
    return {names(path): np.shape(leaf) for path, leaf in jax.tree.leaves_with_path(tree)}


@contextlib.contextmanager
def _writing(path: pathlib.Path) -> Iterator[None]:
    """Turn what Orbax and TensorStore raise when the disk refuses, of many types, into one line."""
    try:
        yield
    except Exception as error:
        # TensorStore wraps the operating system's reason in long paths and specifications; its number stands out.
        code = re.search(r"os_error_code='(\d+)'", str(error))
        raise UserError(
            f"{path}: cannot be written: {os.strerror(int(code[1])) if code else _first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
