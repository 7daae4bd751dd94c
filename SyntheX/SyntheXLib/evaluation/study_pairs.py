"""What each run of a study does better or worse than its reference: the same seeds on the same images."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.evaluation.bootstrap import Estimate, hierarchical_mean
from SyntheXLib.evaluation.study import Study, StudyRun, run_folder

# Columns of per_image.csv: mean Dice, and mean landmark error on the detector, mm.
_MEASURES = ("mean_dice", "mean_error_detector_mm")


@dataclass(frozen=True)
class StudyDifference:
    """A run minus the reference.

    Attributes
    ----------
    run
        Which.
    seeds
        How many both have been trained with.
    dice, error_mm
        Mean over seeds and images of the difference of an image's mean Dice and mean landmark error (mm on the detector), with the 95 %
        interval of a bootstrap that draws seeds, then images: what another training and other views of the same patients may change.
    """

    run: str
    seeds: int
    dice: Estimate
    error_mm: Estimate


def differences(study: Study, out: Path) -> list[StudyDifference]:
    """Every run that was tested on the reference's test set against the study's reference; none where the study names no reference."""
    found = []
    for first in study.runs:
        for run in study.runs:
            if first.name != study.reference or run.name == first.name or run.test != first.test:
                continue
            images = {seed: [_images(out, one, seed) for one in (first, run)] for seed in study.seeds}
            pairs = {seed: (a, b) for seed, (a, b) in images.items() if a is not None and b is not None}
            if pairs:
                found.append(_difference(run.name, pairs))
    return found


def _images(out: Path, run: StudyRun, seed: int) -> NDArray[np.float64] | None:
    """(N, 2) measures of the images of a test, NaN where there is none; None before the test."""
    path = run_folder(out, run, seed) / "report" / "per_image.csv"
    if not path.exists():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        return np.array([[float(row[name] or "nan") for name in _MEASURES] for row in csv.DictReader(file)])


def _difference(run: str, pairs: Mapping[int, tuple[NDArray[np.float64], NDArray[np.float64]]]) -> StudyDifference:
    change = np.concatenate([second - first for first, second in pairs.values()])
    there = ~np.isnan(change)
    groups = [str(seed) for seed, (first, _) in pairs.items() for _ in first]
    dice, error_mm = hierarchical_mean(np.where(there, change, 0), there.astype(np.float64), groups)
    return StudyDifference(run, len(pairs), dice, error_mm)
