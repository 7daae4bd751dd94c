"""The network as other programs want it: one tensor in, one tensor out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class JoinedOutput(nn.Module):
    """Probabilities of the structures and heatmaps of the landmarks as channels of one tensor.

    Parameters
    ----------
    network
        Gives a `NetworkOutput`.
    exclusive
        Whether its segmentation has a background channel and classes that exclude each other.
    """

    def __init__(self, network: nn.Module, exclusive: bool) -> None:
        super().__init__()
        self.network = network
        self.exclusive = exclusive

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, H, W) normalised -> (B, C + L, H, W)."""
        output: Any = self.network(image)
        logits = output[0]
        probabilities = torch.softmax(logits, dim=1) if self.exclusive else torch.sigmoid(logits)
        return torch.cat([probabilities, output[1]], dim=1)


def bundle_network(folder: str) -> JoinedOutput:
    """The network of a bundle's description with random weights; what ``configs/inference.json`` names as its ``network_def``.

    Raises
    ------
    SyntheXError
        When the folder is no bundle of SyntheX.
    """
    from SyntheXLib.networks.model_file import build_network, read_model_description

    description = read_model_description(folder)
    return JoinedOutput(build_network(description), description.task["segmentation"] == "exclusive").eval()
