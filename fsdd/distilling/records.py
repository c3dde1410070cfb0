"""What a stage leaves in its folder: its set, those that were kept on the way, and its figures, result.json last."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from fsdd import config as configs
from fsdd.core.synthetic_set import SyntheticSet
from fsdd.distilling.context import Context
from fsdd.errors import UserError
from fsdd.io import provenance, workdir
from fsdd.io.resumable import Resumable, clear
from fsdd.io.synthetic_files import digest_set, read_set, write_set


def read_kept(context: Context, stage: str) -> dict[str, SyntheticSet]:
    """The sets of a stage at the marks that the config asks for, by `STAGE@STEP`."""
    folder, marks = context.folder / stage, configs.marks(context.config, stage)
    check_marks(folder, stage, marks)
    return {f"{stage}@{step}": read_set(folder / "kept" / f"{step}.npz") for step in marks}


def check_marks(folder: pathlib.Path, stage: str, passed: Sequence[int]) -> None:
    """Check that a stage kept its set at marks that it has passed.

    Raises:
        UserError: a mark was not asked for then.
    """
    for step in passed:
        if not (folder / "kept" / f"{step}.npz").is_file():
            raise UserError(
                f"config.evaluate.stages asks for {stage}@{step}, which was not kept when {folder} was made; delete "
                "that folder to run it again"
            )


def seconds_until(context: Context, name: str) -> float:
    """Wall seconds of all stages up to a set that a run left, STAGE or STAGE@STEP."""
    stage, _, step = name.partition("@")
    config = context.config
    before = config.stages[: config.stages.index(stage)] if stage in config.stages else ()
    folders = [context.folder / one for one in before]
    if "translate" in (*before, stage):
        # The translator also moved on the sets of other IPCs.
        until, others = config.stages[: config.stages.index("translate")], set(config.translate.ipcs) - {config.ipc}
        folders += [context.stage_folder(one, ipc) for one in until for ipc in others]
    total = sum(_seconds(folder) for folder in folders)
    if step:
        with np.load(context.folder / stage / "kept" / f"{step}.npz") as arrays:
            return total + float(arrays["seconds"])
    return total + (0 if stage == "start" else _seconds(context.folder / stage))


def step_size_of(context: Context, name: str) -> float | None:
    """The step size that was learned with a set that a run left, STAGE or STAGE@STEP; None where there is none."""
    stage, _, step = name.partition("@")
    if step:
        with np.load(context.folder / stage / "kept" / f"{step}.npz") as arrays:
            return float(arrays["step_size"]) if "step_size" in arrays else None
    return (workdir.read(context.folder / stage / "result.json") or {}).get("step_size")


def _seconds(folder: pathlib.Path) -> float:
    return workdir.read(folder / "result.json", {"wall_seconds": float})["wall_seconds"]


def check_came_from(folder: pathlib.Path, before: SyntheticSet) -> None:
    """Check that a stage's folder is new or was made from this very set, and note that it is.

    Raises:
        UserError: the stage before it has been made again, and gave another.
    """
    source, path = {"set": digest_set(before)}, folder / "from.json"
    workdir.compare(folder, workdir.read(path), source, "another start: its ")
    if not path.is_file():
        workdir.write(path, source)


def finish(folder: pathlib.Path, made: SyntheticSet, resumable: Resumable, **facts: Any) -> SyntheticSet:
    """Store a stage's set and figures, result.json last, and drop its checkpoints; the set as it is stored."""
    write_set(folder / "set.npz", made)
    # Of each, where several sets are stacked.
    facts |= {"images": made.images.shape[-4]}
    workdir.write(folder / "result.json", facts | resumable.figures() | provenance.summary())
    resumable.discard()
    # Not `made`, which may be bound to the devices that the stage was spread over.
    return read_set(folder / "set.npz")


def read_finished(folder: pathlib.Path) -> SyntheticSet | None:
    """The set of a stage that is done, or None."""
    if not (folder / "result.json").is_file():
        return None
    clear(folder)
    return read_set(folder / "set.npz")
