"""A set is called the same, and mirrored or not, however its path is spelled."""

import pytest

from fsdd import config as configs
from fsdd.config import dataset_names


def mirrors(dataset: str, **fields: bool) -> bool:
    config = configs.default()
    config.update({"dataset": dataset} | fields)
    return configs.resolve(config).mirror


@pytest.mark.parametrize("name", ["mnist", "MNIST", "svhn_cropped", "pets"])
def test_mirror_images_depend_on_the_name_and_not_on_its_spelling(tmp_path, monkeypatch, name):
    (tmp_path / "data" / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "data" / name)
    monkeypatch.chdir(tmp_path / "data")
    monkeypatch.setenv("HOME", str(tmp_path / "data"))
    spellings = [f"{name}.npz", f"./{name}.npz", f"../data/{name}.npz", f"{tmp_path}/{name}.npz", f"~/{name}.npz"]
    spellings += [name, f"{name}/", f"./{name}", f"{tmp_path}/data/{name}//", f"~/{name}", "../link", f"{name}.npy"]
    assert {mirrors(spelling) for spelling in spellings} == {name == "pets"}
    assert {mirrors(spelling, mirror=True) for spelling in spellings} == {True}
    monkeypatch.chdir(name)
    assert mirrors(".") == (name == "pets")


@pytest.mark.parametrize("dataset", ["/\0", "~nosuchuser/mnist", "/" + "x" * 300, "", ".", "/", "~"])
def test_what_is_no_path_is_left_to_whoever_reads_it(dataset):
    assert mirrors(dataset) == (dataset != "~nosuchuser/mnist")


@pytest.mark.parametrize("dataset", ["mnist", "mnist:3.0.1", "emnist/letters", "digits", "emnist/letters:1.0.0"])
def test_of_a_tfds_name_the_first_part_counts(dataset):
    assert not mirrors(dataset) and dataset_names.own_name(dataset) in ("mnist", "emnist", "digits")
    assert mirrors("cifar10") and mirrors("imagenet_resized/32x32")


@pytest.mark.parametrize(
    ("dataset", "name", "mirrored"),
    [
        ("hf:ylecun/mnist", "mnist", False),
        ("hf:ufldl-stanford/svhn:cropped_digits", "svhn", False),
        ("hf:cifar10", "cifar10", True),
        ("hf:/data/letters/", "letters", True),
    ],
)
def test_a_set_of_a_hub_is_called_as_its_owner_calls_it(dataset, name, mirrored):
    assert (dataset_names.own_name(dataset), mirrors(dataset)) == (name, mirrored)
    assert not dataset_names.is_path(dataset)
