"""The caching stage on real digits: the same store whatever the devices, processes and kills that made it."""

import json
import pathlib
import shutil
import subprocess
import sys

import jax
import jobs
import numpy as np
import pytest
import runs

from fsdd import config as configs
from fsdd import main
from fsdd.data import sources
from fsdd.errors import UserError
from fsdd.io import checkpoint
from fsdd.methods import translation
from fsdd.networks.translator import Translator
from fsdd.pretraining import cache as caches
from fsdd.pretraining import inspection, store

FLAGS = [
    "--config=configs/pretrain_quickstart.py",
    "--stage=cache",
    "--config.network.width=8",
    "--config.distill.steps=60",
    "--config.subsets.count=12",
    "--config.compute.lane_images=40",
    "--config.compute.checkpoint_seconds=0.2",
]


def _config(**changes):
    command = main.parse(["fsdd", "--config=" + str(jobs.ROOT / "configs/pretrain_quickstart.py"), *FLAGS[2:]])
    command.config.update_from_flattened_dict(changes)
    return command.config


def _start(workdir: pathlib.Path, *flags: str, devices: int = 1) -> subprocess.Popen:
    return jobs.start([*FLAGS, *flags], workdir, devices)


def _contents(workdir: pathlib.Path) -> dict[int, store.Cached]:
    """All subsets of a store that has no damage, each there once."""
    found, damaged = store.shards(workdir / "cache")
    assert not damaged
    indices = [index for shard in found for index in shard.indices]
    assert len(indices) == len(set(indices)), "a subset was written twice"
    source = store.Source(found)
    return {cached.index: cached for cached in (source[position] for position in range(len(source)))}


def _assert_same(wanted: dict[int, store.Cached], found: dict[int, store.Cached], rounding: float = 0.0) -> None:
    """Bit for bit, unless a rounding is given: a lane's program is the same, whatever its neighbours are."""
    assert found.keys() == wanted.keys()
    for index, cached in wanted.items():
        for field, value in vars(cached).items():
            place = f"{field} of {index}"
            np.testing.assert_allclose(getattr(found[index], field), value, rtol=0, atol=rounding, err_msg=place)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> pathlib.Path:
    """A workdir with a store that one process made on one device without interruption."""
    workdir = tmp_path_factory.mktemp("whole")
    runs.run(_config(), workdir, "cache")
    return workdir


def test_a_store_holds_what_the_config_asks_for(whole):
    contents = _contents(whole)
    assert sorted(contents) == list(range(12))
    for cached in contents.values():
        assert cached.loss[1] < 0.7 * cached.loss[0], "distillation lowers the loss"
        assert cached.images.shape[1:] == (8, 8, 1) and cached.images.dtype == np.float32
        assert cached.targets.shape == (len(cached.start), len(cached.classes))
        assert len(cached.rows) <= 200 and len(cached.images) <= 20
    results = json.loads((whole / "results.json").read_text())
    assert results["stages"]["cache"]["subsets"] == 12
    card = json.loads((whole / "cache" / "card.json").read_text())
    assert (card["config"]["network.seed"], card["set"]["name"], card["set"]["images"]) == (0, "digits", 1797)
    assert not list((whole / "cache" / "running").iterdir())


def test_every_bucket_is_compiled_once(whole):
    """The fill, the losses, the start and the step: what a batch compiles, a later one of its bucket does not."""
    shards = sorted(store.shards(whole / "cache")[0], key=lambda shard: shard.path.stat().st_mtime_ns)
    compiled = {}
    for shard in shards:
        made = shard.header["made"]
        compiled.setdefault(made["bucket"], []).append(made["programs_compiled"])
    assert len(shards) > len(compiled) == 2
    for first, *later in compiled.values():
        assert first > 0
        assert not any(later), compiled


def test_a_second_run_adds_nothing(whole, capsys):
    before = {path: path.stat().st_mtime_ns for path in (whole / "cache" / "shards").iterdir()}
    runs.run(_config(), whole, "cache")
    assert "nothing is left for this process to make" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (whole / "cache" / "shards").iterdir()} == before


