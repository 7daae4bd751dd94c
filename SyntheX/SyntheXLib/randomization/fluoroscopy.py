"""Effects of an X-ray room: collimator, side marker, polarity of the display."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.randomization.effect import Limits, intensity_range, per_image, uniform


@dataclass(frozen=True)
class CollimatorEdges:
    """Blades or an iris cover the border; what they cover is neither labelled nor visible.

    Attributes
    ----------
    field
        Limits of the open field's half sides, or radius, as a share of the image's half side; above 1 it may lie outside.
    iris
        Probability of a round field.
    turn_deg
        Limits of the blades' rotation.
    shutter
        Probability that the covered part is shown black, as consoles do; else it is as dark on the detector as it is: bright in the log
        image.
    edge
        Width of the penumbra as a share of the image's half side.
    """

    field: Limits = (0.6, 1.05)
    iris: float = 0.3
    turn_deg: Limits = (-20.0, 20.0)
    shutter: float = 0.5
    edge: float = 0.02

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        count, _, height, width = batch.image.shape
        half = uniform((2, count), self.field, generator)[:, :, None, None]
        center = uniform((2, count), (-0.1, 0.1), generator)[:, :, None, None]
        angle = torch.deg2rad(uniform(count, self.turn_deg, generator))[:, None, None]
        is_round = uniform(count, (0, 1), generator)[:, None, None] < self.iris
        shut = per_image(uniform(count, (0, 1), generator) < self.shutter)

        def inside(x: Tensor, y: Tensor) -> Tensor:
            """Distance to the edge of the field, positive within; (B, ...) of points in -1 .. 1."""
            x, y = x - center[0], y - center[1]
            along, across = torch.cos(angle) * x + torch.sin(angle) * y, torch.cos(angle) * y - torch.sin(angle) * x
            blades = torch.minimum(half[0] - along.abs(), half[1] - across.abs())
            return torch.where(is_round, half[0] - torch.hypot(x, y), blades)

        y = ((torch.arange(height, device=angle.device) * 2 + 1) / height - 1)[None, :, None]
        x = ((torch.arange(width, device=angle.device) * 2 + 1) / width - 1)[None, None, :]
        distance = inside(x, y)[:, None]
        open_share = (distance / self.edge + 0.5).clamp(0, 1)
        low, high = intensity_range(batch.image)
        covered = torch.where(shut, low, high)
        image = open_share * batch.image + (1 - open_share) * covered
        labels = batch.labels * (distance > 0)
        size = torch.tensor([width, height], device=angle.device)
        places = (2 * torch.nan_to_num(batch.landmarks) + 1) / size - 1
        visible = batch.visible & (inside(places[:, :, :1], places[:, :, 1:])[:, :, 0] > 0)
        return XrayBatch(image, labels, batch.landmarks, visible)


# Letters of lead, five by seven.
_LETTERS = {
    "L": ("10000", "10000", "10000", "10000", "10000", "10000", "11111"),
    "R": ("11110", "10001", "10001", "11110", "10100", "10010", "10001"),
}


@dataclass(frozen=True)
class SideMarker:
    """A letter of lead, L or R, upright somewhere near the border; it covers nothing that is labelled, since one sees through to know.

    Attributes
    ----------
    height
        Limits of the letter's height as a share of the image's.
    """

    height: Limits = (0.06, 0.12)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        count, _, rows, columns = batch.image.shape
        letters = torch.tensor([[list(map(float, line)) for line in letter] for letter in _LETTERS.values()], device=batch.image.device)
        chosen = letters[(uniform(count, (0, len(letters)), generator)).long().clamp(max=len(letters) - 1)][:, None]
        height = uniform(count, self.height, generator)
        width = height * 5 / 7 * rows / columns
        # Its middle lies within a sixth of the image from a border.
        along, depth = uniform(count, (-0.9, 0.9), generator), 1 - uniform(count, (0.08, 1 / 3), generator)
        side = uniform(count, (0, 4), generator).long()
        sign = torch.where(side % 2 == 0, -1.0, 1.0)
        x, y = torch.where(side < 2, sign * depth, along), torch.where(side < 2, along, sign * depth)
        maps = torch.zeros(count, 2, 3, device=batch.image.device)
        maps[:, 0, 0], maps[:, 1, 1] = 1 / width, 1 / height
        maps[:, 0, 2], maps[:, 1, 2] = -x / width, -y / height
        grid = functional.affine_grid(maps, [count, 1, rows, columns], align_corners=False)
        lead = functional.grid_sample(chosen, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        return batch._replace(image=batch.image + lead * (intensity_range(batch.image)[1] - batch.image))


@dataclass(frozen=True)
class Polarity:
    """Bright and dark exchanged within the image's own range: max + min - x, as a display does."""

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        low, high = intensity_range(batch.image)
        return batch._replace(image=high + low - batch.image)
