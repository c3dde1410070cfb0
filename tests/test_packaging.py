"""What is in the package that pip installs."""

import pathlib
import tomllib

import pytest

from fsdd import main
from fsdd.errors import UserError

ROOT = pathlib.Path(__file__).parents[1]


def test_every_folder_of_code_is_packaged():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {".".join(file.parent.relative_to(ROOT).parts) for file in ROOT.glob("fsdd/**/__init__.py")}
    assert set(settings["packages"]) == folders | {"fsdd.configs"}


def test_configs_come_by_name_with_the_package(tmp_path, monkeypatch):
    """Where there is no clone to be in."""
    monkeypatch.chdir(tmp_path)
    named = main.parse(["fsdd", "--config=cifar10_ipc10", "--config.seed=3"])
    assert named == main.parse(["fsdd", f"--config={ROOT / 'configs' / 'cifar10_ipc10.py'}", "--config.seed=3"])
    assert (named.config.ipc, named.config.seed, named.workdir) == (10, 3, pathlib.Path("runs/cifar10_ipc10"))
    with pytest.raises(UserError, match=r"'cifar10_ipc11'.*cifar10_ipc10, .*quickstart"):
        main.parse(["fsdd", "--config=cifar10_ipc11"])


def test_a_file_is_preferred_to_a_config_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "from fsdd import config as configs\n\n\ndef get_config():\n    return configs.default()\n"
    pathlib.Path("quickstart").write_text(text)
    assert main.parse(["fsdd", "--config=quickstart"]).config.dataset == "cifar10"
