"""A program that needs double precision for itself gets the same results as any other."""

import jax
import numpy as np
import pytest
import runs

FIELDS = runs.TINY | {"stages": ("distill",), "evaluate.networks": 1, "evaluate.steps": 5, "evaluate.policy": "dsa"}


@pytest.mark.whole
def test_double_precision_around_a_run_changes_nothing(tmp_path):
    plain = runs.run(runs.default(FIELDS), tmp_path / "plain")
    with jax.enable_x64(True):
        double = runs.run(runs.default(FIELDS), tmp_path / "double")
        assert jax.numpy.zeros(1).dtype == np.float64
    assert double["evaluations"][0]["accuracies"] == plain["evaluations"][0]["accuracies"]
    sets = [runs.images(tmp_path / name / "distill" / "set.npz") for name in ("plain", "double")]
    np.testing.assert_array_equal(*sets)
