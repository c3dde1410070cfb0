"""The scripts in docs/ run, and give what they promise."""

import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest
import runs
import sklearn.datasets

import fsdd


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_pytorch_alone_reaches_the_accuracy_of_evaluate(tmp_path):
    digits = sklearn.datasets.load_digits()
    pixels, labels = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None], digits.target
    fields = {"network.width": 32, "mirror": False, "distill.steps": 300, "refine": {"networks": 25, "uses": 8}}
    fields["evaluate.steps"] = 600
    stored = fsdd.distill((pixels[:1200], labels[:1200], pixels[1200:], labels[1200:]), tmp_path / "run", fields)
    ours = fsdd.evaluate(stored, pixels[1200:], labels[1200:])
    np.savez(tmp_path / "test.npz", images=pixels[1200:], labels=labels[1200:])
    script = [sys.executable, "docs/train_in_pytorch.py", str(tmp_path / "run"), str(tmp_path / "test.npz")]
    said = subprocess.run(script, capture_output=True, text=True, cwd=runs.ROOT, check=True).stdout
    mean, std = map(float, re.fullmatch(r"accuracy: ([\d.]+) \+- ([\d.]+) %\n", said).groups())
    # Three networks each: the difference of two means of such spread, twice over.
    assert abs(mean - ours.mean) < 2 * max(np.hypot(std, ours.std), 1)
    # What is lost by a standing mistake, such as classes in place of learned labels, is far more.
    assert fsdd.evaluate(stored, pixels[1200:], labels[1200:], {"protocol": "plain_pixels"}).mean < mean - 4
