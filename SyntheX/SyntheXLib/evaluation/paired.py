"""Two models on the same images: what the difference is, and whether it could be chance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.evaluation.bootstrap import DRAWS, Estimate, hierarchical_mean
from SyntheXLib.evaluation.modes import mode_dice
from SyntheXLib.evaluation.results import ImageResults


@dataclass(frozen=True)
class PairedDifference:
    """Second model minus first, image by image.

    Attributes
    ----------
    measure
        ``error_mm`` (mean over the landmarks that both place) or ``dice`` (mean over the structures that count in both).
    first, second
        Names of the models.
    difference
        Mean over the specimens' means, with the interval of the hierarchical bootstrap.
    images
        Images that have both values.
    second_better
        Share of these in which the second model is strictly better.
    p_value
        One-tailed paired t-test over the images that the second model is better, as in the paper; it takes images for independent. None
        with fewer than two images or no difference.
    """

    measure: str
    first: str
    second: str
    difference: Estimate
    images: int
    second_better: float | None
    p_value: float | None


def compare_models(
    first: ImageResults, second: ImageResults, names: tuple[str, str], draws: int = DRAWS, seed: int = 0
) -> list[PairedDifference]:
    """Compare two models on the images of one data set, which both results hold in the same order."""
    found = []
    both = np.isfinite(first.errors_detector_mm) & np.isfinite(second.errors_detector_mm)
    if both.any():
        a, b = (_row_means(np.where(both, r.errors_detector_mm, np.nan)) for r in (first, second))
        found.append(_difference("error_mm", names, a, b, first.specimen, -1, draws, seed))
    dice = [mode_dice(r.mode, r.counts) for r in (first, second)]
    shared = ~np.isnan(dice[0]) & ~np.isnan(dice[1])
    a, b = (_row_means(np.where(shared, values, np.nan)) for values in dice)
    found.append(_difference("dice", names, a, b, first.specimen, 1, draws, seed))
    return found


def _row_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) means of what is not NaN; NaN for a row without a value."""
    there = ~np.isnan(values)
    number = there.sum(1)
    return np.where(number > 0, np.where(there, values, 0).sum(1) / np.maximum(number, 1), np.nan)


def _difference(
    measure: str,
    names: tuple[str, str],
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    groups: list[str],
    sign: int,
    draws: int,
    seed: int,
) -> PairedDifference:
    """`sign` is 1 where more is better."""
    from scipy.stats import ttest_1samp

    difference = b - a
    used = ~np.isnan(difference)
    values = difference[used]
    total, count = np.where(used, difference, 0)[:, None], used.astype(np.float64)[:, None]
    (estimate,) = hierarchical_mean(total, count, groups, draws, seed)
    p_value = None
    if values.size > 1 and np.ptp(values) > 0:
        p_value = float(ttest_1samp(sign * values, 0.0, alternative="greater").pvalue)
    better = float(np.mean(sign * values > 0)) if values.size else None
    return PairedDifference(measure, *names, estimate, int(values.size), better, p_value)
