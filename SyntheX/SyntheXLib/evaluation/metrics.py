"""How good masks and landmarks are: Dice, landmark errors, success rates, and how well the confidence tells seen from unseen.

Two rules for empty masks, by name:

``strict``
    An image whose true mask of a structure is empty is left out for that structure (ours; the number of images that count is always given).
``released-code``
    Both empty counts as 1, a prediction where the truth is empty as 0 (the code released with the paper; it rounds to two decimals as well,
    which is not repeated here).

Landmark errors are distances in the image; they carry a name that says where the millimetres are measured: ``detector`` (pixels times the
pixel spacing) or ``isocenter`` (the same, divided by the magnification there).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.inference.predictions import CONFIDENCE_THRESHOLD

EmptyRule = Literal["strict", "released-code"]

#: Pixels of a true mask that does not count, see `Overlap`.
NO_TRUTH = -1
#: Distances in mm for which success rates are given.
SUCCESS_DISTANCES_MM = (2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Overlap:
    """Pixel counts of N images and C structures, each (N, C) int64: from them follows every overlap measure.

    Attributes
    ----------
    intersection, predicted, truth
        Pixels in both masks, in the predicted one, in the true one; the last is `NO_TRUTH` where the truth is not to be trusted, which
        counts nowhere.
    """

    intersection: NDArray[np.int64]
    predicted: NDArray[np.int64]
    truth: NDArray[np.int64]


def overlap(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Overlap:
    """Count the pixels of masks.

    Parameters
    ----------
    predicted, truth
        Masks of the same shape (N, C, H, W).

    Raises
    ------
    ValueError
        When the shapes differ or have not four axes.
    """
    if predicted.shape != truth.shape or predicted.ndim != 4:
        raise ValueError(f"Masks must have the same shape (N, C, H, W), found {predicted.shape} and {truth.shape}.")
    return Overlap(
        intersection=np.count_nonzero(predicted & truth, axis=(2, 3)).astype(np.int64),
        predicted=np.count_nonzero(predicted, axis=(2, 3)).astype(np.int64),
        truth=np.count_nonzero(truth, axis=(2, 3)).astype(np.int64),
    )


def dice(counts: Overlap, empty: EmptyRule = "strict") -> NDArray[np.float64]:
    """Dice coefficient 2 |A and B| / (|A| + |B|) of each image and structure.

    Parameters
    ----------
    counts
        Pixel counts (N, C).
    empty
        What an empty true mask means, see the module.

    Returns
    -------
    ndarray
        (N, C), in 0..1; NaN where the image is left out.
    """
    total = counts.predicted + counts.truth
    value = np.where(counts.truth == NO_TRUTH, np.nan, 2.0 * counts.intersection / np.maximum(total, 1))
    if empty == "released-code":
        return np.where((total == 0) & (counts.truth == 0), 1.0, value)
    return np.where(counts.truth == 0, np.nan, value)


@dataclass(frozen=True)
class DiceSummary:
    """Dice of one structure over the images that count, or of all structures.

    Attributes
    ----------
    mean, sd, median
        Over the counted values; sd is the population's (divided by n). None when nothing counts.
    images
        Number of values that count.
    missed
        Images with a true mask and no predicted pixel.
    false_alarms
        Images with an empty true mask and at least one predicted pixel.
    """

    mean: float | None
    sd: float | None
    median: float | None
    images: int
    missed: int
    false_alarms: int


def summarize_dice(counts: Overlap, empty: EmptyRule = "strict") -> tuple[list[DiceSummary], DiceSummary]:
    """Sum up Dice for each structure, and pooled over structure and image.

    Parameters
    ----------
    counts
        Pixel counts (N, C).
    empty
        What an empty true mask means, see the module.

    Returns
    -------
    tuple
        One summary for each structure, and one of all values pooled (the paper's mean and SD are pooled).
    """
    values = dice(counts, empty)
    missed = (counts.truth > 0) & (counts.predicted == 0)
    alarms = (counts.truth == 0) & (counts.predicted > 0)

    def summary(value: NDArray[np.float64], miss: NDArray[np.bool_], alarm: NDArray[np.bool_]) -> DiceSummary:
        used = value[~np.isnan(value)]
        return DiceSummary(
            mean=float(used.mean()) if used.size else None,
            sd=float(used.std()) if used.size else None,
            median=float(np.median(used)) if used.size else None,
            images=int(used.size),
            missed=int(miss.sum()),
            false_alarms=int(alarm.sum()),
        )

    each = [summary(values[:, c], missed[:, c], alarms[:, c]) for c in range(values.shape[1])]
    return each, summary(values, missed, alarms)


def mean_over_structures(summaries: list[DiceSummary]) -> float | None:
    """Mean of the structures' mean Dice, each structure with the same weight; None when no structure has a value."""
    means = [s.mean for s in summaries if s.mean is not None]
    return float(np.mean(means)) if means else None


def landmark_errors(predicted: NDArray[np.floating], truth: NDArray[np.floating], visible: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distances between predicted and true landmarks, in the unit of the coordinates.

    Parameters
    ----------
    predicted, truth
        (N, L, 2) column and row; NaN where unknown.
    visible
        (N, L) true landmark lies inside the frame.

    Returns
    -------
    ndarray
        (N, L). NaN where there is nothing to compare with (not visible, or the truth is unknown); infinite where a visible landmark has
        no prediction, so that quantiles and success rates count it as a failure.
    """
    distance = np.linalg.norm(predicted.astype(np.float64) - truth.astype(np.float64), axis=-1)
    distance[np.isnan(predicted).any(axis=-1)] = np.inf
    distance[~visible | np.isnan(truth).any(axis=-1)] = np.nan
    return distance


def to_isocenter(
    errors_mm: NDArray[np.float64], source_to_isocenter_mm: NDArray[np.float64], source_to_detector_mm: float
) -> NDArray[np.float64]:
    """Detector millimetres to millimetres in the plane through the isocentre, parallel to the detector.

    Parameters
    ----------
    errors_mm
        (N, L) mm on the detector.
    source_to_isocenter_mm
        (N,) of each image, mm.
    source_to_detector_mm
        mm.
    """
    return errors_mm * (np.asarray(source_to_isocenter_mm, dtype=np.float64) / source_to_detector_mm)[:, None]


def activated(errors: NDArray[np.float64], confidence: NDArray[np.floating], threshold: float = CONFIDENCE_THRESHOLD) -> NDArray[np.bool_]:
    """Visible landmarks that are predicted with a confidence above the threshold, same shape as the errors."""
    return np.isfinite(errors) & (confidence > threshold)


@dataclass(frozen=True)
class ErrorSummary:
    """Errors of one group of landmarks, in mm.

    Attributes
    ----------
    visible
        Landmarks that can be compared.
    activated
        Those of them with a confidence above the threshold.
    missing
        Visible ones without any prediction.
    median, mean, sd, p95
        Over all visible ones, whatever the confidence; mean and sd (population) over those with a prediction, median and 95th percentile
        count a missing one as infinitely far. None when nothing counts or the value is infinite.
    success
        Share of the visible ones within each distance (mm, as text), whatever the confidence.
    activated_mean, activated_sd, activated_median
        Over the activated ones.
    """

    visible: int
    activated: int
    missing: int
    median: float | None
    mean: float | None
    sd: float | None
    p95: float | None
    success: dict[str, float | None]
    activated_mean: float | None
    activated_sd: float | None
    activated_median: float | None

    @property
    def activated_share(self) -> float | None:
        """Activated / visible, 0..1."""
        return self.activated / self.visible if self.visible else None


def summarize_errors(
    errors_mm: NDArray[np.float64],
    confidence: NDArray[np.floating],
    threshold: float = CONFIDENCE_THRESHOLD,
    distances_mm: tuple[float, ...] = SUCCESS_DISTANCES_MM,
) -> ErrorSummary:
    """Sum up landmark errors of any shape.

    Parameters
    ----------
    errors_mm
        From `landmark_errors`, in mm: NaN = not comparable, infinite = no prediction.
    confidence
        The same shape.
    threshold
        Confidence above which a landmark is activated.
    distances_mm
        Where success rates are taken (error <= distance).
    """
    comparable = ~np.isnan(errors_mm)
    values = errors_mm[comparable]
    found = values[np.isfinite(values)]
    active = errors_mm[activated(errors_mm, confidence, threshold)]

    def finite(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    return ErrorSummary(
        visible=int(values.size),
        activated=int(active.size),
        missing=int(values.size - found.size),
        median=quantile(values, 0.5),
        mean=finite(found.mean()) if found.size else None,
        sd=finite(found.std()) if found.size else None,
        p95=quantile(values, 0.95),
        success={f"{d:g}": float(np.mean(values <= d)) if values.size else None for d in distances_mm},
        activated_mean=finite(active.mean()) if active.size else None,
        activated_sd=finite(active.std()) if active.size else None,
        activated_median=finite(np.median(active)) if active.size else None,
    )


def quantile(values: NDArray[np.float64], q: float) -> float | None:
    """Quantile with linear interpolation where infinite values are allowed; None when it is infinite or there is no value."""
    if not values.size:
        return None
    ordered = np.sort(values)
    place = q * (ordered.size - 1)
    low, high = ordered[int(np.floor(place))], ordered[int(np.ceil(place))]
    if not (np.isfinite(low) and np.isfinite(high)):
        return None
    return float(low + (high - low) * (place - np.floor(place)))


def absent_landmark_auc(confidence: NDArray[np.floating], known: NDArray[np.bool_], visible: NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve of the confidence, visible landmarks against those outside the frame.

    The chance that a visible landmark has a higher confidence than one outside the frame (ties count half; Mann-Whitney).

    Parameters
    ----------
    confidence, known, visible
        Same shape; `known` says that the true position is known at all.

    Returns
    -------
    float or None
        None when one of the groups is empty.
    """
    inside = np.nan_to_num(confidence[known & visible], nan=-1.0)
    outside = np.nan_to_num(confidence[known & ~visible], nan=-1.0)
    if not inside.size or not outside.size:
        return None
    ordered = np.sort(outside)
    below = np.searchsorted(ordered, inside, side="left")
    not_above = np.searchsorted(ordered, inside, side="right")
    return float((below + not_above).mean() / (2 * outside.size))
