"""What radiographs went through that simulated views did not: the vendor's processing, opacities, leads; and a preset of it for chests.

Radiographs of archives and journals are not the detector's signal: grey levels were mapped by curves of the vendor's, local contrast was
evened out, the picture cropped, turned to negative and marked. None of that is known of a picture, so it is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.randomization.effect import (
    Effect,
    InOrder,
    Limits,
    SomeOf,
    Sometimes,
    integers,
    intensity_range,
    per_image,
    scaled,
    uniform,
)
from SyntheXLib.randomization.filters import GaussianBlur, Sharpen, convolve, gaussian_kernels
from SyntheXLib.randomization.fluoroscopy import CollimatorEdges, Polarity, SideMarker
from SyntheXLib.randomization.intensity import Gamma, Illumination, Noise, Quantize, Window
from SyntheXLib.randomization.warps import Affine, LocalDistortion, Mirror, mirrored_places
from SyntheXLib.tasks.task import Task


@dataclass(frozen=True)
class ToneCurve:
    """A rising curve of grey values through random points, as the look-up tables of vendors; minimum and maximum stay.

    Attributes
    ----------
    parts
        Straight parts of the curve.
    spread
        Standard deviation of the logarithm of their slopes.
    """

    parts: int = 5
    spread: float = 0.7

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        values, low, span = scaled(batch.image)
        slopes = (self.spread * torch.randn((len(values), self.parts), generator=generator, device=values.device)).exp()
        knots = functional.pad(slopes.cumsum(1) / slopes.sum(1, keepdim=True), (1, 0))
        place = values.flatten(1) * self.parts
        part = place.long().clamp(0, self.parts - 1)
        begin, end = knots.gather(1, part), knots.gather(1, part + 1)
        curved = begin + (end - begin) * (place - part)
        return batch._replace(image=low + span * curved.reshape(values.shape))


@dataclass(frozen=True)
class Equalize:
    """Histogram equalisation: every grey level becomes its rank, to a share that is drawn."""

    share: Limits = (0.3, 1.0)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        values, low, span = scaled(batch.image)
        flat = values.flatten(1).contiguous()
        rank = torch.searchsorted(flat.sort(1).values, flat).float() / (flat.shape[1] - 1)
        share = uniform(len(values), self.share, generator)[:, None]
        return batch._replace(image=low + span * (share * rank + (1 - share) * flat).reshape(values.shape))


@dataclass(frozen=True)
class LocalContrast:
    """Large-scale contrast damped, detail raised, and that evened out over the image, as multiscale processing and CLAHE do.

    Attributes
    ----------
    scale
        Limits of the standard deviation of the Gaussian that tells detail from the large scale, as a share of the image's side.
    kept
        Limits of the factor on the large scale.
    evened
        Limits of the exponent with which detail is divided by its own local standard deviation: 0 leaves it, 1 makes it alike everywhere.
    """

    scale: Limits = (0.04, 0.25)
    kept: Limits = (0.2, 1.0)
    evened: Limits = (0.0, 0.8)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        values, low, span = scaled(batch.image)
        scale = uniform(len(values), self.scale, generator) * max(values.shape[2:])
        base = smoothed(values, scale)
        detail = values - base
        local = smoothed(detail.square(), scale).clamp_min(0).sqrt()
        usual = local.mean((1, 2, 3), keepdim=True).clamp_min(1e-6)
        kept, evened = (per_image(uniform(len(values), limits, generator)) for limits in (self.kept, self.evened))
        raised = detail * (usual / (local + 0.1 * usual)) ** evened
        return batch._replace(image=low + span * (kept * base + raised))


def smoothed(image: Tensor, sigma: Tensor) -> Tensor:
    """Images (B, 1, H, W) under Gaussians as wide as one likes, `sigma` (B,) in pixels; at the border, of what lies inside."""

    def weights(side: int) -> Tensor:
        place = torch.arange(side, device=image.device, dtype=image.dtype)
        gaussian = torch.exp(-0.5 * ((place[:, None] - place) / sigma[:, None, None]) ** 2)
        return gaussian / gaussian.sum(2, keepdim=True)

    return (weights(image.shape[2]) @ image[:, 0] @ weights(image.shape[3]).transpose(1, 2))[:, None]


@dataclass(frozen=True)
class Opacities:
    """Soft bright ellipses, as consolidations, effusions and breasts; what is labelled stays labelled.

    Attributes
    ----------
    count
        Limits of their number, both included.
    radius
        Limits of their half axes, as a share of the image's side.
    strength
        Limits of what they add in their middle, as a share of the image's intensity range.
    edge
        Limits of the width of their margin, as a share of their size.
    """

    count: tuple[int, int] = (1, 3)
    radius: Limits = (0.05, 0.35)
    strength: Limits = (0.05, 0.4)
    edge: Limits = (0.1, 1.0)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        image, (height, width) = batch.image, batch.image.shape[2:]
        count = len(image)
        y = ((torch.arange(height, device=image.device) + 0.5) / height)[:, None]
        x = (torch.arange(width, device=image.device) + 0.5) / width
        low, high = intensity_range(image)
        wanted = integers(count, self.count, generator)
        added = torch.zeros_like(image)
        for number in range(self.count[1]):
            middle = [per_image(part) for part in uniform((2, count), (0.05, 0.95), generator)]
            axes = [per_image(part) for part in uniform((2, count), self.radius, generator)]
            angle, strength, edge = (per_image(uniform(count, limits, generator)) for limits in ((0, torch.pi), self.strength, self.edge))
            right, down = x - middle[0], y - middle[1]
            along, across = angle.cos() * right + angle.sin() * down, angle.cos() * down - angle.sin() * right
            distance = torch.hypot(along / axes[0], across / axes[1])
            added += per_image(wanted > number) * strength * torch.sigmoid((1 - distance) * 4 / edge)
        return batch._replace(image=image + (high - low) * added)


@dataclass(frozen=True)
class Leads:
    """Bright bent lines across the image: tubes, catheters, leads of the ECG.

    Attributes
    ----------
    count
        Limits of their number, both included.
    width
        Limits of the standard deviation of a line's profile, pixels; all lines of a batch's image share it.
    strength
        Limits of what a line adds, as a share of the image's intensity range.
    """

    count: tuple[int, int] = (1, 4)
    width: Limits = (0.5, 1.5)
    strength: Limits = (0.1, 0.5)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        image, (height, width) = batch.image, batch.image.shape[2:]
        images, most = len(image), self.count[1]
        # Quadratic Bezier curves, in shares of the image's sides, so finely that no pixel is left out.
        ends = uniform((3, images, most, 1, 2), (-0.1, 1.1), generator)
        t = torch.linspace(0, 1, 3 * max(height, width), device=image.device)[:, None]
        points = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * ends[1] + t**2 * ends[2]
        column, row = (points * torch.tensor([width, height], device=image.device)).floor().long().unbind(-1)
        drawn = torch.arange(most, device=image.device)[None, :, None] < integers(images, self.count, generator)[:, None, None]
        inside = drawn & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        canvas = torch.zeros(images, height * width + 1, device=image.device)  # the last takes what lies outside
        canvas.scatter_(1, torch.where(inside, row * width + column, height * width).flatten(1), 1.0)
        sigma = uniform(images, self.width, generator)
        kernels = gaussian_kernels(sigma, int(3 * self.width[1]) + 1)
        lines = convolve(convolve(canvas[:, :-1].reshape(image.shape), kernels[:, None]), kernels[:, :, None])
        lines = lines / lines.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)
        low, high = intensity_range(image)
        return batch._replace(image=image + (high - low) * per_image(uniform(images, self.strength, generator)) * lines)


def radiography_effects(level: str, task: Task, exclusive: bool) -> Effect:
    """The preset ``radiography``, regular or strong.

    Regular: mirrored, turned and scaled, any curve of grey values, noise. Strong: shapes bent, opacities and lines laid over, contrast
    processed, histogram equalised, cropped with black or white borders, marked, sharpened or blurred, of few grey levels, and a quarter of
    the images negative.
    """
    mirror = Sometimes(0.5, Mirror(mirrored_places(task.structures), mirrored_places(task.landmarks), exclusive))
    if level == "regular":
        geometry = Sometimes(0.8, Affine(rotation_deg=(-5.0, 5.0), scale=(0.9, 1.15), shift=0.05))
        return InOrder((mirror, geometry, Window(), ToneCurve(), Noise((0.0, 0.03))))
    processing = (
        Sometimes(0.5, LocalContrast()),
        Sometimes(0.5, Window((0.0, 0.1), (0.0, 0.1))),
        Sometimes(0.7, ToneCurve()),
        Sometimes(0.15, Equalize()),
        Sometimes(0.3, Gamma((0.5, 2.0))),
    )
    room = (SideMarker(), Illumination(), Quantize((4, 8)), GaussianBlur((0.5, 2.0)), Sharpen((0.1, 0.6)))
    return InOrder(
        (
            mirror,
            Sometimes(0.9, Affine(rotation_deg=(-10.0, 10.0), shear_deg=(-5.0, 5.0), scale=(0.8, 1.4), shift=0.12)),
            Sometimes(0.5, LocalDistortion(deviation=(0.01, 0.04))),
            Sometimes(0.4, Opacities()),
            Sometimes(0.3, Leads()),
            *processing,
            SomeOf((0, 2), room),
            Noise((0.0, 0.03)),
            Sometimes(0.3, CollimatorEdges(field=(0.75, 1.05), iris=0.05, turn_deg=(-5.0, 5.0))),
            Sometimes(0.25, Polarity()),
        )
    )
