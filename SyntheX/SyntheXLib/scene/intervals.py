"""Intervals along rays, and the set operations on them: solid geometry seen from a ray is interval arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Intervals:
    """Where rays run inside a body: K intervals; those of one ray are disjoint, sorted by (ray, enter).

    Attributes
    ----------
    ray
        (K,) int64, index of the ray.
    enter, leave
        (K,) float64, parameter t of the ray (origin + t x direction), ``leave > enter``.
    """

    ray: np.ndarray
    enter: np.ndarray
    leave: np.ndarray

    @classmethod
    def none(cls) -> Intervals:
        """No interval at all."""
        return cls(np.empty(0, np.int64), np.empty(0), np.empty(0))

    def of_rays(self, index: np.ndarray) -> Intervals:
        """The same intervals where ray n of these is ray ``index[n]``; `index` (N,) must increase."""
        return Intervals(index[self.ray], self.enter, self.leave)


def depth_at_least(ray: np.ndarray, t: np.ndarray, step: np.ndarray, least: int) -> Intervals:
    """Where a count that changes at events is at least `least`.

    Parameters
    ----------
    ray, t, step
        (E,) ray, parameter and change of the count (an integer) of each event, in any order. The count starts at 0, and the steps of
        every ray must sum to 0.
    least
        At least 1.

    Returns
    -------
    Intervals
        Events at the same place act together, so bodies that touch merge and pieces without length vanish.
    """
    if not len(ray):
        return Intervals.none()
    # By ray, then by t: ten times as fast as lexsort, for numpy sorts 16-bit numbers by their digits.
    order = np.argsort(t)
    for digit in range(0, int(ray.max()).bit_length(), 16):
        order = order[np.argsort((ray[order] >> digit).astype(np.uint16), kind="stable")]
    ray, t, step = ray[order], t[order], step[order]
    # The counts of all rays run on in one sum because each returns to 0.
    inside = np.cumsum(step) >= least
    last = np.append((ray[1:] != ray[:-1]) | (t[1:] != t[:-1]), True)
    ray, t, inside = ray[last], t[last], inside[last]
    before = np.concatenate([[False], inside[:-1]])
    enters = inside & ~before
    return Intervals(ray[enters], t[enters], t[~inside & before])


def _combine(bodies: tuple[Intervals, ...], signs: tuple[int, ...], least: int) -> Intervals:
    ray = np.concatenate([body.ray for body in bodies for _ in range(2)])
    t = np.concatenate([end for body in bodies for end in (body.enter, body.leave)])
    step = np.concatenate([np.repeat((sign, -sign), len(body.ray)) for body, sign in zip(bodies, signs, strict=True)])
    return depth_at_least(ray, t, step, least)


def union(*bodies: Intervals) -> Intervals:
    """Inside any of the bodies."""
    return _combine(bodies, (1,) * len(bodies), 1) if bodies else Intervals.none()


def intersection(a: Intervals, b: Intervals) -> Intervals:
    """Inside both."""
    return _combine((a, b), (1, 1), 2)


def difference(a: Intervals, *removed: Intervals) -> Intervals:
    """Inside `a` and outside all the others."""
    return _combine((a, *removed), (1, *(-1,) * len(removed)), 1)


def lengths(intervals: Intervals, ray_count: int) -> np.ndarray:
    """Total length in each ray: (N,) float64 in units of t, so times the length of the ray's direction it is mm."""
    return np.bincount(intervals.ray, weights=intervals.leave - intervals.enter, minlength=ray_count)
