"""What a run that goes on has to notice: other settings, another process, one network alone."""

import multiprocessing
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
import runs

import fsdd
from fsdd.errors import UserError
from fsdd.io import checkpoint, report, shared_store

FIELDS = runs.TINY | {"stages": (), "evaluate.networks": 3, "evaluate.steps": 30}


@pytest.mark.slow
def test_networks_that_were_trained_together_are_not_taken_for_others(tmp_path):
    """Killed with two at once, a run goes on with three at once and ends as one that was never killed."""
    runs.kill(runs.default(FIELDS | {"compute.networks_at_once": 2}), tmp_path / "killed", 10)
    together = FIELDS | {"compute.networks_at_once": 3}
    scores = [runs.run(runs.default(together), tmp_path / name)["evaluations"][0] for name in ("killed", "whole")]
    assert scores[0]["accuracies"] == scores[1]["accuracies"]
    assert len(set(scores[0]["accuracies"])) > 1


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            {"images": jnp.zeros((2, 3)), "step": jnp.int32(0)},
            r"images is float32\[4, 3\], this run needs float32\[2",
        ),
        ({"images": jnp.zeros((9, 3)), "step": jnp.int32(0)}, r"this run needs float32\[9, 3\]"),
        ({"images": jnp.zeros((4, 3), jnp.bfloat16), "step": jnp.int32(0)}, r"this run needs bfloat16\[4, 3\]"),
        ({"images": jnp.zeros((4, 3)), "step": jnp.float32(0)}, r"step is int32\[\], this run needs float32\[\]"),
        ({"images": jnp.zeros((4, 3))}, "does not hold this stage's state"),
        ({"images": jnp.zeros((4, 3)), "step": jnp.int32(0), "more": jnp.zeros(1)}, "does not hold this stage's state"),
    ],
)
def test_a_checkpoint_of_another_state_is_one_line(tmp_path, other, words):
    kept = checkpoint.Checkpoints(tmp_path)
    state = {"images": jnp.arange(12.0).reshape(4, 3), "step": jnp.int32(5)}
    kept.save(5, state)
    kept.close()
    again = checkpoint.Checkpoints(tmp_path)
    with pytest.raises(UserError, match=words) as caught:
        again.restore(other)
    assert str(tmp_path / "5") in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    step, restored = again.restore({name: jnp.zeros_like(leaf) for name, leaf in state.items()})
    assert step == 5
    np.testing.assert_array_equal(restored["images"], state["images"])


def test_one_network_has_no_spread(tmp_path):
    results = runs.run(runs.default(FIELDS | {"evaluate.networks": 1}), tmp_path)
    score = results["evaluations"][0]
    assert (score["networks"], score["std"]) == (1, None)
    line = report.describe(results, tmp_path)[0]
    assert line.startswith(f"accuracy of start: {score['mean']:.2f} % (1 x convnet")
    assert report.spread(50.0, 1.25) == "50.00 +- 1.25"


def test_what_pretrains_is_not_distilled(tmp_path):
    for stages in (("cache",), ("cache", "pretrain")):
        with pytest.raises(UserError, match=r"'cache', which distils no set; call fsdd\.pretrain"):
            fsdd.distill("digits", tmp_path / "run", {"stages": stages})
    assert not (tmp_path / "run").exists()


def _take(folder: pathlib.Path, found) -> None:
    claims = shared_store.Claims(folder)
    found.put([claims.take(index) for index in (0, 1)])


@pytest.mark.whole
def test_claims_outlive_other_claims_of_their_process(tmp_path):
    """POSIX drops all locks of a process on a file when it closes any of its descriptors of that file."""
    mine, other = shared_store.Claims(tmp_path), shared_store.Claims(tmp_path)
    assert mine.take(0)
    assert other.take(5)
    other.close()
    del other
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    process = context.Process(target=_take, args=(tmp_path, found))
    process.start()
    assert found.get(timeout=120) == [False, True]
    process.join()
    mine.close()
