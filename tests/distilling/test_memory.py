"""What cannot fit is refused by the field that decides on its size, and what fits is not."""

import numpy as np
import pytest

from fsdd import config as configs
from fsdd.data.real_set import RealSet
from fsdd.distilling import memory
from fsdd.errors import UserError


def check(monkeypatch, available, **fields):
    """Check a small set of 32x32 colour images, in a machine of so many bytes."""
    images = np.zeros((40, 32, 32, 3), np.uint8)
    labels = np.arange(40, dtype=np.int32) % 4
    data = RealSet("plain", images, labels, images[:4], labels[:4], tuple("abcd"))
    config = configs.default()
    config.update_from_flattened_dict(
        {"dataset": "digits"} | {name.replace("__", "."): v for name, v in fields.items()}
    )
    monkeypatch.setattr(memory, "_memory", lambda: available)
    memory.check(configs.resolve(config), data)


@pytest.mark.parametrize(
    ("available", "fields", "words"),
    [
        # 40 images of 3,072 values, 4 bytes each.
        (40 * 3072 * 4 - 1, {}, "config.image_size is 0, for which the real images take"),
        # The third block alone: 3 * 3 * 16,384 * 32,768 weights, each with its gradient.
        (38e9, {"network__width": 8192}, "config.network.width is 8192, for which the variables of a network take"),
        (1e9, {"evaluate__width": 2048}, "config.evaluate.width is 2048, for which an evaluation network"),
        # 40 images of 8,192 features in each of 100 networks.
        (
            100 * 40 * 8192 * 4 - 1,
            {"method": "refine", "refine__networks": 100, "refine__group": 100, "evaluate__networks": 0},
            "config.refine.group is 100, for which the features of the real images take",
        ),
    ],
)
def test_what_does_not_fit_is_refused(monkeypatch, available, fields, words):
    with pytest.raises(UserError, match=words.replace(".", r"\.")):
        check(monkeypatch, available, **fields)


@pytest.mark.parametrize("available", [100 * 40 * 8192 * 4, None])
def test_what_fits_passes(monkeypatch, available):
    fields = {"method": "refine", "refine__networks": 100, "refine__group": 100, "evaluate__networks": 0}
    check(monkeypatch, available, **fields)
