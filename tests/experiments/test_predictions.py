"""What is predicted is what runs have taken, within a factor of two."""

import pytest

from experiments import cells, predictions, sweep
from experiments.predictions import DEVICES, SIZES
from fsdd import config as configs
from fsdd.data import sources
from fsdd.distilling import memory

MEASURED = [(scale, name) for scale in ("cpu", "paper") for name in sorted(cells.load(scale))]


@pytest.mark.parametrize(("scale", "name"), MEASURED, ids=lambda value: value)
def test_stages_and_evaluation_take_what_is_predicted(scale, name):
    result = cells.load(scale)[name]
    dataset, ipc, method = name.split("_", 2)
    config = configs.resolve(sweep.build_config(cells.build_row(method, dataset, int(ipc[3:]), scale)))
    device = next((one for name, one in DEVICES.items() if name in result["device"].lower()), DEVICES["cpu"])
    whole = predictions.predict(config, device).busy
    scoring = predictions.predict(config, device, done=config.stages).busy
    distilling = sum(stage["wall_seconds"] - stage["compile_seconds"] for stage in result["stages"].values())
    assert 0.5 * distilling - 5 < whole - scoring < 2 * distilling + 5
    # On a GPU most of those seconds were spent on compiling, which is predicted apart.
    scored = sum(score["wall_seconds"] for score in result["evaluations"])
    assert scoring < 2 * scored + 5
    assert scale == "paper" or 0.5 * scored < scoring


def test_sizes_are_those_of_the_data():
    data, size = sources.load("digits"), SIZES["digits"]
    assert (data.image_shape, data.num_classes) == (size.image_shape, size.num_classes)
    assert abs(len(data.train_labels) - len(size.train_labels)) <= 1
    whole = len(data.train_labels) + len(data.test_labels)
    assert whole == len(size.train_labels) + len(size.test_labels)


def test_pretraining_takes_what_that_of_the_packaged_translator_took():
    sweep_row = sweep.Row("pretrain", "pretrain_tiny_imagenet32", {"subsets.count": 150, "pretrain.steps": 6000})
    config = configs.resolve(sweep.build_config(sweep_row))
    # The config's docstring: 38 subsets a minute and 170 steps a second on an H100 that did other work beside.
    caching = predictions.predict(config, DEVICES["h100"], done=("pretrain",)).busy
    learning = predictions.predict(config, DEVICES["h100"], done=("cache",)).busy
    assert 0.4 < caching / (150 / 38 * 60) < 2.5
    assert 0.4 < learning / (6000 / 170) < 2.5


def test_beside_others_a_job_waits_for_the_device_alone():
    one = predictions.Prediction(alone=30.0, busy=20.0, bytes=0.0)
    assert (one.seconds(), one.seconds(3)) == (50.0, 90.0)


def test_memory_is_that_of_the_arrays_that_are_checked():
    config = configs.resolve(sweep.build_config(cells.build_row("one_net", "cifar10", 1, "paper")))
    held = {array.what: array.bytes for array in memory.list_arrays(config, SIZES["cifar10"])}
    assert held["the real images"] == 4 * 50_000 * 32 * 32 * 3
    assert held["the features of the real images"] == 4 * 50_000 * 8192
    total = predictions.predict(config, DEVICES["h100"]).bytes
    assert total == predictions.BESIDE + sum(held.values())
