"""Which images are trained on and which are kept for validation: specimens are kept apart where there are enough of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from SyntheXLib.datasets.derived import even_parts
from SyntheXLib.datasets.together import XraySource
from SyntheXLib.errors import SyntheXError
from SyntheXLib.training.config import parse_fold
from SyntheXLib.training.data import derived_seed

_MOST = 2.0  # whole specimens may take this many times the share that was asked for


@dataclass(frozen=True)
class Split:
    """Places of the images, counted through all data sets.

    Attributes
    ----------
    trained_on, validated_on
        Ascending; none is in both.
    held_out
        Names of the specimens that are validated on and never trained on; empty where single images were held out.
    specimens
        How many there are in all.
    shared
        Names of the specimens of a data set for validation that are trained on as well.
    """

    trained_on: list[int]
    validated_on: list[int]
    held_out: tuple[str, ...] = ()
    specimens: int = 1
    shared: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What the validation tells of unseen specimens; empty where that goes without saying."""
        count = len(self.validated_on)
        if self.held_out:
            return f"validating on the {count} images of {', '.join(self.held_out)}, of which none is trained on"
        if self.shared:
            return f"validating on {count} images, some of specimens that are trained on too: {', '.join(self.shared)}"
        if count and self.specimens > 1:
            return f"validating on {count} images of the {self.specimens} specimens that are trained on: too few to keep one apart"
        return ""


def specimens_of(sources: Sequence[XraySource]) -> list[tuple[str, str]]:
    """Name and key of the specimen of each image of all data sets, see `XrayDataset.specimens`; one unnamed where a source tells none."""
    found: list[tuple[str, str]] = []
    for source in sources:
        tell = getattr(source, "specimens", None)
        found += tell() if tell is not None else [("", "")] * len(source)
    return found


def split_sources(sources: Sequence[XraySource], fraction: float, seed: int) -> Split:
    """Hold out a share of the images of all data sets.

    Whole specimens are held out, drawn at random until they make up the share, as long as they take no more than twice of it: the score
    is then that of a patient whom the network has not seen. Where no specimen is that small (of a single one, always), images are drawn.

    Parameters
    ----------
    sources
        Data sets; the same specimen (by the checksum of its CT) in two of them is one.
    fraction
        Share of the images, 0 to below 1; 0 holds out none.
    seed
        Decides what is drawn.

    Raises
    ------
    SyntheXError
        See `split`.
    """
    specimens = specimens_of(sources)
    sizes = Counter(key for _, key in specimens)
    keys = sorted(sizes)
    generator = torch.Generator().manual_seed(derived_seed(seed, "specimens", 0))
    order = torch.randperm(len(keys), generator=generator).tolist()
    wanted, taken, count = fraction * len(specimens), set[str](), 0
    for key in (keys[place] for place in order):
        if count < wanted and count + sizes[key] <= _MOST * wanted and len(taken) < len(keys) - 1:
            taken.add(key)
            count += sizes[key]
    if not taken:
        return Split(*split(len(specimens), fraction, seed), specimens=len(keys))
    held_out = [place for place, (_, key) in enumerate(specimens) if key in taken]
    rest = [place for place, (_, key) in enumerate(specimens) if key not in taken]
    return Split(rest, held_out, tuple(sorted({name for name, key in specimens if key in taken})), len(keys))


def split_fold(sources: Sequence[XraySource], fold: str) -> Split:
    """One fold of a cross-validation: the specimens of all data sets in parts of about as many images, one part held out.

    The parts of a single data set are those that ``synthex dataset split`` writes. With as many parts as there are specimens, it is
    leave-one-specimen-out.

    Parameters
    ----------
    sources
        Data sets; the same specimen (by the checksum of its CT) in two of them is one.
    fold
        ``"K/N"``: hold out part K, from 1, of N.

    Raises
    ------
    SyntheXError
        When `fold` says no such part, or there are fewer specimens than parts.
    """
    number, parts = parse_fold(fold)
    specimens = specimens_of(sources)
    groups: dict[str, list[int]] = {}
    for place, (_, key) in enumerate(specimens):
        groups.setdefault(key, []).append(place)
    if len(groups) < parts:
        names = ", ".join(sorted({name for name, _ in specimens if name})) or "unnamed"
        raise SyntheXError(f"Option 'fold' {fold} needs at least {parts} specimens, found {len(groups)} ({names}).")
    held_out = even_parts(groups.values(), parts)[number - 1]
    kept_apart = set(held_out)
    rest = [place for place in range(len(specimens)) if place not in kept_apart]
    return Split(rest, held_out, tuple(sorted({specimens[place][0] for place in held_out})), len(groups))


def split_named(sources: Sequence[XraySource], validation: Sequence[XraySource]) -> Split:
    """All images of `sources` to train on, and all of `validation`, data sets of their own, to validate on."""
    known = {key for _, key in specimens_of(sources)}
    shown = specimens_of(validation)
    shared = sorted({name for name, key in shown if key in known and name})
    return Split(list(range(sum(map(len, sources)))), list(range(len(shown))), shared=tuple(shared))


def split(count: int, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices to train and to validate on, drawn at random; at least one of each when `fraction` is above 0.

    Raises
    ------
    SyntheXError
        When there are too few images for both.
    """
    if fraction == 0:
        return list(range(count)), []
    held_out = max(1, round(count * fraction))
    if held_out >= count:
        raise SyntheXError(f"Option 'validation_fraction' {fraction} leaves no image to train on, found {count} images in all.")
    generator = torch.Generator().manual_seed(derived_seed(seed, "split", 0))
    order = torch.randperm(count, generator=generator).tolist()
    return sorted(order[held_out:]), sorted(order[:held_out])
