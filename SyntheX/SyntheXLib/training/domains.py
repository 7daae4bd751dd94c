"""The two sets of an adaptation, source and target, without a specimen that is kept for the test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from SyntheXLib.datasets.together import XraySource, check_sources
from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.translation import GrayRange
from SyntheXLib.training.data import XrayTensors, derived_seed, open_sources
from SyntheXLib.training.split import specimens_of

_SPACING_TOLERANCE = 0.02
_SAMPLED = 64  # images that a gray range is taken of


class Domain:
    """Images of one domain, as tensors.

    Parameters
    ----------
    sources
        Data sets.
    places
        Of the images that may be trained on.
    """

    def __init__(self, sources: Sequence[XraySource], places: Sequence[int]) -> None:
        self.sources = list(sources)
        self.places = list(places)
        self.tensors = XrayTensors(sources)

    def gray_range(self) -> GrayRange:
        """Of a spread of the images that are trained on."""
        chosen = self.places[:: max(1, len(self.places) // _SAMPLED)]
        return GrayRange.of(self.tensors.load(chosen).image)

    def order(self, count: int, seed: int, purpose: str, epoch: int) -> list[int]:
        """`count` places in an order that seed and epoch decide: all once, then all again in another order."""
        generator = torch.Generator().manual_seed(derived_seed(seed, f"order of {purpose}", epoch))
        drawn: list[int] = []
        while len(drawn) < count:
            drawn += [self.places[n] for n in torch.randperm(len(self.places), generator=generator).tolist()]
        return drawn[:count]


def open_domains(
    source: Sequence[str | Path], target: Sequence[str | Path], held_out: Sequence[str], test: Sequence[str | Path]
) -> tuple[Domain, Domain, tuple[str, ...]]:
    """Open the data sets of source and target domain.

    Parameters
    ----------
    source, target
        Data set folders.
    held_out
        Names of specimens that neither domain may show.
    test
        Data sets whose specimens neither domain may show.

    Returns
    -------
    tuple
        Source, target, and the names of all specimens that were left out.

    Raises
    ------
    SyntheXError
        When the data sets do not go together, a name is unknown, or nothing is left.
    """
    sides = [open_sources(source), open_sources(target)]
    for side in sides:
        check_sources(side)
    first, second = sides[0][0], sides[1][0]
    if tuple(first.image_shape) != tuple(second.image_shape):
        shapes = f"{tuple(first.image_shape)} and {tuple(second.image_shape)}"
        raise SyntheXError(f"Data sets {first.folder} and {second.folder} must have the same image shape, found {shapes}.")
    if abs(first.pixel_spacing_mm / second.pixel_spacing_mm - 1) > _SPACING_TOLERANCE:
        found = f"{first.pixel_spacing_mm:.4g} and {second.pixel_spacing_mm:.4g} mm"
        raise SyntheXError(f"Data sets {first.folder} and {second.folder} must have the same pixel spacing, found {found}.")
    specimens = [specimens_of(side) for side in sides]
    known = {name for side in specimens for name, _ in side}
    for name in held_out:
        if name not in known:
            raise SyntheXError(f"The specimen '{name}' that is to be held out must be one of {', '.join(sorted(known))}.")
    left_out = set(specimens_of(open_sources(test))) if test else set()
    # By name and by CT: the same patient may go by two names.
    keys = {key for side in specimens for name, key in side if name in held_out} | {key for _, key in left_out}
    gone = {name for side in specimens for name, key in side if key in keys}
    domains = []
    for side, images in zip(sides, specimens, strict=True):
        places = [place for place, (_, key) in enumerate(images) if key not in keys]
        if not places:
            folders = ", ".join(str(one.folder) for one in side)
            raise SyntheXError(f"Nothing is left of {folders}: all of its specimens ({', '.join(sorted(gone))}) are held out.")
        domains.append(Domain(side, places))
    return domains[0], domains[1], tuple(sorted(gone | set(held_out)))
