"""Effects that mix a pixel with its neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.randomization.effect import Limits, integers, per_image, uniform


def convolve(image: Tensor, kernels: Tensor) -> Tensor:
    """Correlate images (B, 1, H, W) with a kernel each, (B, h, w) of odd sides; the border is reflected."""
    height, width = kernels.shape[1:]
    # Images as channels of one, each in a group of its own.
    padded = functional.pad(image.transpose(0, 1), (width // 2, width // 2, height // 2, height // 2), mode="reflect")
    return functional.conv2d(padded, kernels[:, None], groups=len(kernels)).transpose(0, 1)


def gaussian_kernels(sigma: Tensor, reach: int) -> Tensor:
    """Normalised Gaussians (B, 2 reach + 1) of standard deviations `sigma` (B,), pixels; those of zero are a single one."""
    offset = torch.arange(-reach, reach + 1, device=sigma.device)
    weights = torch.exp(-0.5 * (offset / sigma.clamp_min(1e-3)[:, None]) ** 2)
    return weights / weights.sum(1, keepdim=True)


def box_kernels(side: Tensor, reach: int) -> Tensor:
    """Normalised boxes (B, 2 reach + 1) of `side` (B,) pixels; the outermost two of an even one count half, so that nothing moves."""
    offset = torch.arange(-reach, reach + 1, device=side.device)
    weights = ((side[:, None] + 1) / 2 - offset.abs()).clamp(0, 1)
    return weights / weights.sum(1, keepdim=True)


@dataclass(frozen=True)
class GaussianBlur:
    """A Gaussian whose standard deviation (pixels) is drawn between limits."""

    sigma: Limits = (3.0, 3.0)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        kernels = gaussian_kernels(uniform(len(batch.image), self.sigma, generator), int(3 * self.sigma[1]) + 1)
        return batch._replace(image=convolve(convolve(batch.image, kernels[:, None]), kernels[:, :, None]))


@dataclass(frozen=True)
class BoxBlur:
    """The mean of a square whose side (pixels) is drawn between limits, both included."""

    side: tuple[int, int] = (2, 7)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        kernels = box_kernels(integers(len(batch.image), self.side, generator), (self.side[1] + 1) // 2)
        return batch._replace(image=convolve(convolve(batch.image, kernels[:, None]), kernels[:, :, None]))


@dataclass(frozen=True)
class MotionBlur:
    """The mean along a straight line of a length (pixels) drawn between limits, in a random direction, as of a patient who moves."""

    length: Limits = (2.0, 9.0)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        count, reach = len(batch.image), int(self.length[1] / 2) + 1
        angle, length = uniform(count, (0, torch.pi), generator), uniform(count, self.length, generator)
        # Points along the line, each shared among its four neighbours.
        points = 16 * reach
        along = ((torch.arange(points, device=angle.device) + 0.5) / points - 0.5) * length[:, None]
        x, y = reach + along * torch.cos(angle)[:, None], reach + along * torch.sin(angle)[:, None]
        places = torch.arange(2 * reach + 1, device=angle.device)
        weights_x, weights_y = ((1 - (part[..., None] - places).abs()).clamp_min(0) for part in (x, y))
        kernels = torch.einsum("bny,bnx->byx", weights_y, weights_x)
        return batch._replace(image=convolve(batch.image, kernels / kernels.sum((1, 2), keepdim=True)))


@dataclass(frozen=True)
class Sharpen:
    """Blend with the sharpened image: each pixel `8 + lightness` times less its eight neighbours.

    Attributes
    ----------
    alpha
        Limits of the share of the sharpened image.
    lightness
        Limits of the sum of the kernel; 1 keeps the mean.
    """

    alpha: Limits = (0.0, 1.0)
    lightness: Limits = (1.0, 1.0)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        kernels = torch.full((len(batch.image), 3, 3), -1.0, device=batch.image.device)
        kernels[:, 1, 1] = 8 + uniform(len(kernels), self.lightness, generator)
        alpha = per_image(uniform(len(kernels), self.alpha, generator))
        return batch._replace(image=(1 - alpha) * batch.image + alpha * convolve(batch.image, kernels))


@dataclass(frozen=True)
class Emboss:
    """Add the relief: differences along the diagonal, the light from the lower right.

    Attributes
    ----------
    alpha
        Limits of the share that is added.
    strength
        Limits of the relief's own factor.
    """

    alpha: Limits = (0.0, 1.0)
    strength: Limits = (1.0, 1.0)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        relief = torch.tensor([[-1.0, -1.0, 0.0], [-1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], device=batch.image.device)
        factor = uniform(len(batch.image), self.alpha, generator) * uniform(len(batch.image), self.strength, generator)
        return batch._replace(image=batch.image + convolve(batch.image, factor[:, None, None] * relief))


# How a square of pixels becomes one value; `values` has the pixels of a square in its last axis.
_POOLS = (
    lambda values: values.mean(-1),
    lambda values: values.amax(-1),
    lambda values: values.amin(-1),
    lambda values: values.median(-1).values,
)


@dataclass(frozen=True)
class Pool:
    """Squares of pixels become one value, their mean, largest, least or median, shown at the old size again.

    Attributes
    ----------
    side
        Limits of the squares' side, pixels, both included.
    """

    side: tuple[int, int] = (2, 4)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        sides, kinds = integers(len(batch.image), self.side, generator), integers(len(batch.image), (0, len(_POOLS) - 1), generator)
        image = batch.image.clone()
        for side in range(self.side[0], self.side[1] + 1):
            for kind in range(len(_POOLS)):
                rows = ((sides == side) & (kinds == kind)).nonzero()[:, 0]
                if len(rows):
                    image[rows] = pooled(batch.image[rows], side, kind)
        return batch._replace(image=image)


def pooled(image: Tensor, side: int, kind: int) -> Tensor:
    """Images (B, 1, H, W) in squares of `side`; `kind` 0 mean, 1 largest, 2 least, 3 median (of an even number the lower middle)."""
    height, width = image.shape[2:]
    padded = functional.pad(image, (0, -width % side, 0, -height % side), mode="replicate")
    squares = padded.unfold(2, side, side).unfold(3, side, side).flatten(4)
    small = _POOLS[kind](squares)
    return small.repeat_interleave(side, 2).repeat_interleave(side, 3)[:, :, :height, :width]
