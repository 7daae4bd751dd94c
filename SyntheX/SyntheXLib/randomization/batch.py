"""What is randomised together: images, their labels and their landmarks."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class XrayBatch(NamedTuple):
    """Images with their truth, all on one device.

    Attributes
    ----------
    image
        float32 (B, 1, H, W), log images (bone bright) before normalisation.
    labels
        uint8 (B, K, H, W): K = 1 exclusive label map, or one mask a structure.
    landmarks
        float32 (B, L, 2), (column, row); pixel (0, 0) is the centre of the first pixel; NaN where unknown.
    visible
        bool (B, L): inside the frame.
    """

    image: Tensor
    labels: Tensor
    landmarks: Tensor
    visible: Tensor


def inside_frame(landmarks: Tensor, shape: tuple[int, int]) -> Tensor:
    """Whether landmarks (..., 2), (column, row), lie on a pixel of a frame (H, W); False where NaN."""
    column, row = landmarks[..., 0], landmarks[..., 1]
    return (column >= -0.5) & (column < shape[1] - 0.5) & (row >= -0.5) & (row < shape[0] - 0.5)
