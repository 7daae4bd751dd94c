"""How good the network is after an epoch."""

import math

import numpy as np
import pytest
import torch

from SyntheXLib.networks.losses import Targets
from SyntheXLib.networks.transunet import NetworkOutput
from SyntheXLib.training.validation import ValidationMetrics, hard_dice


def test_hard_dice_is_that_of_the_most_likely_label_and_nothing_where_there_is_nothing() -> None:
    labels = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    labels[..., :2, :] = 1
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 1, :1] = 5
    logits[:, 0, 1:] = 5
    dice = hard_dice(logits, labels, exclusive=True)
    assert dice[0, 0].item() == pytest.approx(2 * 4 / (4 + 8))
    assert dice[0, 1].isnan()


def test_validation_metrics_pool_images_and_take_the_median_of_visible_landmarks() -> None:
    metrics = ValidationMetrics(exclusive=True, pixel_spacing_mm=2.0)
    labels = torch.zeros(1, 1, 16, 16, dtype=torch.uint8)
    labels[..., :4] = 1
    good = 10 * torch.nn.functional.one_hot(labels[:, 0].long(), 2).permute(0, 3, 1, 2).float()
    maps = torch.full((1, 4, 16, 16), -1.0)
    for n, column in enumerate((5, 6, 7, 9)):
        maps[0, n, 8, column] = 1
    truth = torch.tensor([[[5.0, 8.0]] * 3 + [[math.nan, math.nan]]])
    visible = torch.tensor([[True, True, True, False]])
    for logits in (good, -good):
        metrics.update((*NetworkOutput(logits, maps), *Targets(labels, truth, visible)))
    result = metrics.compute()
    assert result["dice"] == pytest.approx(0.5)
    assert result["landmark_px"] == pytest.approx(1)
    assert result["landmark_mm"] == pytest.approx(2)
    assert result["score"] == pytest.approx((0.5 + np.mean([1, 1 - 2 / 20, 1 - 4 / 20])) / 2)
