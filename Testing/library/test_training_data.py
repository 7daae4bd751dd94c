"""Data sets as tensors, and the order in which they are seen."""

from pathlib import Path

import numpy as np
import pytest
import torch
from toy_training import SIZE, config

from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.training.data import EpochSampler, XrayTensors, make_loader
from SyntheXLib.training.run import train


def test_every_epoch_has_its_own_order_of_all_images() -> None:
    sampler = EpochSampler(range(50), seed=1)
    orders = []
    for epoch in (1, 2, 1):
        sampler.epoch = epoch
        orders.append(list(sampler))
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(50))


def test_the_order_of_the_images_changes_from_epoch_to_epoch_in_a_run(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    load = XrayTensors.load
    monkeypatch.setattr(XrayTensors, "load", lambda self, indices: seen.extend(indices) or load(self, indices))
    monkeypatch.setattr(XrayTensors, "hold_in_memory", lambda self, limit: False)
    train(config(toy, tmp_path, epochs=2, validation_fraction=0))
    assert sorted(seen[:24]) == sorted(seen[24:]) == list(range(24))
    assert seen[:24] != seen[24:]


def test_samples_become_tensors(toy: Path) -> None:
    source = XrayDataset(toy)
    data = XrayTensors([source, source])
    batch = data.load([3, 27])
    sample = source[3]
    assert len(data) == 48
    torch.testing.assert_close(batch.image[0, 0], torch.from_numpy(-np.log(sample.image)))
    assert torch.equal(batch.image[0], batch.image[1])
    expected = np.where(sample.mask & 2, 2, np.where(sample.mask & 1, 1, 0))
    assert batch.labels.dtype == torch.uint8
    assert np.array_equal(batch.labels[0, 0].numpy(), expected)
    assert np.array_equal(batch.landmarks[0].numpy(), sample.landmarks)
    data.hold_in_memory(1000)
    for held, read in zip(data.load([3, 27]), batch, strict=True):
        assert torch.equal(held, read)


def test_another_image_size_carries_labels_and_landmarks_along(toy: Path) -> None:
    source = XrayDataset(toy)
    data = XrayTensors([source], image_size=2 * SIZE)
    batch = data.load([0])
    assert batch.image.shape == (1, 1, 2 * SIZE, 2 * SIZE)
    assert data.pixel_spacing_mm == 1
    for n in range(2):
        mask = torch.from_numpy((source[0].mask >> n & 1).astype(np.float32))
        row, column = (mask > 0).nonzero().float().mean(0)
        torch.testing.assert_close(2 * (torch.stack([column, row]) + 0.5) - 0.5, batch.landmarks[0, n], rtol=0, atol=1.0)
    row, column = (batch.labels[0, 0] == 2).nonzero().float().mean(0)
    torch.testing.assert_close(torch.stack([column, row]), batch.landmarks[0, 1], rtol=0, atol=1.0)


def test_large_data_sets_are_not_held_in_memory(toy: Path) -> None:
    data = XrayTensors([XrayDataset(toy)])
    assert not data.hold_in_memory(0)
    assert data.hold_in_memory(1)
    assert make_loader(data, range(3), 2, workers=4, pin=False).num_workers == 0
