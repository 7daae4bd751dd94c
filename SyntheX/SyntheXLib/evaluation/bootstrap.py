"""Intervals of a mean when images of one specimen resemble each other: resample specimens, then the images within each.

Thousands of landmarks of six specimens are not thousands of independent measurements; 1.96 SD / sqrt(n) takes them for that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 10_000
_LEVEL = 0.95
# Random numbers at a time.
_CHUNK = 4_000_000


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval.

    Attributes
    ----------
    value
        Mean of the groups' means; None when nothing counts.
    low, high
        Percentile interval; None when there are fewer than two images that count.
    groups
        Groups (specimens) that have a value. With one alone the interval holds the spread between images only.
    """

    value: float | None
    low: float | None
    high: float | None
    groups: int


def hierarchical_mean(
    total: NDArray[np.float64], count: NDArray[np.float64], groups: Sequence[str], draws: int = DRAWS, seed: int = 0
) -> list[Estimate]:
    """Means of the groups' means, with intervals.

    The mean of a group is the sum of `total` over its images divided by the sum of `count`.

    Parameters
    ----------
    total, count
        (N, K) for N images and K measures: sum over what is measured in an image, and how many things that are.
    groups
        (N,) group (specimen) of each image.
    draws, seed
        Resamples, and seed of the random numbers: the same intervals every time.

    Returns
    -------
    list of Estimate
        K of them.
    """
    names = np.array(groups)
    members = [np.flatnonzero(names == name) for name in dict.fromkeys(groups)]
    parts = [np.concatenate([total[rows], count[rows]], axis=1) for rows in members]
    measures = total.shape[1]
    means = np.array([_ratio(part.sum(0), measures) for part in parts])
    value = _mean(means)
    random = np.random.default_rng(seed)
    chosen = random.integers(len(parts), size=(draws, len(parts)))
    drawn = np.full((*chosen.shape, measures), np.nan)
    for g, part in enumerate(parts):
        where = np.argwhere(chosen == g)
        for block in np.array_split(where, max(1, len(where) * len(part) // _CHUNK)):
            drawn[block[:, 0], block[:, 1]] = _ratio(_resampled_sums(part, len(block), random), measures)
    return _estimates(means, value, _mean(drawn.swapaxes(0, 1)), np.count_nonzero(count > 0, axis=0) >= 2)


def hierarchical_statistics(
    statistic: Callable[[NDArray[np.intp]], NDArray[np.float64]], groups: Sequence[str], draws: int, seed: int = 0
) -> list[Estimate]:
    """The same for what is no mean over images, as an area under a curve: the statistic of each group, then their mean.

    Parameters
    ----------
    statistic
        From the places of images, which may occur more than once, to (K,) values; NaN where there is none.
    groups
        (N,) group of each image.
    draws, seed
        As in `hierarchical_mean`; each draw takes the statistic of every group once.
    """
    names = np.array(groups)
    members = [np.flatnonzero(names == name) for name in dict.fromkeys(groups)]
    means = np.array([statistic(rows) for rows in members])
    random = np.random.default_rng(seed)
    samples = []
    for _ in range(draws):
        chosen = random.integers(len(members), size=len(members))
        samples.append(_mean(np.array([statistic(random.choice(members[g], len(members[g]))) for g in chosen])))
    return _estimates(means, _mean(means), np.array(samples), np.full(means.shape[1], len(groups) >= 2))


def _estimates(
    means: NDArray[np.float64], value: NDArray[np.float64], samples: NDArray[np.float64], enough: NDArray[np.bool_]
) -> list[Estimate]:
    """From the groups' values (G, K), their means (K,) and the draws (D, K); no interval where there is not `enough` (K,)."""
    tails = 100 * np.array([(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    found = []
    for k in range(means.shape[1]):
        usable = samples[~np.isnan(samples[:, k]), k]
        low, high = (float(v) for v in np.percentile(usable, tails)) if enough[k] and usable.size else (None, None)
        groups = int(np.count_nonzero(~np.isnan(means[:, k])))
        found.append(Estimate(float(value[k]) if groups else None, low, high, groups))
    return found


def _resampled_sums(part: NDArray[np.float64], times: int, random: np.random.Generator) -> NDArray[np.float64]:
    """(times, M) sums over as many rows of `part` (n, M) as it has, drawn with replacement."""
    n = len(part)
    picks = random.integers(n, size=(times, n)) + n * np.arange(times)[:, None]
    return np.bincount(picks.ravel(), minlength=times * n).reshape(times, n) @ part


def _ratio(sums: NDArray[np.float64], measures: int) -> NDArray[np.float64]:
    """(..., 2 K) sums and counts -> (..., K) means; NaN where nothing counts."""
    total, count = sums[..., :measures], sums[..., measures:]
    return np.where(count > 0, total / np.where(count > 0, count, 1), np.nan)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the first axis of what is not NaN."""
    there = ~np.isnan(values)
    number = there.sum(0)
    return np.where(number > 0, np.where(there, values, 0).sum(0) / np.maximum(number, 1), np.nan)
