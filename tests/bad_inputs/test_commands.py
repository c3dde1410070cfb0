"""The command line: what a person can mend is one line on standard error and status 2, and nothing is left behind."""

import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import refusals
import runs

from fsdd import config as configs
from fsdd import main
from fsdd.errors import UserError

COMMANDS = {
    "nothing": ([], ["--config is missing", "configs/quickstart.py"]),
    "no such config": (["--config=missing.py"], ["'missing.py'", "a config file"]),
    "a config with a typing error": (["--config=syntax.py"], ["syntax.py", "SyntaxError", "line 1"]),
    "a config without get_config": (["--config=empty.py"], ["empty.py", "no get_config()"]),
    "a config that raises": (["--config=raises.py"], ["raises.py, line 2", "ValueError: two lines of words"]),
    "a config of another type": (["--config=number.py"], ["number.py", "int", "ConfigDict"]),
    "an unknown field in the config": (["--config=unknown.py"], ["config.ipcs is not a field", "ipc"]),
    "a wrong type in the config": (["--config=wrong.py"], ["wrong.py, line 5", "ipc"]),
    "a stray argument": (["--config=tiny.py", "stray"], ["'stray'", "--config.FIELD=VALUE"]),
    "an unknown flag": (["--config=tiny.py", "--epochs=3"], ["'--epochs=3'", "--config.FIELD=VALUE"]),
    "a flag without its value": (["--config=tiny.py", "--workdir"], ["--workdir", "value"]),
    "a wrong type by flag": (
        ["--config=tiny.py", "--config.ipc=abc"],
        ["config.ipc is 'abc'", "a whole number from 1"],
    ),
    "a width in floating point": (
        ["--config=tiny.py", "--config.network.width=1e20"],
        ["config.network.width is '1e20'"],
    ),
    "a file of flags": (["--config=tiny.py", "--flagfile=tiny.py"], ["--flagfile is unknown", "--config=FILE"]),
    "flags that need not be known": (["--config=tiny.py", "--undefok=x", "--x=1"], ["--undefok is unknown"]),
    "a config that ends the program": (["--config=ends.py"], ["ends.py, line 3", "SystemExit: 3"]),
    "the folder as config": (["--config=."], ["--config is '.'", "a config file"]),
    "a user that is not there": (["--config=tiny.py", "--workdir=~nosuchuser/x"], ["--workdir is '~nosuchuser/x'"]),
    "a name that is too long": (["--config=tiny.py", f"--workdir={'a' * 300}"], ["--workdir is 'aaa", "255 bytes"]),
    "a coordinator without a port": (
        ["--config=tiny.py", "--coordinator=nonsense", "--processes=2", "--process=0"],
        ["--coordinator is 'nonsense'", "HOST:PORT"],
    ),
    "a network larger than memory": (
        ["--config=tiny.py", "--config.network.width=8192", "--config.network.depth=12"],
        ["config.network.width is 8192", "the variables of a network take", "this machine"],
    ),
    "ipc is zero": (["--config=tiny.py", "--config.ipc=0"], ["config.ipc is 0", "from 1 to"]),
    "a TFDS set that is not prepared": (
        # Outside, because TFDS makes the folder where TensorFlow is installed.
        ["--config=tiny.py", "--config.dataset=imagenet2012", "--config.data_dir=../absent"],
        ["'imagenet2012'", "absent", "prepare"],
    ),
    "images larger than memory": (
        # More than any address space: ten million of 16 MB.
        ["--config=tiny.py", "--config.dataset=many.npz", "--config.image_size=4096"],
        ["out of memory", "config.image_size", "chunk"],
    ),
    "data that is not there": (["--config=tiny.py", "--config.dataset=./absent"], ["'./absent'", "no such folder"]),
}
FILES = {
    "syntax.py": "def get_config(:",
    "empty.py": "",
    "raises.py": "def get_config():\n    raise ValueError('two lines\\nof words')",
    "ends.py": "def get_config():\n    import sys\n    sys.exit(3)",
    "number.py": "def get_config():\n    return 3",
    "unknown.py": refusals.CONFIG.format(dataset="digits").replace(
        "config.stages", "config.ipcs = 3\n    config.stages"
    ),
    "wrong.py": "from fsdd import config\n\ndef get_config():\n    default = config.default()\n    default.ipc = 'one'",
}


