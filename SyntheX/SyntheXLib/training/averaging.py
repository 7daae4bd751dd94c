"""Weights averaged over the steps of a training, which serve better than the last ones."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class AveragedWeights:
    """Exponential moving average of a network's weights and buffers.

    Parameters
    ----------
    network
        What is averaged; the copy stays on its device.
    decay
        Share that the average keeps in a step. In the first steps it is (1 + n) / (10 + n) where that is smaller, so that the random start
        is soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.network = copy.deepcopy(network).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        share = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        ours, theirs = self.network.state_dict(), network.state_dict()
        floats = [name for name, value in ours.items() if value.is_floating_point()]
        torch._foreach_lerp_([ours[name] for name in floats], [theirs[name] for name in floats], share)
        for name in ours.keys() - set(floats):
            ours[name].copy_(theirs[name])

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"steps": self.steps, "weights": self.network.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.steps = state["steps"]
        self.network.load_state_dict(state["weights"])
