"""What is in the package that pip installs."""

import pathlib
import subprocess
import sys
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


WITHOUT = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in {missing!r} else find(name, *rest)
sys.modules.update(dict.fromkeys({missing!r}))
from fsdd import api
from fsdd.data import sources
from fsdd.errors import UserError
for statement in {statements!r}:
    try:
        exec(statement)
    except UserError as error:
        print(error)
"""


def test_what_an_extra_brings_is_named_where_it_is_missing_and_not_missed_before():
    missing = ["sklearn", "datasets", "grain", "safetensors"]
    lines = {
        "sources.load('digits')": "dataset 'digits' needs sklearn, {digits}",
        "sources.load('hf:x')": "dataset 'hf:x' needs datasets, {huggingface}",
        "api.pretrain('x', 'y')": "pre-training a translator needs grain, {pretraining}",
    }
    code = WITHOUT.format(missing=missing, statements=list(lines))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    advice = {name: f"which is not installed; run pip install 'fsdd[{name}]'" for name in extras}
    assert done.stdout.splitlines() == [line.format(**advice) for line in lines.values()], done.stderr
