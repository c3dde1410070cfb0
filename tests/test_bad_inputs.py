"""Bad input: one line that names the field or file, the value and what is allowed, and everything on disk as it was.

Most inputs go through `main.parse` and `pipeline.run`; those of `COMMANDS` through the program itself.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest
from PIL import Image

from fsdd import config as configs
from fsdd import main
from fsdd.distilling import pipeline
from fsdd.errors import UserError
from fsdd.io import checkpoint
from fsdd.methods import translation
from fsdd.networks.translator import Translator

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = """
from fsdd import config as configs


def get_config():
    config = configs.default()
    config.dataset = {dataset!r}
    config.network.width = config.network.depth = 2
    config.stages = ("distill",)
    config.distill.uses, config.distill.batch = 3, 8
    config.evaluate.networks = 0
    return config
"""


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    """Three classes of six grey 6x6 images."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 6)
    return {
        "train_images": random.random((18, 6, 6), np.float32),
        "train_labels": labels,
        "test_images": random.random((18, 6, 6), np.float32),
        "test_labels": labels,
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory, arrays) -> pathlib.Path:
    """A folder with data.npz and tiny.py, the config of a run that takes seconds."""
    folder = tmp_path_factory.mktemp("place")
    np.savez(folder / "data.npz", **arrays)
    (folder / "tiny.py").write_text(CONFIG.format(dataset=str(folder / "data.npz")))
    return folder


@pytest.fixture(scope="module")
def finished(place) -> pathlib.Path:
    """The workdir of a finished run."""
    run(place, place / "finished")
    return place / "finished"


@pytest.fixture(scope="module")
def diverged(place) -> tuple[pathlib.Path, str]:
    """The workdir of a run that diverged after its first checkpoint, and what it said."""
    folder = place / "diverged"
    with pytest.raises(UserError) as caught:
        run(place, folder, "distill.rate=1e30", "compute.checkpoint_seconds=0")
    until = time.monotonic() + 20
    while not (folder / "distill/checkpoints/1").is_dir() and time.monotonic() < until:
        time.sleep(0.1)
    return folder, str(caught.value)


def run(place: pathlib.Path, folder: pathlib.Path, *values: str) -> dict:
    """What the program does with tiny.py and `--config.<value>`, without a process of its own."""
    command = main.parse(
        ["fsdd", f"--config={place / 'tiny.py'}", f"--workdir={folder}", *(f"--config.{value}" for value in values)]
    )
    return pipeline.run(command.config, command.workdir)


