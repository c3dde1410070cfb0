"""Workdirs, checkpoints and stored translators that are damaged, or of another run."""

import json
import os
import pathlib
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import DIVERGING, assert_line, assert_refused, cut_all_files, run

from fsdd.errors import Diverged
from fsdd.io import checkpoint
from fsdd.io.resumable import Resumable
from fsdd.methods import translation
from fsdd.networks.translator import Translator


def stored_translator(folder: pathlib.Path, widths: tuple[int, int, int]) -> pathlib.Path:
    variables = translation.fresh(Translator(1, widths), jax.random.key(0), (6, 6, 1))
    checkpoint.save_variables(folder, variables, {})
    return folder


@pytest.mark.parametrize("damage", ["other shapes", "cut files"])
def test_stored_translators(place, tmp_path, damage):
    folder = stored_translator(tmp_path / "stored", (2, 2, 2))
    values = ["stages=translate", f"translate.init={folder}", "translator.widths=(2,3,2)"]
    words = [str(folder), "BatchNorm_1", "(2,)", "config.translator asks for (3,)"]
    if damage == "cut files":
        cut_all_files(folder)
        words = [str(folder), "not a readable"]
    assert_refused(place, tmp_path / "run", values, words, tmp_path)


@pytest.mark.parametrize("card", [{"config": 3}, {"made_in": [1]}, {"channels": "three"}, [1]])
def test_cards_of_other_types(place, tmp_path, card):
    folder = stored_translator(tmp_path / "stored", (2, 2, 2))
    (folder / "card.json").write_text(json.dumps(card))
    values = ["stages=translate", f"translate.init={folder}", "translator.widths=(2,2,2)"]
    named = list(card)[:1] if isinstance(card, dict) else ["list"]
    assert_refused(place, tmp_path / "run", values, [str(folder / "card.json"), *named], tmp_path)


@pytest.mark.parametrize("name", ["file", "file/under", "/proc/fsdd", "read_only/run"])
def test_workdirs_that_cannot_be(place, tmp_path, name):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "read_only").mkdir(mode=0o555)
    if name.startswith("read_only") and os.access(tmp_path / "read_only", os.W_OK):
        pytest.skip("this user may write everywhere")
    assert_refused(place, tmp_path / name, [], [f"--workdir is '{tmp_path / name}'", "allowed: a folder"], tmp_path)


def test_a_workdir_of_another_config(place, finished):
    words = ["finished/distill", "config.distill.rate = 0.001", "now it is 0.002", "another --workdir"]
    assert_refused(place, finished, ["distill.rate=2e-3"], words, finished)


def test_a_workdir_of_other_data(place, tmp_path, arrays):
    """One pixel of one image is another, or there is a test image less: what was made of the others stays as it is."""
    data, folder = tmp_path / "mine.npz", tmp_path / "run"
    np.savez(data, **arrays)
    run(place, folder, f"dataset={data}")
    changed = arrays["train_images"].copy()
    changed[3, 2, 2] = 1 - changed[3, 2, 2]
    np.savez(data, **arrays | {"train_images": changed})
    words = [f"another {data}: its sha256", "another --workdir"]
    assert_refused(place, folder, [f"dataset={data}"], words, folder)
    # Nor by a run that has no use for what is there.
    assert_refused(place, folder, [f"dataset={data}", "stages=()"], words, folder)
    np.savez(data, **arrays | {name: arrays[name][:-1] for name in ("test_images", "test_labels")})
    assert_refused(place, folder, [f"dataset={data}"], [f"another {data}: its test_images = 18, now it is 17"], folder)
    np.savez(data, **arrays)
    run(place, folder, f"dataset={data}")


@pytest.mark.parametrize("name", ["result.json", "config.json", "set.npz"])
def test_cut_files_of_a_finished_stage(place, finished, tmp_path, name):
    folder = shutil.copytree(finished, tmp_path / "run")
    file = folder / "distill" / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert_refused(place, folder, [], [str(file), "delete"], folder)


def test_a_finished_stage_whose_result_is_no_object(place, finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "distill/result.json").write_text("[]")
    assert_refused(place, folder, [], ["distill/result.json", "list", "delete"], folder)


def test_divergence_names_the_stage_and_the_step(diverged):
    assert_line(diverged[1], ["distill", "the loss is nan at step ", "lower its rate"])
    # Where float32 overflows depends on roundings, and so on how programs are compiled.
    assert 5 <= int(re.search(r"at step (\d+)", diverged[1])[1]) <= 10


def test_divergence_in_the_last_update_is_seen(tmp_path):
    resumable = Resumable(tmp_path, "distill", 1, 60)
    resumable.restore({"images": jnp.zeros(2)})
    with pytest.raises(Diverged) as caught:
        resumable.follow(iter([(1, {"images": jnp.array([0, jnp.inf])}, {"loss": jnp.zeros(1)})]))
    assert_line(str(caught.value), ["distill", "diverged at step 0", "lower its rate"])


@pytest.mark.parametrize("part", ["checkpoints", "journal"])
def test_a_damaged_running_checkpoint(place, diverged, tmp_path, part):
    folder = shutil.copytree(diverged[0], tmp_path / "run")
    newest = max((int(one.name) for one in (folder / "distill/checkpoints").iterdir()), default=None)
    name = f"checkpoints/{newest}" if part == "checkpoints" else part
    cut_all_files(folder / "distill" / name)
    assert_refused(place, folder, DIVERGING, [f"distill/{name}", "delete it"], folder)
