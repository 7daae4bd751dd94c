"""The decoder of TransUNet: from the encoded feature map back to the size of the image, with the skips of the front."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvNormReLU(nn.Sequential):
    """3x3 convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class DecoderBlock(nn.Module):
    """Bilinear upsampling by two (corners aligned, as released), concatenation with the skip, two convolutions."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = ConvNormReLU(inputs + skip, outputs)
        self.conv2 = ConvNormReLU(outputs, outputs)

    def forward(self, features: Tensor, skip: Tensor | None) -> Tensor:
        """Map (B, inputs, H, W) and a skip (B, C, 2 H, 2 W) to (B, outputs, 2 H, 2 W)."""
        features = functional.interpolate(features, scale_factor=2, mode="bilinear", align_corners=True)
        if skip is not None:
            features = torch.cat([features, skip], dim=1)
        return self.conv2(self.conv1(features))


class Decoder(nn.Module):
    """A 3x3 convolution and one block for each halving that is undone.

    Parameters
    ----------
    width
        Channels of the encoded feature map.
    head
        Channels after the first convolution.
    channels
        Outputs of each block: four reach the size of the image, three half of it.
    skips
        Channels of the skips at 1/8, 1/4 and 1/2.
    """

    def __init__(self, width: int, head: int, channels: tuple[int, ...], skips: tuple[int, int, int]) -> None:
        super().__init__()
        self.conv_more = ConvNormReLU(width, head)
        inputs = (head, *channels[:-1])
        joined = (*skips, 0)
        self.blocks = nn.ModuleList(DecoderBlock(*sizes) for sizes in zip(inputs, joined, channels, strict=False))

    def forward(self, features: Tensor, skips: list[Tensor]) -> Tensor:
        """Map (B, width, H / 16, W / 16) and the skips to (B, channels[-1], H, W), or half that size with three blocks."""
        features = self.conv_more(features)
        for block, skip in zip(self.blocks, [*skips, None], strict=False):
            features = block(features, skip)
        return features
