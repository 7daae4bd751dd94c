"""From a detector signal to what the network takes: one way for training and inference."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from SyntheXLib.networks.transunet import PATCH, NetworkOutput
from SyntheXLib.rendering.display import SIGNAL_FLOOR

_SMALLEST_DEVIATION = 1e-6


def log_image(signal: Tensor) -> Tensor:
    """Log image of a linear detector signal (open beam = 1), any shape: `rendering.display.log_image` in torch."""
    return -torch.log(signal.clamp_min(SIGNAL_FLOOR))


def normalize(batch: Tensor) -> Tensor:
    """Give each image mean 0 and standard deviation 1.

    Parameters
    ----------
    batch
        Log images (B, 1, H, W), bone bright, as `log_image` or `rendering.display.log_image` makes them (any other monotonous
        image with bright bone will do, since scale and offset cancel).

    Returns
    -------
    Tensor
        float32 (B, 1, H, W), what the network takes. An image without any contrast becomes zeros.
    """
    batch = batch.float()
    deviation, mean = torch.std_mean(batch, dim=(1, 2, 3), keepdim=True, unbiased=False)
    return (batch - mean) / deviation.clamp_min(_SMALLEST_DEVIATION)


def pad_to_patches(batch: Tensor, multiple: int = PATCH) -> tuple[Tensor, tuple[int, int]]:
    """Pad images by reflection, as evenly as can be on both sides, until their sides are multiples of `multiple`.

    Returns
    -------
    tuple
        The padded batch (B, C, H', W') and where the image begins in it, (row, column).
    """
    height, width = batch.shape[2:]
    extra_rows, extra_columns = -height % multiple, -width % multiple
    top, left = extra_rows // 2, extra_columns // 2
    if not extra_rows and not extra_columns:
        return batch, (0, 0)
    return functional.pad(batch, (left, extra_columns - left, top, extra_rows - top), mode="reflect"), (top, left)


def forward_any_size(network: torch.nn.Module, batch: Tensor) -> NetworkOutput:
    """Run the network on normalised images (B, 1, H, W) of any size of at least 16: padded on the way in, cropped on the way out."""
    height, width = batch.shape[2:]
    padded, (top, left) = pad_to_patches(batch, getattr(network, "multiple", PATCH))
    segmentation, heatmaps, presence = NetworkOutput(*network(padded))
    crop = (..., slice(top, top + height), slice(left, left + width))
    return NetworkOutput(segmentation[crop], heatmaps[crop], presence)
