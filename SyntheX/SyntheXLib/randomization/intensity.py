"""Effects on grey values alone: each new value follows from the old one at the same place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.randomization.effect import Limits, integers, intensity_range, per_image, scaled, uniform


@dataclass(frozen=True)
class Noise:
    """Gaussian noise; its standard deviation, a share of the image's intensity range, is drawn between limits."""

    deviation: Limits = (0.005, 0.1)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        low, high = intensity_range(batch.image)
        deviation = per_image(uniform(len(batch.image), self.deviation, generator)) * (high - low)
        noise = torch.randn(batch.image.shape, generator=generator, device=batch.image.device, dtype=batch.image.dtype)
        return batch._replace(image=batch.image + deviation * noise)


@dataclass(frozen=True)
class Gamma:
    """A power of the image scaled to 0 .. 1 by its minimum and maximum."""

    exponent: Limits = (0.7, 1.3)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        return batch._replace(image=change_gamma(batch.image, uniform(len(batch.image), self.exponent, generator)))


def change_gamma(image: Tensor, gamma: Tensor) -> Tensor:
    """Raise images (B, 1, H, W), scaled to 0 .. 1 by minimum and maximum, to the power `gamma` (B,), and scale them back."""
    values, low, span = scaled(image)
    return low + span * values.clamp(0, 1) ** per_image(gamma)


@dataclass(frozen=True)
class Invert:
    """max(x) - x."""

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        return batch._replace(image=intensity_range(batch.image)[1] - batch.image)


@dataclass(frozen=True)
class LinearContrast:
    """0.5 + gain (x - 0.5) on the image scaled to 0 .. 1, cut to that range."""

    gain: Limits = (0.5, 2.0)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        values, low, span = scaled(batch.image)
        gain = per_image(uniform(len(values), self.gain, generator))
        return batch._replace(image=low + span * (0.5 + gain * (values - 0.5)).clamp(0, 1))


@dataclass(frozen=True)
class LogContrast:
    """gain log2(1 + x) on the image scaled to 0 .. 1, cut to that range."""

    gain: Limits = (0.6, 1.4)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        values, low, span = scaled(batch.image)
        gain = per_image(uniform(len(values), self.gain, generator))
        return batch._replace(image=low + span * (gain * torch.log2(1 + values)).clamp(0, 1))


@dataclass(frozen=True)
class SigmoidContrast:
    """1 / (1 + exp(gain (cutoff - x))) on the image scaled to 0 .. 1."""

    gain: Limits = (3.0, 10.0)
    cutoff: Limits = (0.4, 0.6)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        values, low, span = scaled(batch.image)
        gain, cutoff = (per_image(uniform(len(values), limits, generator)) for limits in (self.gain, self.cutoff))
        return batch._replace(image=low + span * torch.sigmoid(gain * (values - cutoff)))


@dataclass(frozen=True)
class Brightness:
    """The image times a factor."""

    factor: Limits = (0.5, 1.5)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        return batch._replace(image=batch.image * per_image(uniform(len(batch.image), self.factor, generator)))


@dataclass(frozen=True)
class PixelBrightness:
    """Each pixel times a factor of its own."""

    factor: Limits = (0.5, 1.5)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        return batch._replace(image=batch.image * uniform(tuple(batch.image.shape), self.factor, generator))


@dataclass(frozen=True)
class Window:
    """Display window: cut at two percentiles of the image, so that the darkest and brightest parts saturate.

    Attributes
    ----------
    dark, bright
        Limits of the shares of the pixels (0 .. 1) that are cut at either end.
    """

    dark: Limits = (0.0, 0.05)
    bright: Limits = (0.0, 0.05)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        ordered = batch.image.flatten(1).sort(1).values
        last = ordered.shape[1] - 1
        dark, bright = (uniform(len(ordered), limits, generator) for limits in (self.dark, self.bright))
        low = ordered.gather(1, (dark * last).long()[:, None])
        high = ordered.gather(1, ((1 - bright) * last).long()[:, None])
        return batch._replace(image=batch.image.clamp(per_image(low[:, 0]), per_image(high[:, 0])))


@dataclass(frozen=True)
class Illumination:
    """A smooth field on the log image: the beam is brighter on one side, or in the middle, than flat-fielding took it for.

    The field is a x + b y + c (x^2 + y^2) with x and y from -1 to 1 over the image.

    Attributes
    ----------
    strength
        Largest size of a, b and c, as a share of the image's intensity range.
    """

    strength: float = 0.15

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        height, width = batch.image.shape[2:]
        y = torch.linspace(-1, 1, height, device=batch.image.device)[:, None]
        x = torch.linspace(-1, 1, width, device=batch.image.device)
        a, b, c = (per_image(part) for part in uniform((3, len(batch.image)), (-self.strength, self.strength), generator))
        low, high = intensity_range(batch.image)
        return batch._replace(image=batch.image + (high - low) * (a * x + b * y + c * (x**2 + y**2)))


@dataclass(frozen=True)
class Quantize:
    """As few grey values as a file of 8 bits holds, or fewer.

    Attributes
    ----------
    bits
        Limits of the bits a pixel.
    """

    bits: tuple[int, int] = (6, 8)

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `effect.Effect`."""
        values, low, span = scaled(batch.image)
        steps = per_image(2.0 ** integers(len(values), self.bits, generator) - 1)
        return batch._replace(image=low + span * (values * steps).round() / steps)
