"""The convolutional front of TransUNet: a ResNet with group norm that hands on three skips.

It comes as two networks with the same weights. ``"transunet"`` computes what the released TransUNet computes, ``"vit"`` what the network
computes whose pretrained weights TransUNet starts from (timm's ``vit_base_r50_s16``): convolutions with stride and the pooling pad as
TensorFlow's SAME does, the norm of a shortcut has as many groups as the others, and two small constants differ.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

COMPATIBILITIES = ("transunet", "vit")
_STANDARDIZATION_EPSILON = {"transunet": 1e-5, "vit": 1e-8}
_NORM_EPSILON = {"transunet": 1e-6, "vit": 1e-5}


class PaddedConv2d(nn.Conv2d):
    """Convolution that can pad as TensorFlow's SAME does: on even sides, with one pixel more behind than before."""

    same = False

    def forward(self, image: Tensor) -> Tensor:
        """Convolve (B, C, H, W)."""
        return self.convolve(image, self.weight)

    def convolve(self, image: Tensor, weight: Tensor) -> Tensor:
        """Convolve (B, C, H, W) with given filters."""
        if self.same:
            whole = weight.shape[2] - self.stride[0]
            before, after = whole // 2, whole - whole // 2
            image = functional.pad(image, (before, after, before, after))
        return functional.conv2d(image, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class StandardizedConv2d(PaddedConv2d):
    """Convolution whose filters have mean 0 and variance 1 when they are applied (Qiao et al. 2019, arXiv:1903.10520)."""

    epsilon = _STANDARDIZATION_EPSILON["transunet"]

    def forward(self, image: Tensor) -> Tensor:
        """Convolve (B, C, H, W)."""
        return self.convolve(image, self.standardized())

    def standardized(self) -> Tensor:
        """The filters as they are applied."""
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, unbiased=False)
        return (self.weight - mean) * torch.rsqrt(variance + self.epsilon)


class FixedConv2d(StandardizedConv2d):
    """A `StandardizedConv2d` whose filters were standardised once and for all, see `fix_filters`."""

    def standardized(self) -> Tensor:
        """The filters as they are."""
        return self.weight


def fix_filters(network: nn.Module) -> None:
    """Standardise all filters of a network in place, once instead of in each pass; afterwards it must not be trained or saved."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, StandardizedConv2d):
                module.weight.copy_(module.standardized())
                module.__class__ = FixedConv2d


class _Parts:
    """Makes convolutions and norms of one kind."""

    def __init__(self, groups: int, standardized: bool, compatibility: str) -> None:
        self.groups = groups
        self.standardized = standardized
        self.compatibility = compatibility

    def conv(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> PaddedConv2d:
        same = self.compatibility == "vit" and stride > 1 and kernel > 1
        kind = StandardizedConv2d if self.standardized else PaddedConv2d
        made = kind(inputs, outputs, kernel, stride=stride, padding=0 if same else kernel // 2, bias=False)
        made.same = same
        if isinstance(made, StandardizedConv2d):
            made.epsilon = _STANDARDIZATION_EPSILON[self.compatibility]
        return made

    def norm(self, channels: int) -> nn.GroupNorm:
        return nn.GroupNorm(self.groups, channels, eps=_NORM_EPSILON[self.compatibility])

    def shortcut_norm(self, channels: int) -> nn.GroupNorm:
        # One group a channel: what the released network has.
        return self.norm(channels) if self.compatibility == "vit" else nn.GroupNorm(channels, channels)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolution with a shortcut, activated after the sum.

    The names of the members are those of the released checkpoints.

    Parameters
    ----------
    inputs, outputs, middle
        Channels.
    stride
        Of the 3x3 convolution and the shortcut.
    parts
        Kind of convolutions and norms.
    """

    def __init__(self, inputs: int, outputs: int, middle: int, stride: int, parts: _Parts) -> None:
        super().__init__()
        self.gn1 = parts.norm(middle)
        self.conv1 = parts.conv(inputs, middle, 1)
        self.gn2 = parts.norm(middle)
        self.conv2 = parts.conv(middle, middle, 3, stride)
        self.gn3 = parts.norm(outputs)
        self.conv3 = parts.conv(middle, outputs, 1)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = parts.conv(inputs, outputs, 1, stride)
            self.gn_proj = parts.shortcut_norm(outputs)

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
    compatibility
        ``"transunet"`` or ``"vit"``, see the head of this file.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        blocks: tuple[int, int, int],
        groups: int,
        standardized: bool,
        compatibility: str = "transunet",
    ) -> None:
        super().__init__()
        parts = _Parts(groups, standardized, compatibility)
        self.compatibility = compatibility
        self.root = nn.Sequential(
            OrderedDict(
                conv=parts.conv(inputs, width, 7, 2),
                gn=parts.norm(width),
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
                units[f"unit{unit + 1}"] = Bottleneck(channels, outputs, outputs // 4, stride, parts)
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
        if self.compatibility == "vit":
            padded = functional.pad(stem, (0, 1, 0, 1), value=-torch.inf)
            skip = quarter = self.body[0](functional.max_pool2d(padded, 3, 2))
        else:
            # Without padding, as released: 192 becomes 95, and only the skip is filled up to 96 again.
            quarter = self.body[0](functional.max_pool2d(stem, 3, 2))
            skip = functional.pad(quarter, (0, 1, 0, 1))
        eighth = self.body[1](quarter)
        return self.body[2](eighth), [eighth, skip, stem]
