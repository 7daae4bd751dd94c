"""What an effect is, and how effects are put together: in a row, with a probability, one or some of several.

Every image of a batch is randomised on its own: who gets an effect is drawn, and the effect is applied to those images alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from SyntheXLib.randomization.batch import XrayBatch

Limits = tuple[float, float]


class Effect(Protocol):
    """Changes every image of a batch, its labels and landmarks with it."""

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """Return a changed batch of the same shapes; `generator`, on the batch's device, decides everything."""


@dataclass(frozen=True)
class InOrder:
    """Effects one after the other."""

    effects: Sequence[Effect]

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `Effect`."""
        for effect in self.effects:
            batch = effect(batch, generator)
        return batch


@dataclass(frozen=True)
class Sometimes:
    """An effect that every image gets with a probability."""

    probability: float
    effect: Effect

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `Effect`."""
        chosen = uniform(len(batch.image), (0, 1), generator) < self.probability
        return apply_to(self.effect, batch, chosen, generator)


@dataclass(frozen=True)
class SomeOf:
    """A number of different effects, drawn for every image, in the order in which they are listed.

    Attributes
    ----------
    count
        Smallest and largest number of effects, all numbers between equally likely.
    effects
        What is chosen from, all equally likely.
    """

    count: tuple[int, int]
    effects: Sequence[Effect]

    def __call__(self, batch: XrayBatch, generator: torch.Generator) -> XrayBatch:
        """See `Effect`."""
        images = len(batch.image)
        wanted = integers(images, self.count, generator)
        # The effects with the lowest of random numbers: each subset of a size is equally likely.
        place = uniform((images, len(self.effects)), (0, 1), generator).argsort(1).argsort(1)
        for number, effect in enumerate(self.effects):
            batch = apply_to(effect, batch, place[:, number] < wanted, generator)
        return batch


def one_of(*effects: Effect) -> SomeOf:
    """One effect of several for every image."""
    return SomeOf((1, 1), effects)


def apply_to(effect: Effect, batch: XrayBatch, chosen: Tensor, generator: torch.Generator) -> XrayBatch:
    """Apply an effect to the images where `chosen` (bool, (B,)) says so."""
    rows = chosen.nonzero()[:, 0]
    if len(rows) == 0:
        return batch
    changed = effect(XrayBatch(*(tensor[rows] for tensor in batch)), generator)
    return XrayBatch(*(before.index_copy(0, rows, after) for before, after in zip(batch, changed, strict=True)))


def uniform(shape: int | tuple[int, ...], limits: Limits, generator: torch.Generator) -> Tensor:
    """Uniform numbers between two limits, on the generator's device."""
    return limits[0] + (limits[1] - limits[0]) * torch.rand(shape, generator=generator, device=generator.device)


def integers(count: int, limits: tuple[int, int], generator: torch.Generator) -> Tensor:
    """`count` whole numbers, both limits included, on the generator's device."""
    return torch.randint(limits[0], limits[1] + 1, (count,), generator=generator, device=generator.device)


def per_image(values: Tensor) -> Tensor:
    """(B,) as (B, 1, 1, 1)."""
    return values[:, None, None, None]


def intensity_range(image: Tensor) -> tuple[Tensor, Tensor]:
    """Minimum and maximum of each image, (B, 1, 1, 1)."""
    return image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)


def scaled(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Images scaled to 0 .. 1 by minimum and maximum, with the minimum and the span that undo it."""
    low, high = intensity_range(image)
    span = (high - low).clamp_min(torch.finfo(image.dtype).tiny)
    return (image - low) / span, low, span
