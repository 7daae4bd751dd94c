"""Whether confidence means what it says: of landmarks (ncc) against their errors, of masks against the truth of the pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Landmarks count as right within this distance, mm on the detector.
RIGHT_WITHIN_MM = 5.0
BINS = 10


@dataclass(frozen=True)
class ConfidenceBin:
    """Landmarks whose confidence lies in [low, high).

    Attributes
    ----------
    low, high
        Limits; the last one holds 1 too.
    count
        Landmarks.
    confidence, error_mm, right
        Mean confidence, median error, and share within `RIGHT_WITHIN_MM`; None where there is none.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    error_mm: float | None
    right: float | None


@dataclass(frozen=True)
class LandmarkCalibration:
    """Confidence of the landmarks against their errors.

    Attributes
    ----------
    bins
        From confidence 0 (and what lies below) to 1.
    spearman
        Rank correlation of confidence and error: -1 when the surer is always the better, None with fewer than three landmarks.
    """

    bins: tuple[ConfidenceBin, ...]
    spearman: float | None


@dataclass(frozen=True)
class PixelBins:
    """Pixels sorted by the probability they were given, summed over images: (C, B) each, B bins from 0 to 1.

    Attributes
    ----------
    count, probability, truth
        Pixels, sum of their probabilities, those of them that truly belong to the structure.
    """

    count: NDArray[np.int64]
    probability: NDArray[np.float64]
    truth: NDArray[np.int64]

    def __add__(self, other: "PixelBins") -> "PixelBins":
        return PixelBins(self.count + other.count, self.probability + other.probability, self.truth + other.truth)

    def expected_error(self) -> list[float | None]:
        """Expected calibration error of each structure: mean of |share that is true - mean probability| over the bins, by their pixels."""
        gap = np.abs(self.truth - self.probability).sum(1)
        return [float(g / n) if n else None for g, n in zip(gap, self.count.sum(1), strict=True)]


def calibrate_landmarks(errors_mm: NDArray[np.float64], confidence: NDArray[np.floating]) -> LandmarkCalibration:
    """Sort landmarks of any shape by confidence.

    Parameters
    ----------
    errors_mm
        NaN = does not count, infinite = no prediction (left out too: it has no confidence).
    confidence
        The same shape.
    """
    from scipy.stats import spearmanr

    used = np.isfinite(errors_mm) & ~np.isnan(confidence)
    error, sure = errors_mm[used], confidence[used].astype(np.float64)
    place = np.clip((sure * BINS).astype(int), 0, BINS - 1)
    bins = []
    for b in range(BINS):
        e, c = error[place == b], sure[place == b]
        means = (float(c.mean()), float(np.median(e)), float(np.mean(e <= RIGHT_WITHIN_MM))) if e.size else (None, None, None)
        bins.append(ConfidenceBin(b / BINS, (b + 1) / BINS, int(e.size), *means))
    varied = error.size > 2 and np.ptp(error) > 0 and np.ptp(sure) > 0
    return LandmarkCalibration(tuple(bins), float(spearmanr(sure, error).statistic) if varied else None)


def pixel_bins(probability: NDArray[np.uint8], truth: NDArray[np.bool_], trusted: NDArray[np.bool_] | None = None) -> PixelBins:
    """Sort the pixels of one image.

    Parameters
    ----------
    probability
        (C, H, W), 255 = 1.
    truth
        (C, H, W).
    trusted
        (C,) false for a structure whose truth says nothing: none of its pixels count. None = all are to be trusted.
    """
    count, sums, right = (np.zeros((len(probability), BINS)) for _ in range(3))
    for c, (values, mask) in enumerate(zip(probability, truth, strict=True)):
        if trusted is not None and not trusted[c]:
            continue
        place = np.minimum(values.astype(np.int64) * BINS // 255, BINS - 1).ravel()
        count[c] = np.bincount(place, minlength=BINS)
        sums[c] = np.bincount(place, weights=values.ravel() / 255, minlength=BINS)
        right[c] = np.bincount(place, weights=mask.ravel(), minlength=BINS)
    return PixelBins(count.astype(np.int64), sums, right.astype(np.int64))
