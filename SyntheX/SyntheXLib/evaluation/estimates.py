"""The headline numbers of an evaluation: each with the mean, spread and interval that the mode asks for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.evaluation import metrics
from SyntheXLib.evaluation.bootstrap import DRAWS, hierarchical_mean, hierarchical_statistics
from SyntheXLib.evaluation.curve import activation_curve
from SyntheXLib.evaluation.modes import mode_dice
from SyntheXLib.evaluation.results import ImageResults


@dataclass(frozen=True)
class Headline:
    """One number.

    Attributes
    ----------
    value
        Mean as the mode takes it (see `modes`); None when nothing counts.
    sd
        Population SD: pooled, in ``paper-text`` the mean of the folds' SDs.
    low, high
        95 % interval: of the hierarchical bootstrap in ``strict``, value -+ 1.96 sd / sqrt(count) in ``released-code``; None else.
    count
        Values in it: landmarks, or structures times images.
    """

    value: float | None
    sd: float | None
    low: float | None
    high: float | None
    count: int


def headlines(results: ImageResults, threshold: float, draws: int = DRAWS, seed: int = 0) -> dict[str, Headline]:
    """All headline numbers.

    Returns
    -------
    dict
        ``error_mm`` (all counted landmarks that have a prediction), ``activated_error_mm``, ``activated_share``,
        ``success_2.5_mm`` ..., the same errors for each landmark (``error_mm:NAME``, ``activated_error_mm:NAME``), ``dice``,
        ``dice:NAME`` and ``surface_mm``; millimetres on the detector. Landmarks' entries are left out of a task without landmarks. In
        ``strict`` also ``curve_area_mm`` and ``absent_auc`` (see `metrics.absent_landmark_auc`), with a tenth of the draws.
    """
    values: dict[str, NDArray[np.float64]] = {}
    errors = results.errors_detector_mm
    active = metrics.activated(errors, results.confidence, threshold)
    if results.task.landmarks:
        counted = ~np.isnan(errors)
        values["error_mm"] = np.where(np.isfinite(errors), errors, np.nan)
        values["activated_error_mm"] = np.where(active, errors, np.nan)
        values["activated_share"] = np.where(counted, active.astype(float), np.nan)
        for distance in metrics.SUCCESS_DISTANCES_MM:
            values[f"success_{distance:g}_mm"] = np.where(counted, (errors <= distance).astype(float), np.nan)
        for n, name in enumerate(results.task.landmark_names):
            for key in ("error_mm", "activated_error_mm"):
                values[f"{key}:{name}"] = values[key][:, n : n + 1]
    values["dice"] = mode_dice(results.mode, results.counts)
    for c, name in enumerate(results.task.structure_names):
        values[f"dice:{name}"] = values["dice"][:, c : c + 1]
    values["surface_mm"] = results.surface_mm
    if results.mode == "strict":
        return _by_specimen(values, results.specimen, draws, seed) | (_areas(results, draws, seed) if results.task.landmarks else {})
    if results.mode == "paper-text":
        return {name: _over_folds(v, results.fold) for name, v in values.items()}
    return {name: _pooled(v) for name, v in values.items()}


def _by_specimen(values: dict[str, NDArray[np.float64]], specimen: Sequence[str], draws: int, seed: int) -> dict[str, Headline]:
    there = [~np.isnan(v) for v in values.values()]
    total = np.stack([np.where(t, v, 0).sum(1) for t, v in zip(there, values.values(), strict=True)], axis=1)
    count = np.stack([t.sum(1) for t in there], axis=1).astype(np.float64)
    estimates = hierarchical_mean(total, count, specimen, draws, seed)
    found = {}
    for (name, v), t, e in zip(values.items(), there, estimates, strict=True):
        used = v[t]
        found[name] = Headline(e.value, float(used.std()) if used.size else None, e.low, e.high, int(used.size))
    return found


def _areas(results: ImageResults, draws: int, seed: int) -> dict[str, Headline]:
    errors, confidence, known, visible = results.errors_detector_mm, results.confidence, results.known, results.visible

    def both(rows: NDArray[np.intp]) -> NDArray[np.float64]:
        area = activation_curve(errors[rows], confidence[rows]).area_mm()
        chance = metrics.absent_landmark_auc(confidence[rows], known[rows], visible[rows])
        return np.array([np.nan if v is None else v for v in (area, chance)])

    counts = (int(np.count_nonzero(~np.isnan(errors))), int(known.sum()))
    found = hierarchical_statistics(both, results.specimen, max(1, draws // 10), seed)
    return {
        name: Headline(one.value, None, one.low, one.high, count)
        for name, one, count in zip(("curve_area_mm", "absent_auc"), found, counts, strict=True)
    }


def _over_folds(values: NDArray[np.float64], fold: Sequence[str]) -> Headline:
    folds = np.array(fold)
    used = [values[folds == name] for name in dict.fromkeys(fold)]
    parts = [part[~np.isnan(part)] for part in used]
    parts = [part for part in parts if part.size]
    if not parts:
        return Headline(None, None, None, None, 0)
    mean, sd = (float(np.mean([f(part) for part in parts])) for f in (np.mean, np.std))
    return Headline(mean, sd, None, None, sum(part.size for part in parts))


def _pooled(values: NDArray[np.float64]) -> Headline:
    used = values[~np.isnan(values)]
    if not used.size:
        return Headline(None, None, None, None, 0)
    mean, sd = float(used.mean()), float(used.std())
    half = 1.96 * sd / np.sqrt(used.size)
    return Headline(mean, sd, float(mean - half), float(mean + half), int(used.size))