def test_a_larger_count_adds_the_rest(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "more")
    runs.run(_config(**{"subsets.count": 14}), tmp_path / "more", "cache")
    contents = _contents(tmp_path / "more")
    assert sorted(contents) == list(range(14))
    _assert_same(_contents(whole), {index: contents[index] for index in range(12)})


@pytest.mark.slow  # processes with several devices
@pytest.mark.parametrize("devices", [2, 8])
def test_devices_change_roundings_alone(whole, tmp_path, devices):
    """Their programs are of fewer subsets, which round otherwise: 3e-6 was seen after 60 steps, images of size 1."""
    jobs.finish(_start(tmp_path / "run", devices=devices))
    _assert_same(_contents(whole), _contents(tmp_path / "run"), 1e-4)


@pytest.mark.slow  # several processes
def test_two_processes_share_a_store(whole, tmp_path):
    """Without knowing of each other: what one has claimed, the other leaves."""
    processes = [_start(tmp_path / "run") for _ in range(2)]
    jobs.finish(*processes)
    _assert_same(_contents(whole), _contents(tmp_path / "run"))


@pytest.mark.slow  # several processes
def test_two_processes_of_one_job_share_a_store(whole, tmp_path):
    jobs.finish(*(_start(tmp_path / "run", *member) for member in jobs.members(2)))
    _assert_same(_contents(whole), _contents(tmp_path / "run"))
    packed = [shard.indices for shard in store.shards(tmp_path / "run" / "cache")[0]]
    assert {len({index % 2 for index in indices}) for indices in packed} == {1}, "each takes its own indices"


@pytest.mark.slow  # kills
def test_killed_at_random_moments(whole, tmp_path):
    """Every kill meets a running process: a store that is finished before its kill is compared and begun anew."""
    hits, run = 0, tmp_path / "run"
    while hits < 2 * jobs.KILLS:
        hit = jobs.kill(_start(run), run / "cache" / "card.json", 10)
        hits += hit
        if not hit:
            _assert_same(_contents(whole), _contents(run))
            shutil.rmtree(run)
    jobs.finish(_start(run))
    _assert_same(_contents(whole), _contents(run))
    assert not list((run / "cache" / "running").iterdir())


def test_a_damaged_shard_is_named_and_made_again(whole, tmp_path, command, capsys):
    shutil.copytree(whole, tmp_path / "run")
    shard = store.shards(tmp_path / "run" / "cache")[0][0]
    shard.path.write_bytes(shard.path.read_bytes()[:-100])
    status, said, complaints = command(f"--inspect={tmp_path / 'run'}")
    assert (status, complaints) == (1, "")
    assert f"damaged: {shard.path}" in said
    runs.run(_config(), tmp_path / "run", "cache")
    assert f"{shard.path} is damaged" in capsys.readouterr().out
    _assert_same(_contents(whole), _contents(tmp_path / "run"))
    assert [path.name for path in (tmp_path / "run" / "cache" / "damaged").iterdir()] == [shard.path.name]


def test_inspection_counts_and_draws(whole, capsys):
    assert inspection.inspect(whole)
    said = capsys.readouterr().out
    for words in ("subsets          12", "subsets of digits, network seed 0", "before"):
        assert words in said
    for picture in ("subsets.png", "losses.png"):
        assert (whole / "cache" / picture).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_inspection_shows_the_images_that_subsets_were_made_of(tmp_path, monkeypatch):
    """Also where the big set was some of its classes, in an order of their own."""
    classes = (7, 2, 5)
    limits = {"subsets.count": 2, "subsets.classes_min": 3, "subsets.classes_max": 3, "subsets.synthetic": 3}
    runs.run(_config(classes=classes, **limits, **{"distill.steps": 2}), tmp_path, "cache")
    drawn = {}
    monkeypatch.setattr(inspection.pictures, "grid", lambda path, panels, rows, titles: drawn.update(panels))
    assert inspection.inspect(tmp_path)
    source = store.Source(store.shards(tmp_path / "cache")[0])
    pixels = sources.load("digits", test_fraction=0).only(classes).train_images
    wanted = [pixels[cached.rows[cached.start]] for cached in (source[0], source[1])]
    np.testing.assert_allclose(255 * drawn["real"], np.concatenate(wanted), atol=1e-3)