@pytest.fixture(scope="module")
def commands_folder(place, tmp_path_factory) -> pathlib.Path:
    """The folder in which the commands run."""
    folder = tmp_path_factory.mktemp("parent") / "commands"
    folder.mkdir()
    shutil.copy(place / "tiny.py", folder)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    pixels, labels = np.zeros((10**7, 1, 1), np.uint8), np.arange(10**7, dtype=np.uint8) % 2
    np.savez_compressed(folder / "many.npz", train_images=pixels, train_labels=labels)
    return folder


@pytest.mark.parametrize("case", COMMANDS)
def test_commands(commands_folder, command, monkeypatch, case):
    monkeypatch.chdir(commands_folder)
    arguments, words = COMMANDS[case]
    before = refusals.snapshot(commands_folder)
    status, _, said = command(*arguments)
    refusals.assert_failed(status, said, words)
    assert refusals.snapshot(commands_folder) == before


def test_the_program_fails_as_its_function_does(commands_folder):
    done = refusals.process(commands_folder, "--config=tiny.py", "--config.dataset=./absent")
    refusals.assert_failed(done.returncode, done.stderr, ["'./absent'", "no such folder"])


# Python's own start, and imports that a parser needs; JAX would take seconds more.
QUICK = """
import sys, time
began = time.perf_counter()
sys.argv = ["fsdd", *{arguments!r}]
from fsdd import main
try:
    main.run()
except SystemExit as ended:
    print(ended.code, time.perf_counter() - began, "jax" in sys.modules)
"""


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--help"], 0, "--config.distill.steps=3000"),
        (["--config=tiny.py", "--config.distill.step=3"], 2, "config.distill.step is not a field"),
    ],
)
def test_help_and_mistyped_flags_need_not_wait_for_jax(commands_folder, arguments, status, words):
    """Under a second where nothing else runs."""
    done = subprocess.run(
        [sys.executable, "-c", QUICK.format(arguments=arguments)],
        cwd=commands_folder,
        env=os.environ | {"PYTHONPATH": str(runs.ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    code, seconds, has_jax = done.stdout.split("\n")[-2].split()
    assert (int(code), has_jax) == (status, "False"), done.stderr
    assert words in done.stdout + done.stderr
    assert float(seconds) < 3


def test_a_traceback_is_shown_to_who_asks_for_it(commands_folder, command, monkeypatch):
    monkeypatch.chdir(commands_folder)
    plain = command("--config=tiny.py", "--config.ipc=0")
    monkeypatch.setenv("FSDD_DEBUG", "1")
    debugged = command("--config=tiny.py", "--config.ipc=0")
    assert (plain[0], debugged[0]) == (2, 2)
    assert "Traceback" not in plain[2]
    lines = debugged[2].splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == plain[2].splitlines()[-1]


def test_a_value_may_follow_its_flag(commands_folder):
    file = f"--config={commands_folder / 'tiny.py'}"
    apart = main.parse(["fsdd", file, "--config.ipc", "5", "--config.seed", "3", "--config.method=refine"])
    joined = main.parse(["fsdd", file, "--config.ipc=5", "--config.seed=3", "--config.method=refine"])
    assert apart == joined
    assert (apart.config.ipc, apart.config.seed) == (5, 3)


def test_a_method_takes_from_a_file_what_it_can():
    """The file scores sets of stages that the method does not have."""
    resolved = configs.resolve(main.parse(["fsdd", "--config=quickstart", "--config.method=refine"]).config)
    assert resolved.stages == ("distill", "refine")
    assert resolved.evaluate.stages == ("start", "distill", "refine")


def test_only_pretraining_is_for_several_processes(place, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    words = ["one of 2 processes", "a config that pre-trains"]
    refusals.assert_refused(place, tmp_path / "run", [], words, tmp_path)


def test_stage_is_for_pretraining(place, tmp_path):
    with pytest.raises(UserError, match="--stage is 'distill'; it is for configs that pre-train"):
        runs.run(configs.default(), tmp_path / "run", "distill")


def test_the_default_config_is_good():
    configs.resolve(configs.default())
