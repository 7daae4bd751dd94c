"""Effects that replace what the image shows in places: pixels, cells and boxes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.randomization.effect import Limits, integers, intensity_range, per_image, uniform


def spots(batch: XrayBatch, share: Limits, cell: Limits | None, generator: torch.Generator) -> Tensor:
    """Where something is replaced, bool (B, 1, H, W): a `share` of the pixels, or of cells whose side is `cell`, a share of the image's."""
    count, _, height, width = batch.image.shape
    wanted = per_image(uniform(count, share, generator))
    if cell is None:
        return uniform((count, 1, height, width), (0, 1), generator) < wanted
    # One size of the cells a batch: a grid of another size for each image would be a loop.
    side = float(uniform(1, cell, generator))
    grid = (max(1, round(1 / side)),) * 2
    coarse = (uniform((count, 1, *grid), (0, 1), generator) < wanted).float()
    return functional.interpolate(coarse, (height, width), mode="nearest") > 0.5


@dataclass(frozen=True)
class SaltAndPepper:
    """A share of the pixels, or of cells, becomes the image's largest or least value.

    Attributes
    ----------
    share
        Limits of the share of the pixels.
    salt
        Probability that a replaced pixel becomes the largest value: 1 salt, 0 pepper, 0.5 impulse noise of both.
    cell
        Limits of the cells' side as a share of the image's; None replaces single pixels.
    """

    share: Limits = (0.1, 0.1)
    salt: float = 0.5
    cell: Limits | None = None

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        replaced = spots(batch, self.share, self.cell, generator)
        low, high = intensity_range(batch.image)
        bright = uniform(tuple(batch.image.shape), (0, 1), generator) < self.salt
        return batch._replace(image=torch.where(replaced, torch.where(bright, high, low), batch.image))


@dataclass(frozen=True)
class Dropout:
    """A share of the pixels, or of cells, becomes 0."""

    share: Limits = (0.01, 0.1)
    cell: Limits | None = None

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        return batch._replace(image=batch.image.masked_fill(spots(batch, self.share, self.cell, generator), 0))


def boxes(count: int, shape: tuple[int, int], area: Limits, generator: torch.Generator) -> Tensor:
    """One box an image, bool (B, 1, H, W), wholly inside: its `area` is a share of the image's, its sides are as 1:2 to 2:1."""
    height, width = shape
    share, aspect = uniform(count, area, generator), 2 ** uniform(count, (-1, 1), generator)
    sides = torch.stack([(share * aspect).sqrt(), (share / aspect).sqrt()]).clamp(max=1)
    place = uniform((2, count), (0, 1), generator) * (1 - sides)
    y = (torch.arange(height, device=share.device) + 0.5) / height
    x = (torch.arange(width, device=share.device) + 0.5) / width
    rows, columns = ((axis >= low[:, None]) & (axis < (low + side)[:, None]) for axis, low, side in zip((y, x), place, sides, strict=True))
    return (rows[:, :, None] & columns[:, None, :])[:, None]


@dataclass(frozen=True)
class BoxDropout:
    """One rectangle becomes 0; its area is a share of the image's, drawn between limits."""

    area: Limits = (0.02, 0.05)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        shape = (batch.image.shape[2], batch.image.shape[3])
        return batch._replace(image=batch.image.masked_fill(boxes(len(batch.image), shape, self.area, generator), 0))


@dataclass(frozen=True)
class BoxNoise:
    """Strong Gaussian noise in some boxes.

    Attributes
    ----------
    count
        Limits of the number of boxes, both included.
    area
        Limits of a box's area as a share of the image's.
    deviation
        Standard deviation of the noise as a share of the range of grey values within the box.
    """

    count: tuple[int, int] = (1, 5)
    area: Limits = (0.015, 0.03)
    deviation: float = 0.2

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        image, shape = batch.image, (batch.image.shape[2], batch.image.shape[3])
        wanted = integers(len(image), self.count, generator)
        for number in range(self.count[1]):
            box = boxes(len(image), shape, self.area, generator) & per_image(wanted > number)
            high = image.masked_fill(~box, -torch.inf).amax((1, 2, 3), keepdim=True)
            low = image.masked_fill(~box, torch.inf).amin((1, 2, 3), keepdim=True)
            span = torch.where(per_image(wanted > number), high - low, torch.zeros_like(low))
            noise = torch.randn(image.shape, generator=generator, device=image.device, dtype=image.dtype)
            image = torch.where(box, image + self.deviation * span * noise, image)
        return batch._replace(image=image)
