"""Adding a stage is one file: its fields, its steps and its run are found where it lies."""

import json
import sys

import numpy as np
import pytest
import runs

from fsdd import config as configs
from fsdd import main
from fsdd.config import reference
from fsdd.distilling import context as contexts
from fsdd.distilling import estimate, stages

TOY = '''
"""The stage `toy`: images shrink towards grey."""

from fsdd.config import values
from fsdd.config.fields import Field
from fsdd.config.registry import Stage


def _run(context, sets):
    from fsdd.distilling import moves

    return moves.run_each(context, STAGE.name, sets, _begin)


def _begin(context, ipc, before):
    import jax
    import jax.numpy as jnp
    import optax

    from fsdd.core import descent
    from fsdd.distilling import moves

    settings, optimiser = context.config.toy, optax.sgd(0.5)

    def step(state, t):
        def loss(moving, rest):
            value = jnp.mean(moving.images**2)
            return value, (rest, {"nfr": value})

        return descent.update(state, loss, optimiser)

    loop = descent.Loop(step)
    return moves.Move(
        state=descent.init(jax.tree.map(jnp.copy, before), optimiser),
        run=lambda state, **where: loop.run(state, settings.steps, **where),
        set_of=lambda state: state.moving,
        networks=lambda _: 0,
    )


STAGE = Stage(
    name="toy",
    summary="shrinks the images",
    title="shrunk",
    fields={"steps": Field(7, values.whole(1, 100), "Steps.")},
    steps=lambda settings: settings.steps,
    passes=lambda config, images, real: config.toy.steps * sum(images),
    run=_run,
)
'''
FIELDS = runs.TINY | {"stages": ("toy",), "evaluate.networks": 0}


def _forget():
    for known in (configs.stages, configs.methods, configs.table):
        known.cache_clear()
    sys.modules.pop("fsdd.distilling.stages.toy", None)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A module more in the package of stages, which nothing else names."""
    folder = tmp_path_factory.mktemp("stages")
    (folder / "toy.py").write_text(TOY)
    _forget()
    stages.__path__.append(str(folder))
    yield
    stages.__path__.remove(str(folder))
    _forget()
    assert "toy" not in configs.stages()


@pytest.fixture(scope="module")
def finished(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    return folder, runs.run(runs.default(FIELDS), folder)


def test_it_distils_is_recorded_and_drawn(finished):
    folder, results = finished
    figures = results["stages"]["toy"]
    assert (figures["steps"], figures["ipc"], len(figures["curve"])) == (7, 1, 7)
    assert figures["curve"][-1]["nfr"] < figures["curve"][0]["nfr"]
    for picture in ("synthetic.png", "curves.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "toy" / "config.json").read_text())["toy.steps"] == 7


def test_it_is_loaded_when_it_is_done(finished):
    folder, results = finished
    written = (folder / "toy" / "set.npz").stat().st_mtime_ns
    assert runs.run(runs.default(FIELDS), folder)["stages"] == results["stages"]
    assert (folder / "toy" / "set.npz").stat().st_mtime_ns == written


def test_its_work_is_estimated(toy, tmp_path):
    context = contexts.prepare(configs.resolve(runs.default(FIELDS)), tmp_path)
    assert estimate.count_passes(context)["toy"] == 7 * 10


def test_its_fields_are_in_the_table_and_on_the_command_line(toy):
    assert configs.table()["toy.steps"].default == 7
    assert "| `toy.steps` | `7` | a whole number from 1 to 100 | Steps. |" in reference.as_markdown()
    assert configs.methods()["toy"] == ("toy",)
    command = main.parse(["fsdd", "--config=quickstart", "--config.method=toy", "--config.toy.steps=9"])
    resolved = configs.resolve(command.config)
    assert (resolved.stages, resolved.toy.steps, configs.steps_of(resolved, "toy")) == (("toy",), 9, 9)


def test_it_resumes_bit_for_bit(finished, tmp_path):
    runs.kill(runs.default(FIELDS), tmp_path, 4)
    results = runs.run(runs.default(FIELDS), tmp_path)
    assert len(results["stages"]["toy"]["curve"]) == 7
    wanted, found = (runs.images(folder / "toy" / "set.npz") for folder in (finished[0], tmp_path))
    np.testing.assert_array_equal(found, wanted)
