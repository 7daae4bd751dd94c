"""The generator of CycleGAN (Zhu et al. 2017, arXiv:1703.10593): images of one domain in, images of another out, of the same size."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

MULTIPLE = 4  # of which the sides of an image must be


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with instance norm, padded by reflection, added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return features + self.body(features)


class ResNetGenerator(nn.Module):
    """A 7x7 convolution, two halvings, residual blocks, two doublings, a 7x7 convolution and tanh.

    Parameters
    ----------
    blocks
        Residual blocks; the paper has 6 at 128 pixels and 9 from 256 on.
    width
        Channels of the first convolution; doubled with each halving.
    """

    def __init__(self, blocks: int = 9, width: int = 64) -> None:
        super().__init__()
        self.blocks = blocks
        self.width = width
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(1, width, 7), nn.InstanceNorm2d(width), nn.ReLU(inplace=True)]
        for channels in (width, 2 * width):
            layers += [
                nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1),
                nn.InstanceNorm2d(2 * channels),
                nn.ReLU(inplace=True),
            ]
        layers += [ResidualBlock(4 * width) for _ in range(blocks)]
        for channels in (4 * width, 2 * width):
            layers += [
                nn.ConvTranspose2d(channels, channels // 2, 3, stride=2, padding=1, output_padding=1),
                nn.InstanceNorm2d(channels // 2),
                nn.ReLU(inplace=True),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 1, 7), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """Translate (B, 1, H, W) in -1 .. 1; H and W multiples of 4, at least 16."""
        return self.layers(image)


def blocks_for(side: int) -> int:
    """Residual blocks that the paper takes for images of `side` pixels: 6 below 256, else 9."""
    return 9 if side >= 256 else 6


def translate_any_size(generator: nn.Module, image: Tensor) -> Tensor:
    """Translate (B, 1, H, W) of any size of at least 16: padded by reflection on the way in, cropped on the way out."""
    height, width = image.shape[2:]
    padded = functional.pad(image, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="reflect")
    translated: Tensor = generator(padded)
    return translated[..., :height, :width]


class GrayRange:
    """From log images of one domain to -1 .. 1 and back, the same for all of its images.

    Parameters
    ----------
    low, high
        Log values that become -1 and 1; what lies beyond is cut off.
    """

    def __init__(self, low: float, high: float) -> None:
        self.low = low
        self.high = high

    @staticmethod
    def of(images: Tensor) -> GrayRange:
        """Range between the 0.1st and the 99.9th percentile of log images of any shape."""
        values = images.flatten().float()
        # torch.quantile takes 16 million values at most; every n-th pixel tells as much.
        values = values[:: max(1, values.numel() // 4_000_000)]
        low, high = torch.quantile(values, torch.tensor([0.001, 0.999])).tolist()
        return GrayRange(low, max(high, low + 1e-3))

    def scale(self, images: Tensor) -> Tensor:
        """Log images to -1 .. 1."""
        return ((images - self.low) / (self.high - self.low) * 2 - 1).clamp(-1, 1)

    def unscale(self, images: Tensor) -> Tensor:
        """The way back."""
        return (images + 1) / 2 * (self.high - self.low) + self.low
