"""The distilling buffer in a real Avalanche stream of digits."""

import numpy as np
import pytest

from fsdd import api
from fsdd.data import sources
from fsdd.errors import UserError

torch = pytest.importorskip("torch", reason="the extra fsdd[avalanche] is not installed")
benchmarks = pytest.importorskip("avalanche.benchmarks", reason="the extra fsdd[avalanche] is not installed")
training = pytest.importorskip("avalanche.training")
replay = pytest.importorskip("fsdd.integrations.avalanche")

FIELDS = {
    "network.width": 8,
    "distill.steps": 20,
    "distill.batch": 128,
    "method": "refine",
    "refine.networks": 2,
    "refine.group": 2,
    "refine.uses": 2,
}
ORDER = [3, 7, 0, 9, 5, 1, 2, 4, 6, 8]


@pytest.fixture(scope="module")
def stream():
    """Six of the digits, two at a time: training experiences, and test ones."""
    data = sources.load("digits")
    parts = {}
    for split in ("train", "test"):
        images, labels = getattr(data, f"{split}_images"), getattr(data, f"{split}_labels")
        pixels = torch.from_numpy(images.transpose(0, 3, 1, 2) / np.float32(255))
        parts[split] = torch.utils.data.TensorDataset(pixels, torch.from_numpy(labels.astype(np.int64)))
    found = benchmarks.class_incremental_benchmark(parts, class_order=ORDER, num_experiences=5)
    return found.train_stream[:3], found.test_stream[:3]


def _strategy(*plugins):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    loss = torch.nn.CrossEntropyLoss()
    strategy = training.Naive(
        model=model,
        optimizer=optimiser,
        criterion=loss,
        train_mb_size=32,
        train_epochs=16,
        plugins=list(plugins),
        evaluator=None,
    )
    return strategy, model


def _accuracy(model, experiences) -> float:
    hits = [
        (model(image[None]).argmax() == label).item()
        for experience in experiences
        for image, label, *_ in experience.dataset
    ]
    return float(np.mean(hits))


@pytest.mark.slow  # needs PyTorch
def test_what_was_distilled_is_what_the_stream_does_not_forget(stream, tmp_path, monkeypatch):
    train, test = stream
    buffer = replay.DistillingBuffer(tmp_path, ipc=10, classes=6, fields=FIELDS)
    assert buffer.max_size == 60
    strategy, replaying = _strategy(training.plugins.ReplayPlugin(mem_size=buffer.max_size, storage_policy=buffer))
    forgetful, naive = _strategy()
    for step, experience in enumerate(train, 1):
        strategy.train(experience)
        forgetful.train(experience)
        assert len(buffer.buffer) == 20 * step
        assert sorted(set(np.asarray(buffer.buffer.targets).tolist())) == sorted(ORDER[: 2 * step])
    image, label, *_ = buffer.buffer[0]
    assert image.shape == (1, 8, 8)
    assert image.dtype == torch.float32
    assert image.min() >= 0
    assert image.max() <= 1
    assert int(label) == 3
    assert _accuracy(replaying, test) > _accuracy(naive, test) + 0.2

    # A stream that is started again distils nothing anew.
    monkeypatch.setattr(api, "run", lambda config, folder, given: None)
    again = replay.DistillingBuffer(tmp_path, ipc=10, classes=6, fields=FIELDS)
    for experience in train:
        again.post_adapt(None, experience)
    pairs = zip(buffer.buffer, again.buffer, strict=True)
    assert all(torch.equal(one[0], two[0]) and one[1] == two[1] for one, two in pairs)

    again.resize(None, 6)
    assert again.max_size == 6
    assert sorted(np.asarray(again.buffer.targets).tolist()) == sorted(ORDER[:6])


@pytest.mark.slow  # needs PyTorch
def test_streams_of_any_order_go_on(stream, tmp_path):
    """One class first, then one more, then one that was there before; `real` stores images of what it is given."""
    experiences, _ = stream
    buffer = replay.DistillingBuffer(tmp_path, ipc=10, classes=4, fields=FIELDS | {"method": "real"})
    alone = [_Experience(_only(experiences[0], label)) for label in (3, 7)]
    for experience, expected in (
        (alone[0], [3] * 10),
        (alone[1], [3] * 10 + [7] * 10),
        (experiences[1], [3] * 10 + [7] * 10 + [0] * 10 + [9] * 10),
        (alone[0], [3] * 10 + [7] * 10 + [0] * 10 + [9] * 10),
    ):
        before = [item[0] for item in buffer.buffer]
        buffer.post_adapt(None, experience)
        assert list(buffer.buffer.targets) == expected
    after = [item[0] for item in buffer.buffer]
    assert not all(torch.equal(one, two) for one, two in zip(before[:10], after[:10], strict=True))
    assert all(torch.equal(one, two) for one, two in zip(before[10:], after[10:], strict=True))
    buffer.resize(None, 3)
    assert not len(buffer.buffer)


class _Experience:
    def __init__(self, dataset):
        self.dataset = dataset


def _only(experience, label):
    """An experience's images of one class."""
    return experience.dataset.subset([at for at, own in enumerate(experience.dataset.targets) if own == label])


@pytest.mark.slow  # needs PyTorch
def test_bad_streams_are_one_line(stream, tmp_path):
    small = replay.DistillingBuffer(tmp_path, ipc=1, classes=2, fields=FIELDS | {"method": "real"})
    first, second, _ = stream[0]
    small.post_adapt(None, first)
    with pytest.raises(UserError, match=r"would hold 4 images; allowed: at most 2"):
        small.post_adapt(None, second)
    normalised = torch.utils.data.TensorDataset(torch.randn(8, 1, 8, 8), torch.tensor([0, 1] * 4))
    stream_of_it = benchmarks.class_incremental_benchmark({"train": normalised}, num_experiences=1)
    with pytest.raises(UserError, match=r"train_images: float32 from .*; allowed are uint8, floats in \[0, 1\]"):
        replay.DistillingBuffer(tmp_path, ipc=1, classes=2, fields=FIELDS).post_adapt(
            None, stream_of_it.train_stream[0]
        )
