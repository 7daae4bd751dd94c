"""All numbers of an evaluation in one tree, and the short table for the terminal."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.evaluation import metrics
from SyntheXLib.evaluation.curve import CURVE_SHARES, ActivationCurve, CurvePoint, activation_curve
from SyntheXLib.evaluation.metrics import DiceSummary, EmptyRule, ErrorSummary
from SyntheXLib.evaluation.results import ImageResults


@dataclass(frozen=True)
class DiceNumbers:
    """Dice under one rule for empty masks (see `metrics`).

    Attributes
    ----------
    mean_over_structures
        Mean of the structures' means.
    pooled
        Over all structures and images together (the paper's way).
    structures
        By name, in the task's order.
    """

    mean_over_structures: float | None
    pooled: DiceSummary
    structures: dict[str, DiceSummary]


@dataclass(frozen=True)
class SpecimenNumbers:
    """Headline numbers of one specimen: images, mean Dice over the structures (strict), errors on the detector."""

    images: int
    dice: float | None
    errors: ErrorSummary


@dataclass(frozen=True)
class Summary:
    """What an evaluation found.

    Attributes
    ----------
    images
        Number of images.
    threshold
        Confidence above which a landmark is activated.
    dice, dice_released_code
        The two rules for empty masks.
    detector, isocenter
        Errors of all landmarks, mm on the detector and in the plane of the isocentre.
    landmarks
        Errors on the detector by name, in the task's order.
    curve
        Of the errors on the detector.
    at_threshold, at_shares
        The curve read at the threshold and at 50, 75, 90 and 100 % (None where it does not get so far).
    absent_auc
        See `metrics.absent_landmark_auc`.
    specimens
        By name; empty when the data set names none.
    """

    images: int
    threshold: float
    dice: DiceNumbers
    dice_released_code: DiceNumbers
    detector: ErrorSummary
    isocenter: ErrorSummary
    landmarks: dict[str, ErrorSummary]
    curve: ActivationCurve
    at_threshold: CurvePoint
    at_shares: dict[str, CurvePoint | None]
    absent_auc: float | None
    specimens: dict[str, SpecimenNumbers]

    def to_dict(self) -> dict[str, Any]:
        """For ``metrics.json``: plain numbers; the curve by its readings and its area."""
        values = asdict(self)
        values["curve"] = {
            "area_mm": self.curve.area_mm(),
            "reached_share": float(self.curve.share[-1]) if self.curve.share.size else 0.0,
            "at_threshold": values.pop("at_threshold"),
            "at_shares": values.pop("at_shares"),
        }
        return values


def summarize(results: ImageResults, threshold: float = metrics.CONFIDENCE_THRESHOLD) -> Summary:
    """Work out all numbers of an evaluation."""
    errors, confidence = results.errors_detector_mm, results.confidence
    curve = activation_curve(errors, confidence)
    names = sorted({name for name in results.specimen if name})
    return Summary(
        images=len(results),
        threshold=threshold,
        dice=_dice(results, "strict"),
        dice_released_code=_dice(results, "released-code"),
        detector=metrics.summarize_errors(errors, confidence, threshold),
        isocenter=metrics.summarize_errors(results.errors_isocenter_mm, confidence, threshold),
        landmarks={
            name: metrics.summarize_errors(errors[:, n], confidence[:, n], threshold) for n, name in enumerate(results.task.landmark_names)
        },
        curve=curve,
        at_threshold=curve.at_threshold(threshold),
        at_shares={f"{share:g}": curve.at_share(share) for share in CURVE_SHARES},
        absent_auc=metrics.absent_landmark_auc(confidence, results.known, results.visible),
        specimens={name: _specimen(results, name, threshold) for name in names},
    )


def _dice(results: ImageResults, rule: EmptyRule) -> DiceNumbers:
    each, pooled = metrics.summarize_dice(results.counts, rule)
    return DiceNumbers(metrics.mean_over_structures(each), pooled, dict(zip(results.task.structure_names, each, strict=True)))


def _specimen(results: ImageResults, name: str, threshold: float) -> SpecimenNumbers:
    rows: NDArray[np.bool_] = np.array([specimen == name for specimen in results.specimen])
    counts = metrics.Overlap(results.counts.intersection[rows], results.counts.predicted[rows], results.counts.truth[rows])
    each, _ = metrics.summarize_dice(counts)
    errors = metrics.summarize_errors(results.errors_detector_mm[rows], results.confidence[rows], threshold)
    return SpecimenNumbers(int(rows.sum()), metrics.mean_over_structures(each), errors)


def number(value: float | None, digits: int = 2, unit: str = "") -> str:
    """Fixed digits, or a dash where there is no value."""
    return "–" if value is None else f"{value:.{digits}f}{unit}"


def plus_minus(mean: float | None, sd: float | None, digits: int = 2, unit: str = "") -> str:
    """``mean ± sd``, or a dash."""
    return "–" if mean is None or sd is None else f"{mean:.{digits}f} ± {sd:.{digits}f}{unit}"


def percent(share: float | None, digits: int = 1) -> str:
    """Share as per cent, or a dash."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def terminal_table(summary: Summary) -> str:
    """The short table: Dice by structure and landmark errors."""
    width = max(len("mean over 00 structures"), *map(len, summary.dice.structures))
    lines = [f"{'Dice (truth not empty)':<{width}}   mean     SD  images"]
    for name, one in summary.dice.structures.items():
        lines.append(f"{name:<{width}}  {number(one.mean, 3):>5}  {number(one.sd, 3):>5}  {one.images:>6}")
    pooled = summary.dice.pooled
    label = f"mean over {sum(s.images > 0 for s in summary.dice.structures.values())} structures"
    lines.append(f"{label:<{width}}  {number(summary.dice.mean_over_structures, 3):>5}  {number(pooled.sd, 3):>5}  {pooled.images:>6}")
    if summary.landmarks:
        e = summary.detector
        lines += [
            "",
            f"Landmark error on the detector, all {e.visible} visible landmarks: median {number(e.median, unit=' mm')}, "
            f"mean {plus_minus(e.mean, e.sd, unit=' mm')}" + (f", {e.missing} without a prediction" if e.missing else ""),
            f"With confidence (ncc) > {summary.threshold:g}: {percent(e.activated_share)} ({e.activated} of {e.visible})"
            + (f", mean {plus_minus(e.activated_mean, e.activated_sd, unit=' mm')}" if e.activated else ""),
        ]
    return "\n".join(lines)
