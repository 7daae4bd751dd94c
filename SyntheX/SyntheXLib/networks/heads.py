"""Heads of a network that the released one does not have: deeper heatmaps, and which landmarks are there at all."""

from __future__ import annotations

from torch import Tensor, nn

LANDMARK_HEADS = ("linear", "deep")
_GROUPS = 8


class DeepLandmarkHead(nn.Sequential):
    """Two 3x3 convolutions with group norm and ReLU, then one map a landmark; the released head is a linear map in each pixel.

    Parameters
    ----------
    inputs
        Channels of decoder and segmentation together.
    landmarks
        Maps.
    width
        Channels between, a multiple of 8.
    """

    def __init__(self, inputs: int, landmarks: int, width: int = 32) -> None:
        super().__init__(
            nn.Conv2d(inputs, width, 3, padding=1, bias=False),
            nn.GroupNorm(_GROUPS, width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.GroupNorm(_GROUPS, width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, landmarks, 1),
        )


class PresenceHead(nn.Module):
    """Whether each landmark is inside the frame, from the mean of all tokens.

    With NCC the heatmap of a landmark outside is left free, so its height tells nothing; this head does.
    """

    def __init__(self, width: int, landmarks: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, landmarks)

    def forward(self, encoded: Tensor) -> Tensor:
        """Logits (B, L) of the encoded feature map (B, width, h, w)."""
        return self.linear(self.norm(encoded.mean((2, 3))))
