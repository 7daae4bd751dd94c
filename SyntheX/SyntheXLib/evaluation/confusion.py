"""Pixels right and wrong: sensitivity, specificity, precision, accuracy, F1 and F2, as the chest task is measured."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.evaluation.metrics import NO_TRUTH, Overlap
from SyntheXLib.evaluation.modes import Mode

CONFUSION_MEASURES = ("sensitivity", "specificity", "precision", "accuracy", "f1", "f2")
#: The released code adds it to numerator and denominator, so that 0 / 0 is 1.
_RELEASED_SMOOTHING = 1e-4


@dataclass(frozen=True)
class ConfusionSummary:
    """One structure.

    Attributes
    ----------
    mean, sd
        Of the images' values by measure, population SD; the mean over the images that have a value.
    pooled
        Of all images' pixels together, without smoothing.
    images
        Images that have a value, by measure.
    """

    mean: dict[str, float | None]
    sd: dict[str, float | None]
    pooled: dict[str, float | None]
    images: dict[str, int]


def confusion(counts: Overlap, pixels: int | NDArray[np.integer], smoothing: float = 0.0) -> dict[str, NDArray[np.float64]]:
    """The six measures from pixel counts.

    Sensitivity TP / (TP + FN), specificity TN / (TN + FP), precision TP / (TP + FP), accuracy (TP + TN) / all,
    F1 = 2 TP / (2 TP + FP + FN), F2 = 5 TP / (5 TP + 4 FN + FP).

    Parameters
    ----------
    counts
        Of any shape.
    pixels
        Pixels of an image.
    smoothing
        Added to numerator and denominator.

    Returns
    -------
    dict
        By name, of the shape of the counts, 0..1; NaN for 0 / 0.
    """
    tp = np.where(counts.truth == NO_TRUTH, np.nan, counts.intersection)
    fp, fn = counts.predicted - tp, counts.truth - tp
    tn = pixels - tp - fp - fn
    parts = {
        "sensitivity": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "precision": (tp, tp + fp),
        "accuracy": (tp + tn, tp + tn + fp + fn),
        "f1": (2 * tp, 2 * tp + fp + fn),
        "f2": (5 * tp, 5 * tp + 4 * fn + fp),
    }
    with np.errstate(invalid="ignore"):
        return {name: (above + smoothing) / (below + smoothing) for name, (above, below) in parts.items()}


def summarize_confusion(counts: Overlap, pixels: int, mode: Mode) -> list[ConfusionSummary]:
    """For each structure of counts (N, C); the released code's smoothing in its mode alone.

    In the other modes an image where a measure is 0 / 0 (as sensitivity where the truth is empty) is left out for that measure.
    """
    each = confusion(counts, pixels, _RELEASED_SMOOTHING if mode == "released-code" else 0.0)
    structures = counts.truth.shape[1]
    trusted = counts.truth != NO_TRUTH
    together = Overlap(*(np.where(trusted, one, 0).sum(0) for one in (counts.intersection, counts.predicted, counts.truth)))
    pooled = confusion(together, trusted.sum(0) * pixels)
    found = []
    for c in range(structures):
        used = {name: values[:, c][~np.isnan(values[:, c])] for name, values in each.items()}
        found.append(
            ConfusionSummary(
                mean={name: float(v.mean()) if v.size else None for name, v in used.items()},
                sd={name: float(v.std()) if v.size else None for name, v in used.items()},
                pooled={name: None if np.isnan(v[c]) else float(v[c]) for name, v in pooled.items()},
                images={name: int(v.size) for name, v in used.items()},
            )
        )
    return found
