"""The store of experts: what goes in comes out, longer files replace shorter ones, damage is found and put aside."""

import numpy as np
import pytest

from fsdd.errors import UserError
from fsdd.io.trajectories import Expert, Trajectories


def _expert(epochs: int, seed: int = 0) -> Expert:
    numbers = np.random.default_rng(seed)
    expert = Expert([numbers.normal(size=5).astype(np.float32)], [], [])
    for epoch in range(epochs):
        expert = expert.after(numbers.normal(size=5).astype(np.float32), 2.0 - epoch, 0.5)
    return expert


@pytest.fixture
def store(tmp_path):
    store = Trajectories(tmp_path)
    store.check({"name": "one", "images": 3}, {"experts.rate": 0.01})
    return store


def test_what_goes_in_comes_out(store):
    store.write(3, _expert(2))
    other = Trajectories(store.folder)
    found = other.read(3)
    np.testing.assert_array_equal(found.snapshots, _expert(2).snapshots)
    assert found.snapshots[0].dtype == np.float32
    assert (found.epochs, found.losses, found.seconds) == (2, [2.0, 1.0], [0.5, 0.5])
    np.testing.assert_array_equal(other.snapshots(3, (2, 0)), [_expert(2).snapshots[2], _expert(2).snapshots[0]])
    assert other.read(0) is None
    assert other.lacking(5, 2) == [0, 1, 2, 4] and other.lacking(4, 3) == [0, 1, 2, 3]


def test_a_longer_expert_replaces_a_shorter_one_also_under_its_readers(store):
    store.write(0, _expert(1))
    reader = Trajectories(store.folder)
    reader.snapshots(0, (1,))
    store.write(0, _expert(3))
    assert len(list(store.folder.glob("*.npz"))) == 1
    np.testing.assert_array_equal(reader.snapshots(0, (1, 3)), _expert(3).snapshots[1::2])


def test_a_damaged_file_is_put_aside(store, capsys):
    store.write(0, _expert(1))
    (path,) = store.folder.glob("*.npz")
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    assert store.lacking(1, 1) == [], "a file that was found whole is not read again"
    other = Trajectories(store.folder)
    assert other.lacking(1, 1) == [0]
    assert [kept.name for kept in (store.folder / "damaged").iterdir()] == [path.name]
    assert "is damaged" in "".join(capsys.readouterr())


def test_experts_of_other_figures_or_images_are_refused(store):
    store.check({"name": "its other name", "images": 3}, {"experts.rate": 0.01})
    with pytest.raises(UserError, match=r"was made with config.experts.rate = 0.01, now it is 0.1;"):
        store.check({"name": "one", "images": 3}, {"experts.rate": 0.1})
    with pytest.raises(UserError, match="was made with another real set: its images = 3, now it is 4;"):
        store.check({"name": "one", "images": 4}, {"experts.rate": 0.01})


def test_a_disk_that_refuses_leaves_the_store_as_it_was(store, monkeypatch):
    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", refuse)
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        store.write(0, _expert(1))
    assert [path.name for path in store.folder.iterdir()] == ["experts.json"]