def test_pretraining_is_refused_before_anything_is_cached(tmp_path):
    changes = {"image_size": 6, "translator.stride": 4}
    with pytest.raises(UserError, match=r"config.translator.stride is 4; allowed: a divisor of the images' side, 6"):
        runs.run(_config(**changes), tmp_path / "run")
    variables = translation.fresh(Translator(1, (2, 2, 2)), jax.random.key(0), (8, 8, 1))
    checkpoint.save_variables(tmp_path / "stored", variables, {})
    with pytest.raises(UserError, match="asks for"):
        runs.run(_config(**{"pretrain.init": str(tmp_path / "stored")}), tmp_path / "run")
    assert not list(tmp_path.rglob("*.array_record"))


def test_buckets_hold_their_subsets(whole):
    cache = caches.prepare(configs.resolve(_config(**{"subsets.buckets": 3})), whole)
    sizes = {index: int(np.prod(cache.sampler.shape(index))) for index in range(12)}
    for index, size in sizes.items():
        assert cache.bucket(index) == min(rows for rows in (7, 14, 21) if rows >= size)
    assert [cache.lanes(rows) for rows in (7, 14, 21)] == [5, 2, 1]
    assert [cache.chunk(rows) for rows in (7, 14, 21)] == [25, 64, 128]
    cache.claims.close()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network.seed": 1}, ["config.network.seed = 0", "now it is 1"]),
        ({"distill.steps": 61}, ["config.distill.steps = 60", "now it is 61"]),
        ({"subsets.images": 100}, ["config.subsets.images = 200", "now it is 100"]),
        ({"subsets.count": 0}, ["config.subsets.count is 0", "from 1 to"]),
        ({"subsets.policy": "blur"}, ["config.subsets.policy is 'blur'", "dsa"]),
        (
            {"stages": ("cache", "distill")},
            ["config.stages is ('cache', 'distill')", "bilevel, dc, dd, distill", "or cache, pretrain"],
        ),
    ],
)
def test_configs_that_a_store_refuses(whole, changes, words):
    before = sorted(path for path in whole.rglob("*") if path.suffix != ".png")
    with pytest.raises(UserError) as caught:
        runs.run(_config(**changes), whole, "cache")
    assert len(str(caught.value).splitlines()) == 1
    for word in words:
        assert word in str(caught.value)
    assert sorted(path for path in whole.rglob("*") if path.suffix != ".png") == before


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--stage=distil"], ["--stage is 'distil'", "cache"]),
        (["--inspect=/nowhere"], ["--inspect is '/nowhere'", "cache/card.json"]),
        (["--distributed", "--process=1"], ["--distributed and --process exclude"]),
        (["--processes=2", "--process=0"], ["--coordinator is missing"]),
        (["--coordinator=localhost:1", "--processes=2", "--process=2"], ["--process is 2", "0 to 1"]),
        (["--distributed"], ["--distributed", "--coordinator, --processes"]),
    ],
)
def test_flags_that_cannot_be(tmp_path, command, monkeypatch, flags, words):
    monkeypatch.chdir(runs.ROOT)
    status, _, said = command(FLAGS[0], f"--workdir={tmp_path / 'run'}", *flags)
    lines = said.strip().splitlines()
    assert (status, len(lines)) == (2, 1), said
    assert all(word in lines[0] for word in words), lines[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow  # a full disk, in a process of its own
def test_a_full_disk_stops_the_run_and_the_next_one_goes_on(whole, tmp_path):
    """Files may not grow beyond 20 kB: no shard, no checkpoint of two lanes; one line, then, with room, the store."""
    command = [sys.executable, "-m", "fsdd.main", *FLAGS, f"--workdir={tmp_path / 'run'}"]
    runs.run(_config(**{"subsets.count": 1}), tmp_path / "run", "cache")
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 20; exec "$@"', "bash", *command], cwd=jobs.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert "cannot be written: File too large" in line
    assert "Traceback" not in done.stderr
    assert sorted(_contents(tmp_path / "run")) == [0]
    runs.run(_config(), tmp_path / "run", "cache")
    _assert_same(_contents(whole), _contents(tmp_path / "run"))
