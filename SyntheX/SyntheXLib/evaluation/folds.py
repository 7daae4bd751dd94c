"""The test folds of one study taken as one: each part predicted by the network that did not see it.

All of `evaluation` then works on them as on one data set: ``paper-text`` takes the mean over the folds' means, ``released-code`` pools the
images of all folds, ``strict`` takes the specimens first.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.datasets.reader import Sample, XrayDataset
from SyntheXLib.datasets.together import check_sources
from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation.results import ImageResults
from SyntheXLib.inference.predictions import PredictionFolder, open_predictions


class FoldsDataset(XrayDataset):
    """Data sets of one task and image size, one after the other; read only.

    Parameters
    ----------
    parts
        The folds' data sets.
    folds
        Name of each; parts of one name are one fold.

    Raises
    ------
    SyntheXError
        When there is none, or they differ in task, image shape or pixel spacing.
    """

    def __init__(self, parts: Sequence[XrayDataset], folds: Sequence[str]) -> None:
        if not parts:
            raise SyntheXError("Expected at least one fold, found none.")
        check_sources(parts)
        self.parts, self.folds = list(parts), list(folds)
        self._starts = [0, *accumulate(map(len, parts))]
        specimens: list[dict[str, Any]] = []
        for part in parts:
            specimens += [one for one in part.header.specimens if one not in specimens]
        self.header = replace(parts[0].header, specimens=tuple(specimens), count=self._starts[-1])
        self._files = {}
        self.folder = parts[0].folder if len(parts) == 1 else parts[0].folder.parent

    def checksum(self) -> str:
        """Of the parts' checksums."""
        return hashlib.sha256("\n".join(part.checksum() for part in self.parts).encode()).hexdigest()

    def specimens(self) -> list[tuple[str, str]]:
        """See `XrayDataset.specimens`."""
        return [one for part in self.parts for one in part.specimens()]

    def source_to_isocenter_mm(self, index: int) -> float:
        """See `XrayDataset.source_to_isocenter_mm`."""
        place, own = self._part(index)
        return self.parts[place].source_to_isocenter_mm(own)

    def read(self, index: int, *, image: bool = True, paths: bool = False) -> Sample:
        """See `XrayDataset.read`; the parameters name the fold."""
        place, own = self._part(index)
        sample = self.parts[place].read(own, image=image, paths=paths)
        return replace(sample, index=index, parameters={**sample.parameters, "fold": self.folds[place]})

    def parameters(self, index: int) -> dict[str, Any]:
        """See `XrayDataset.parameters`, with the fold."""
        place, own = self._part(index)
        return {**self.parts[place].parameters(own), "fold": self.folds[place]}

    def close(self) -> None:
        """Close the files."""
        for part in self.parts:
            part.close()

    def _part(self, index: int) -> tuple[int, int]:
        """Place of the part, and the index in it."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        index %= len(self)
        place = bisect_right(self._starts, index) - 1
        return place, index - self._starts[place]


@dataclass(frozen=True)
class FoldsPredictions(PredictionFolder):
    """Predictions of the folds as those of their `FoldsDataset`; made by `open_folds`."""

    parts: tuple[PredictionFolder, ...] = ()

    def masks(self) -> Iterator[NDArray[np.unsignedinteger]]:
        """See `PredictionFolder.masks`."""
        for part in self.parts:
            yield from part.masks()

    def optional(self, name: str) -> Iterator[NDArray[Any] | None]:
        """See `PredictionFolder.optional`."""
        for part in self.parts:
            yield from part.optional(name)

    def picture_arrays(self, n: int) -> tuple[NDArray[np.unsignedinteger], NDArray[np.float32]]:
        """See `PredictionFolder.picture_arrays`."""
        for part in self.parts:
            if n < len(part):
                return part.picture_arrays(n)
            n -= len(part)
        raise IndexError(f"prediction {n} beyond the last")


def open_folds(
    predictions: Sequence[Path | str], datasets: Sequence[Path | str] | None = None, folds: Sequence[str] | None = None
) -> tuple[FoldsPredictions, FoldsDataset]:
    """Open the predictions of the folds and the data sets that they are of.

    Parameters
    ----------
    predictions
        Folders written by `inference.predict.predict_dataset`, one a fold.
    datasets
        The data set of each; None takes those that the predictions name.
    folds
        Names; None takes the names of the data sets' folders.

    Raises
    ------
    SyntheXError
        When predictions or data sets cannot be read, do not belong together, or two folds show the same data set.
    """
    opened = [open_predictions(folder) for folder in predictions]
    if not opened:
        raise SyntheXError("Expected the predictions of at least one fold, found none.")
    chosen = [Path(one.description["dataset"]["path"]) for one in opened] if datasets is None else [Path(one) for one in datasets]
    parts = [XrayDataset(folder) for folder in chosen]
    seen: dict[str, Path] = {}
    for one, part in zip(opened, parts, strict=True):
        digest = part.checksum()
        if one.description["dataset"]["checksum"] != digest:
            raise SyntheXError(f"{one.folder} holds predictions for another data set than {part.folder}: their checksums differ.")
        if digest in seen:
            raise SyntheXError(f"The folds {seen[digest]} and {one.folder} are of the same images: expected each image in one fold alone.")
        seen[digest] = one.folder
    starts = [0, *accumulate(map(len, opened))]
    first = opened[0]
    whole = FoldsPredictions(
        folder=first.folder,
        description={**first.description, "count": starts[-1]},
        task=first.task,
        index=np.concatenate([one.index + start for one, start in zip(opened, starts, strict=False)]),
        landmarks=np.concatenate([one.landmarks for one in opened]),
        confidence=np.concatenate([one.confidence for one in opened]),
        parts=tuple(opened),
    )
    names = folds if folds is not None else [folder.resolve().name for folder in chosen]
    return whole, FoldsDataset(parts, names)


def over_folds(results: ImageResults, measure: Callable[[ImageResults], float | None]) -> tuple[float | None, int]:
    """Mean of a number over the folds that have it, and their count; None where none has.

    Parameters
    ----------
    results
        Of all folds.
    measure
        Gives the number of one fold.
    """
    names = np.array(results.fold)
    values = [measure(results.part(names == name)) for name in dict.fromkeys(results.fold)]
    there = [value for value in values if value is not None and np.isfinite(value)]
    return (float(np.mean(there)), len(there)) if there else (None, 0)
