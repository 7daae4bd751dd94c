"""The loss of each image of a batch."""

from __future__ import annotations

import torch

from SyntheXLib.networks.losses import Targets, TaskLoss
from SyntheXLib.networks.transunet import NetworkOutput


@torch.no_grad()
def image_losses(loss: TaskLoss, output: NetworkOutput, targets: Targets) -> list[float]:
    """Losses of the images alone; `loss.parts` are afterwards those of the last."""
    found = []
    for number in range(len(targets.labels)):
        one = slice(number, number + 1)
        alone = NetworkOutput(*(maps if maps is None else maps[one] for maps in output))
        found.append(loss(alone, Targets(*(part[one] for part in targets))))
    return torch.stack(found).tolist()
