"""The convolutional front of TransUNet: a ResNet with group norm that hands on three skips."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

_STANDARDIZATION_EPSILON = 1e-5  # of the released network; Google's weights were made with 1e-8


class StandardizedConv2d(nn.Conv2d):
    """Convolution whose filters have mean 0 and variance 1 when they are applied (Qiao et al. 2019, arXiv:1903.10520)."""

    def forward(self, image: Tensor) -> Tensor:
        """Convolve (B, C, H, W)."""
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, unbiased=False)
        weight = (self.weight - mean) * torch.rsqrt(variance + _STANDARDIZATION_EPSILON)
        return functional.conv2d(image, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, standardized: bool = True) -> nn.Conv2d:
    kind = StandardizedConv2d if standardized else nn.Conv2d
    return kind(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolution with a shortcut, activated after the sum.

    The names of the members are those of the released checkpoints.

    Parameters
    ----------
    inputs, outputs, middle
        Channels.
    stride
        Of the 3x3 convolution and the shortcut.
    groups
        Groups of the norms.
    standardized
        Standardise the filters.
    """

    def __init__(self, inputs: int, outputs: int, middle: int, stride: int, groups: int, standardized: bool) -> None:
        super().__init__()
        self.gn1 = nn.GroupNorm(groups, middle, eps=1e-6)
        self.conv1 = _conv(inputs, middle, 1, standardized=standardized)
        self.gn2 = nn.GroupNorm(groups, middle, eps=1e-6)
        self.conv2 = _conv(middle, middle, 3, stride, standardized)
        self.gn3 = nn.GroupNorm(groups, outputs, eps=1e-6)
        self.conv3 = _conv(middle, outputs, 1, standardized=standardized)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = _conv(inputs, outputs, 1, stride, standardized)
            # One group a channel: what the released network has, where Google's has 32 groups.
            self.gn_proj = nn.GroupNorm(outputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        shortcut = features if self.downsample is None else self.gn_proj(self.downsample(features))
        features = self.relu(self.gn1(self.conv1(features)))
        features = self.relu(self.gn2(self.conv2(features)))
        features = self.gn3(self.conv3(features))
        return self.relu(features + shortcut)


class HybridResNet(nn.Module):
    """Stem and three stages: from the image to 1/16 of its size.

    Parameters
    ----------
    inputs
        Channels of the image.
    width
        Channels of the stem; the stages have 4, 8 and 16 times as many.
    blocks
        Bottlenecks in each stage.
    groups
        Groups of the norms.
    standardized
        Standardise the filters.
    """

    def __init__(self, inputs: int, width: int, blocks: tuple[int, int, int], groups: int, standardized: bool) -> None:
        super().__init__()
        self.root = nn.Sequential(
            OrderedDict(
                conv=_conv(inputs, width, 7, 2, standardized),
                gn=nn.GroupNorm(groups, width, eps=1e-6),
                relu=nn.ReLU(inplace=True),
            )
        )
        self.body = nn.Sequential()
        channels = width
        for stage, count in enumerate(blocks):
            outputs = width * 4 * 2**stage
            units: OrderedDict[str, nn.Module] = OrderedDict()
            for unit in range(count):
                stride = 2 if stage and unit == 0 else 1
                units[f"unit{unit + 1}"] = Bottleneck(channels, outputs, outputs // 4, stride, groups, standardized)
                channels = outputs
            self.body.add_module(f"block{stage + 1}", nn.Sequential(units))

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features of (B, inputs, H, W), H and W multiples of 16.

        Returns
        -------
        tuple
            (B, 16 width, H / 16, W / 16) and the skips at 1/8, 1/4 and 1/2, of 8, 4 and 1 times `width` channels.
        """
        stem = self.root(image)
        # Without padding, as released: 192 becomes 95, and only the skip is filled up to 96 again.
        quarter = self.body[0](functional.max_pool2d(stem, 3, 2))
        eighth = self.body[1](quarter)
        skip = functional.pad(quarter, (0, 1, 0, 1))
        return self.body[2](eighth), [eighth, skip, stem]
