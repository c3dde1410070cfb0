"""What a stage leaves in its folder: its set, those it had on the way, and its figures, result.json last."""

import hashlib
import pathlib
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from fsdd import config as configs
from fsdd import provenance
from fsdd.core.synthetic import SyntheticSet
from fsdd.errors import UserError
from fsdd.io import workdir
from fsdd.io.atomic import replacing
from fsdd.io.resumable import Resumable, clear
from fsdd.run import Run


def kept(run: Run, stage: str) -> dict[str, SyntheticSet]:
    """The sets of a stage at the marks that the config asks for, by `STAGE@STEP`."""
    folder, marks = run.folder / stage, configs.marks(run.config, stage)
    check_marks(folder, stage, marks)
    return {f"{stage}@{step}": read_set(folder / "kept" / f"{step}.npz") for step in marks}


def check_marks(folder: pathlib.Path, stage: str, passed: Sequence[int]) -> None:
    """See that a stage kept its set at marks that it has passed.

    Raises:
        UserError: a mark was not asked for then.
    """
    for step in passed:
        if not (folder / "kept" / f"{step}.npz").is_file():
            raise UserError(
                f"config.evaluate.stages asks for {stage}@{step}, which was not kept when {folder} was made; delete "
                "that folder to run it again"
            )


def seconds_until(run: Run, name: str) -> float:
    """Wall seconds of all stages up to a set that a run left, STAGE or STAGE@STEP."""
    stage, _, step = name.partition("@")
    config = run.config
    before = config.stages[: config.stages.index(stage)] if stage in config.stages else ()
    folders = [run.folder / one for one in before]
    if "translate" in (*before, stage):
        # The sets of other IPCs, on which the translator moved, too.
        until = config.stages[: config.stages.index("translate")]
        folders += [run.stage_folder(one, ipc) for one in until for ipc in set(config.translate.ipcs) - {config.ipc}]
    total = sum(workdir.read(folder / "result.json")["wall_seconds"] for folder in folders)
    if step:
        with np.load(run.folder / stage / "kept" / f"{step}.npz") as arrays:
            return total + float(arrays["seconds"])
    return total + (0 if stage == "start" else workdir.read(run.folder / stage / "result.json")["wall_seconds"])


def digest(made: SyntheticSet) -> str:
    """What tells a set from another."""
    return hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in (made.images, made.labels))).hexdigest()[:16]


def check_came_from(folder: pathlib.Path, before: SyntheticSet) -> None:
    """See that a stage's folder is new or was made from this very set, and note that it is.

    Raises:
        UserError: the stage before it has been made again, and gave another.
    """
    found, path = {"set": digest(before)}, folder / "from.json"
    workdir.compare(folder, workdir.read(path), found, "another start: its ")
    if not path.is_file():
        workdir.write(path, found)


def write_set(path: pathlib.Path, made: SyntheticSet, **facts: float) -> None:
    """Write a set whole or not at all, with facts about it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, images=np.asarray(made.images), labels=np.asarray(made.labels), **facts)


def read_set(path: pathlib.Path) -> SyntheticSet:
    """What `write_set` wrote.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        with np.load(path) as arrays:
            return SyntheticSet(jnp.asarray(arrays["images"]), jnp.asarray(arrays["labels"]))
    except Exception as error:
        raise UserError(f"{path} cannot be read ({error}); delete {path.parent} to run it again") from error


def finish(folder: pathlib.Path, made: SyntheticSet, resumable: Resumable, **facts: Any) -> SyntheticSet:
    """Store a stage's set and figures, result.json last, and drop its checkpoints."""
    write_set(folder / "set.npz", made)
    workdir.write(folder / "result.json", facts | {"images": len(made)} | resumable.figures() | provenance.summary())
    resumable.discard()
    return made


def stored(folder: pathlib.Path) -> SyntheticSet | None:
    """The set of a stage that is done."""
    if not (folder / "result.json").is_file():
        return None
    clear(folder)
    return read_set(folder / "set.npz")