def snapshot(folder: pathlib.Path) -> dict[str, bytes | None]:
    """All files with what they hold, and all folders."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def assert_refused(place: pathlib.Path, folder: pathlib.Path, values, words, kept: pathlib.Path) -> None:
    """A run raises one line with all `words`, and leaves all that is in `kept` as it was."""
    before = snapshot(kept)
    with pytest.raises(UserError) as caught:
        run(place, folder, *values)
    assert_line(str(caught.value), words)
    assert snapshot(kept) == before


def assert_line(line: str, words) -> None:
    assert len(line.splitlines()) == 1
    for word in words:
        assert word in line, line


# ---- values

VALUES = {
    "ipc is zero": (["ipc=0"], ["config.ipc is 0", "at least 1"]),
    "ipc is negative": (["ipc=-1"], ["config.ipc is -1", "at least 1"]),
    "ipc is above the smallest class": (["ipc=7"], ["config.ipc is 7", "at most 6", "data"]),
    "seed is negative": (["seed=-1"], ["config.seed is -1", "from 0"]),
    "seed is too large": ([f"seed={2**32}"], ["config.seed is 4294967296", "2**32 - 1"]),
    "unknown protocol": (["protocol=keras"], ["config.protocol is 'keras'", "torch, jax, best, plain"]),
    "unknown optimiser": (["distill.optimiser=sgd"], ["config.distill.optimiser is 'sgd'", "adam", "lamb"]),
    "rate is zero": (["distill.rate=0"], ["config.distill.rate is 0", "above 0"]),
    "rate is no number": (["distill.rate=nan"], ["config.distill.rate is nan", "above 0"]),
    "rate is infinite": (["translate.rate=inf"], ["config.translate.rate is inf", "above 0"]),
    "small images in pre-training": (["stages=('cache',)", "factor=2"], ["config.factor is 2", "1 where stages are"]),
    "herding in pre-training": (["stages=('cache',)", "start=herding"], ["config.start is 'herding'", "random where"]),
    "one class": (["classes=(1,)"], ["config.classes is (1,)", "two or more"]),
    "a class twice": (["classes=(1,1)"], ["config.classes is (1, 1)", "different"]),
    "a class that is not there": (["classes=(0,99)"], ["config.classes is (0, 99)", "some of 0 to"]),
    "unknown start": (["start=kmeans"], ["config.start is 'kmeans'", "random, herding"]),
    "a factor of three": (["factor=3"], ["config.factor is 3", "one of 1, 2, 4"]),
    "factor does not divide the side": (["factor=4", "ipc=1"], ["config.factor is 4", "divisor", "6"]),
    "ipc is too many small images": (
        ["factor=2", "ipc=2"],
        ["config.ipc is 2", "at most 1", "square of config.factor"],
    ),
    "the learned space after its use": (["stages=('distill','bilevel')"], ["config.stages", "bilevel first"]),
    "no inner step": (["bilevel.inner=0"], ["config.bilevel.inner is 0", "at least 1"]),
    "no pool": (["frepo.pool=0"], ["config.frepo.pool is 0", "at least 1"]),
    "a set after the last step": (["evaluate.stages=distill@99"], ["('distill@99',)", "STAGE@STEP"]),
    "a set after no number of steps": (["evaluate.stages=distill@half"], ["('distill@half',)", "STAGE@STEP"]),
    "a set after an oddly written step": (["evaluate.stages=distill@01"], ["('distill@01',)", "STAGE@STEP"]),
    "a set on the way to the start": (["evaluate.stages=start@1"], ["('start@1',)", "STAGE@STEP"]),
    "unknown stage": (["stages=distil"], ["config.stages is ('distil',)", "distill, translate, refine"]),
    "a list for a stage": (
        ["stages=(['distill'],)"],
        ["config.stages is (['distill'],)", "distill, translate, refine"],
    ),
    "repeated stage": (["stages=('refine','refine')"], ["config.stages is ('refine', 'refine')", "at most once"]),
    "group does not divide": (
        ["refine.networks=4", "refine.group=3"],
        ["config.refine.group is 3", "divisor of refine.networks = 4"],
    ),
    "evaluation of a stage that is not run": (
        ["evaluate.stages=refine"],
        ["config.evaluate.stages is ('refine',)", "some of start, distill"],
    ),
    "unknown architecture": (["evaluate.architecture=lenet"], ["config.evaluate.architecture is 'lenet'", "vgg11"]),
    "unknown augmentation": (["evaluate.policy=mixup"], ["config.evaluate.policy is 'mixup'", "dsa"]),
    "unknown whitening": (["whitening.kind=pca"], ["config.whitening.kind is 'pca'", "zca"]),
    "labels that are soft": (["labels=soft"], ["config.labels is 'soft'", "learned, hard"]),
    "hard labels in a learned network": (
        ["labels=hard", "method=bilevel"],
        ["config.labels is 'hard'", "learned with the stage bilevel"],
    ),
    "unknown images to score by": (["evaluate.images=raw"], ["config.evaluate.images is 'raw'", "pixels"]),
    "unknown loss to score by": (["evaluate.loss=hinge"], ["config.evaluate.loss is 'hinge'", "cross_entropy"]),
    "unknown dtype": (["network.dtype=float64"], ["config.network.dtype is 'float64'", "float32, bfloat16"]),
    "no test images": (
        ["dataset=digits", "test_fraction=0.0", "evaluate.networks=1"],
        ["config.test_fraction is 0.0", "no test images", "evaluate.networks=0"],
    ),
    "all images held out": (["test_fraction=1.0"], ["config.test_fraction is 1.0", "between 0 and 1"]),
    "all images for validation": (
        ["validation_fraction=1.0"],
        ["config.validation_fraction is 1.0", "between 0 and 1"],
    ),
    "chunk is zero": (["compute.chunk=0"], ["config.compute.chunk is 0", "at least 1"]),
    "translate.ipcs of words": (["translate.ipcs=many"], ["config.translate.ipcs is ('many',)", "above 0"]),
    "translate.ipcs above the smallest class": (
        ["translate.ipcs=(1,7)", "stages=('distill','translate')"],
        ["config.translate.ipcs is (1, 7)", "at most 6"],
    ),
    "translate.ipcs without distillation": (
        ["translate.ipcs=(1,2)", "stages=translate"],
        ["config.translate.ipcs is (1, 2)", "unless the stage distill"],
    ),
    "stride does not divide the side": (["translator.stride=4"], ["config.translator.stride is 4", "divisor", "6"]),
    "two widths": (["translator.widths=(8,8)"], ["config.translator.widths is (8, 8)", "three whole numbers"]),
    "no translator there": (
        ["stages=translate", "translate.init=nowhere"],
        ["config.translate.init is 'nowhere'", "fresh, autoencoder", "variables/"],
    ),
    "a value that is no whole number": (["ipc=abc"], ["config.ipc", "'abc'", "int"]),
    "a value that is no number": (["distill.rate=fast"], ["config.distill.rate", "'fast'", "float"]),
    "unknown field by flag": (["distill.rat=1"], ["config.distill.rat is not a field", "distill.rate"]),
}


@pytest.mark.parametrize("case", VALUES)
def test_values(place, tmp_path, case):
    values, words = VALUES[case]
    assert_refused(place, tmp_path / "run", values, words, tmp_path)


def test_values_are_checked_before_the_data_is_loaded(place, tmp_path):
    values = ["dataset=/nowhere", "stages=translate", "translate.init=nowhere"]
    assert_refused(place, tmp_path / "run", values, ["config.translate.init"], tmp_path)


# ---- data


def broken_folder(folder: pathlib.Path, spoil) -> str:
    """An image folder of two classes, one image of which `spoil` is given."""
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for index in range(2):
            Image.fromarray(np.full((64, 64, 3), index, np.uint8)).save(folder / name / f"{index}.png")
    spoil(folder / "dog")
    return str(folder)


def without_images(folder: pathlib.Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def with_a_cut_image(folder: pathlib.Path) -> None:
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:60])


def broken_arrays(folder: pathlib.Path, arrays: dict, **changes: np.ndarray | None) -> str:
    kept = {name: array for name, array in (arrays | changes).items() if array is not None}
    np.savez(folder / "broken.npz", **kept)
    return str(folder / "broken.npz")


DATA = {
    "no such folder": (lambda folder, arrays: str(folder / "absent"), ["absent", "no such folder"]),
    "no folder of this name": (lambda folder, arrays: "no_such_photos/", ["no_such_photos/", "no such folder"]),
    "no name at all": (lambda folder, arrays: "no-such-photos", ["'no-such-photos'", "no such folder", ".npz"]),
    "one class": (
        lambda folder, arrays: broken_arrays(
            folder, arrays, train_labels=np.zeros(18, int), test_labels=np.zeros(18, int)
        ),
        ["broken", "one class, '0'", "two or more"],
    ),
    "images too large to whiten": (
        lambda folder, arrays: broken_arrays(
            folder,
            arrays,
            train_images=np.resize(np.arange(18, dtype=np.uint8), (18, 256, 256, 3)),
            test_images=None,
            test_labels=None,
        ),
        ["config.whitening.kind is 'auto'", "256x256", "'standardize'", "config.image_size"],
    ),
    "no such npz": (lambda folder, arrays: str(folder / "absent.npz"), ["absent.npz", "no such file"]),
    "class without images": (
        lambda folder, arrays: broken_folder(folder / "pets", without_images),
        ["pets/dog", "no images", ".png"],
    ),
    "cut image": (
        lambda folder, arrays: broken_folder(folder / "pets", with_a_cut_image),
        ["pets/dog/1.png", "not a readable image"],
    ),
    "NaN pixels": (
        lambda folder, arrays: broken_arrays(folder, arrays, train_images=np.full((18, 6, 6), np.nan, np.float32)),
        ["broken.npz", "train_images", "NaN", "floats in [0, 1]"],
    ),
    "one image many times": (
        lambda folder, arrays: broken_arrays(folder, arrays, train_images=np.full((18, 6, 6), 7, np.uint8)),
        ["broken", "all training images are the same"],
    ),
    "no labels": (
        lambda folder, arrays: broken_arrays(folder, arrays, train_labels=None),
        ["broken.npz", "needed are train_images and train_labels"],
    ),
    "a TFDS set that is not prepared": (lambda folder, arrays: "imagenet2012", ["'imagenet2012'", "prepare"]),
    "no TFDS set of this name": (lambda folder, arrays: "no_such_set", ["'no_such_set'", "'digits'", "folder", ".npz"]),
}


@pytest.mark.parametrize("case", DATA)
def test_data(place, tmp_path, arrays, case):
    make, words = DATA[case]
    (tmp_path / "data").mkdir()
    (tmp_path / "kept").mkdir()
    values = [f"dataset={make(tmp_path / 'data', arrays)}", f"data_dir={tmp_path / 'data'}"]
    assert_refused(place, tmp_path / "kept" / "run", values, words, tmp_path / "kept")


# ---- stored translators


def stored_translator(folder: pathlib.Path, widths: tuple[int, int, int]) -> pathlib.Path:
    variables = translation.fresh(Translator(1, widths), jax.random.key(0), (6, 6, 1))
    checkpoint.save_variables(folder, variables, {})
    return folder


def cut_all_files(folder: pathlib.Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("damage", ["other shapes", "cut files"])
def test_stored_translators(place, tmp_path, damage):
    folder = stored_translator(tmp_path / "stored", (2, 2, 2))
    values = ["stages=translate", f"translate.init={folder}", "translator.widths=(2,3,2)"]
    words = [str(folder), "BatchNorm_1", "(2,)", "config.translator asks for (3,)"]
    if damage == "cut files":
        cut_all_files(folder)
        words = [str(folder), "not a readable"]
    assert_refused(place, tmp_path / "run", values, words, tmp_path)


# ---- workdirs


@pytest.mark.parametrize("name", ["file", "file/under", "/proc/fsdd", "read_only/run"])
def test_workdirs_that_cannot_be(place, tmp_path, name):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "read_only").mkdir(mode=0o555)
    if name.startswith("read_only") and os.access(tmp_path / "read_only", os.W_OK):
        pytest.skip("this user may write everywhere")
    assert_refused(place, tmp_path / name, [], [f"--workdir is '{tmp_path / name}'", "allowed: a folder"], tmp_path)


def test_a_workdir_of_another_config(place, finished):
    words = ["finished/distill", "config.distill.rate = 0.001", "now it is 0.002", "another --workdir"]
    assert_refused(place, finished, ["distill.rate=2e-3"], words, finished)


def test_a_workdir_of_other_data(place, tmp_path, arrays):
    """One pixel of one image is another, or there is a test image less: what was made of the others stays as it is."""
    data, folder = tmp_path / "mine.npz", tmp_path / "run"
    np.savez(data, **arrays)
    run(place, folder, f"dataset={data}")
    changed = arrays["train_images"].copy()
    changed[3, 2, 2] = 1 - changed[3, 2, 2]
    np.savez(data, **arrays | {"train_images": changed})
    words = [f"another {data}: its sha256", "another --workdir"]
    assert_refused(place, folder, [f"dataset={data}"], words, folder)
    # Nor by a run that has no use for what is there.
    assert_refused(place, folder, [f"dataset={data}", "stages=()"], words, folder)
    np.savez(data, **arrays | {name: arrays[name][:-1] for name in ("test_images", "test_labels")})
    assert_refused(place, folder, [f"dataset={data}"], [f"another {data}: its test_images = 18, now it is 17"], folder)
    np.savez(data, **arrays)
    run(place, folder, f"dataset={data}")


@pytest.mark.parametrize("name", ["result.json", "config.json", "set.npz"])
def test_cut_files_of_a_finished_stage(place, finished, tmp_path, name):
    folder = shutil.copytree(finished, tmp_path / "run")
    file = folder / "distill" / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert_refused(place, folder, [], [str(file), "delete"], folder)


def test_a_finished_stage_whose_result_is_no_object(place, finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "distill/result.json").write_text("[]")
    assert_refused(place, folder, [], ["distill/result.json", "list", "delete"], folder)


# ---- divergence and running checkpoints

DIVERGING = ["distill.rate=1e30", "compute.checkpoint_seconds=0"]


def test_divergence_names_the_stage_and_the_step(diverged):
    assert_line(diverged[1], ["distill", "the loss is nan at step 1", "lower its rate"])


def test_divergence_in_the_last_update_is_seen(place, tmp_path):
    with pytest.raises(UserError) as caught:
        run(place, tmp_path / "run", "distill.rate=1e39", "distill.uses=1", "distill.optimiser=adam")
    assert_line(str(caught.value), ["distill", "diverged at step 0", "lower its rate"])
    assert not (tmp_path / "run/distill/set.npz").exists()


@pytest.mark.parametrize("name", ["checkpoints/1", "journal"])
def test_a_damaged_running_checkpoint(place, diverged, tmp_path, name):
    folder = shutil.copytree(diverged[0], tmp_path / "run")
    cut_all_files(folder / "distill" / name)
    assert_refused(place, folder, DIVERGING, [f"distill/{name}", "delete it"], folder)


# ---- the program

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
    "a wrong type by flag": (["--config=tiny.py", "--config.ipc=abc"], ["--config.ipc=abc", "int"]),
    "ipc is zero": (["--config=tiny.py", "--config.ipc=0"], ["config.ipc is 0", "at least 1"]),
    "a TFDS set that is not prepared": (
        # Outside, because TFDS makes the folder where TensorFlow is installed.
        ["--config=tiny.py", "--config.dataset=imagenet2012", "--config.data_dir=../absent"],
        ["'imagenet2012'", "absent", "prepare"],
    ),
    "images larger than memory": (
        ["--config=tiny.py", "--config.image_size=10000000"],
        ["out of memory", "config.image_size", "chunk"],
    ),
    "data that is not there": (["--config=tiny.py", "--config.dataset=./absent"], ["'./absent'", "no such folder"]),
}
FILES = {
    "syntax.py": "def get_config(:",
    "empty.py": "",
    "raises.py": "def get_config():\n    raise ValueError('two lines\\nof words')",
    "number.py": "def get_config():\n    return 3",
    "unknown.py": CONFIG.format(dataset="digits").replace("config.stages", "config.ipcs = 3\n    config.stages"),
    "wrong.py": "from fsdd import config\n\ndef get_config():\n    default = config.default()\n    default.ipc = 'one'",
}


def program(place: pathlib.Path, arguments: list[str], blocks: str = "unlimited") -> subprocess.CompletedProcess:
    """The program in a process of its own, in `place`; no file may grow beyond so many blocks of 512 bytes."""
    # Without JAX's cache of compiled programs, which would meet the limit, too, and warn of it.
    environment = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "JAX_PLATFORMS": "cpu"}
    environment |= {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    return subprocess.run(
        ["sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh", sys.executable, "-m", "fsdd.main", *arguments],
        cwd=place,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


def assert_failed(process: subprocess.CompletedProcess, words) -> None:
    """Status 2, and one line on standard error besides progress bars."""
    lines = [line for line in process.stderr.splitlines() if line and "%|" not in line]
    assert process.returncode == 2, process.stderr
    assert len(lines) == 1 and lines[0].startswith("fsdd: "), process.stderr
    assert_line(lines[0], words)


@pytest.fixture(scope="module")
def commands(place, tmp_path_factory) -> tuple[dict, bool]:
    """What the program made of each of COMMANDS, and whether it left the folder they ran in as it was."""
    folder = tmp_path_factory.mktemp("commands")
    shutil.copy(place / "tiny.py", folder)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    before = snapshot(folder)
    with ThreadPoolExecutor(2) as pool:
        processes = list(pool.map(lambda case: program(folder, case[0]), COMMANDS.values()))
    return dict(zip(COMMANDS, processes, strict=True)), snapshot(folder) == before


@pytest.mark.parametrize("case", COMMANDS)
def test_commands(commands, case):
    assert_failed(commands[0][case], COMMANDS[case][1])


def test_commands_leave_no_file(commands):
    assert commands[1]


LARGE = ["ipc=6", "image_size=32", "compute.checkpoint_seconds=0"]
FULL_DISKS = {
    "the first file": ([], 1, "distill/config.json"),
    "a checkpoint": (LARGE, 16, "distill/checkpoints"),
    "the set of a stage": (["ipc=6", "image_size=32"], 16, "distill/set.npz"),
    "a translator": (["stages=translate", "translate.networks=1"], 16, "translate/translator"),
    "the stored set": ([], 5, "synthetic.npz"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", FULL_DISKS)
def test_a_full_disk_is_one_line_and_with_room_the_run_goes_on(place, tmp_path, case):
    values, blocks, file = FULL_DISKS[case]
    arguments = ["--config=tiny.py", f"--workdir={tmp_path / 'run'}", *(f"--config.{value}" for value in values)]
    assert_failed(
        program(place, arguments, str(blocks)), [str(tmp_path / "run" / file), "cannot be written: File too large"]
    )
    run(place, tmp_path / "run", *values)
    run(place, tmp_path / "undisturbed", *values)
    with np.load(tmp_path / "run/synthetic.npz") as found, np.load(tmp_path / "undisturbed/synthetic.npz") as wanted:
        for name in wanted:
            np.testing.assert_array_equal(found[name], wanted[name])
    files, others = [
        {str(path.relative_to(tmp_path / name)) for path in (tmp_path / name).rglob("*.*")}
        for name in ("run", "undisturbed")
    ]
    assert files == others


def test_only_pretraining_is_for_several_processes(place, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert_refused(place, tmp_path / "run", [], ["one of 2 processes", "a config that pre-trains"], tmp_path)


def test_the_default_config_is_good():
    configs.resolve(configs.default())
