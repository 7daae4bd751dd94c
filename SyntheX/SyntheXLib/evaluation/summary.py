"""All numbers of an evaluation in one tree, and the short table for the terminal."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.evaluation import metrics
from SyntheXLib.evaluation.bootstrap import DRAWS
from SyntheXLib.evaluation.calibration import LandmarkCalibration, calibrate_landmarks
from SyntheXLib.evaluation.confusion import ConfusionSummary, summarize_confusion
from SyntheXLib.evaluation.curve import CURVE_SHARES, ActivationCurve, CurvePoint, activation_curve
from SyntheXLib.evaluation.estimates import Headline, headlines
from SyntheXLib.evaluation.metrics import DiceSummary, EmptyRule, ErrorSummary
from SyntheXLib.evaluation.modes import counted_word
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
    """Numbers of one specimen or imaging system.

    Attributes
    ----------
    images
        Its images.
    dice
        Mean over the structures' means, images with an empty truth left out.
    surface_mm
        Mean of the average symmetric surface distances, mm.
    errors, isocenter
        Errors on the detector and in the plane of the isocentre.
    """

    images: int
    dice: float | None
    surface_mm: float | None
    errors: ErrorSummary
    isocenter: ErrorSummary


@dataclass(frozen=True)
class SurfaceNumbers:
    """Outline distances of one structure over the images where both masks have an outline: means in mm, and those images."""

    mean_mm: float | None
    hausdorff95_mm: float | None
    images: int


@dataclass(frozen=True)
class Summary:
    """What an evaluation found.

    Attributes
    ----------
    mode
        How landmarks were placed and what counts, see `modes`.
    notes
        What keeps the mode from being followed to the letter.
    images
        Number of images.
    threshold
        Confidence above which a landmark is activated.
    headline
        The mode's own means with spread and interval, see `estimates.headlines`; all else here is pooled.
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
    specimens, imaging_systems
        By name; empty when the data set names none.
    surface, confusion
        By structure.
    calibration
        Of the landmarks' confidence.
    mask_calibration_error
        Expected calibration error by structure; None where probabilities are not stored.
    """

    mode: str
    notes: tuple[str, ...]
    images: int
    threshold: float
    headline: dict[str, Headline]
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
    imaging_systems: dict[str, SpecimenNumbers]
    surface: dict[str, SurfaceNumbers]
    confusion: dict[str, ConfusionSummary]
    calibration: LandmarkCalibration
    mask_calibration_error: dict[str, float | None] | None

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


def summarize(results: ImageResults, threshold: float = metrics.CONFIDENCE_THRESHOLD, draws: int = DRAWS, seed: int = 0) -> Summary:
    """Work out all numbers of an evaluation; `draws` and `seed` are those of the bootstrap."""
    errors, confidence = results.errors_detector_mm, results.confidence
    curve = activation_curve(errors, confidence)
    structures = results.task.structure_names
    bins = results.pixel_bins
    confusion = summarize_confusion(results.counts, results.pixels, results.mode)
    return Summary(
        mode=results.mode,
        notes=results.notes,
        headline=headlines(results, threshold, draws, seed),
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
        specimens=_groups(results, results.specimen, threshold),
        imaging_systems=_groups(results, results.imaging_system, threshold),
        surface={name: _surface(results, c) for c, name in enumerate(structures)},
        confusion=dict(zip(structures, confusion, strict=True)),
        calibration=calibrate_landmarks(errors, confidence),
        mask_calibration_error=None if bins is None else dict(zip(structures, bins.expected_error(), strict=True)),
    )


def _dice(results: ImageResults, rule: EmptyRule) -> DiceNumbers:
    each, pooled = metrics.summarize_dice(results.counts, rule)
    return DiceNumbers(metrics.mean_over_structures(each), pooled, dict(zip(results.task.structure_names, each, strict=True)))


def _groups(results: ImageResults, group: Sequence[str], threshold: float) -> dict[str, SpecimenNumbers]:
    """Numbers of each group; images without a name are left out."""
    found = {}
    for name in sorted({name for name in group if name}):
        part = results.part(np.array([one == name for one in group]))
        each, _ = metrics.summarize_dice(part.counts)
        errors = metrics.summarize_errors(part.errors_detector_mm, part.confidence, threshold)
        isocenter = metrics.summarize_errors(part.errors_isocenter_mm, part.confidence, threshold)
        found[name] = SpecimenNumbers(len(part), metrics.mean_over_structures(each), _mean(part.surface_mm), errors, isocenter)
    return found


def _surface(results: ImageResults, structure: int) -> SurfaceNumbers:
    mean, far = results.surface_mm[:, structure], results.hausdorff95_mm[:, structure]
    return SurfaceNumbers(_mean(mean), _mean(far), int(np.count_nonzero(~np.isnan(mean))))


def _mean(values: NDArray[np.float64]) -> float | None:
    used = values[~np.isnan(values)]
    return float(used.mean()) if used.size else None


def number(value: float | None, digits: int = 2, unit: str = "") -> str:
    """Fixed digits, or a dash where there is no value."""
    return "–" if value is None else f"{value:.{digits}f}{unit}"


def plus_minus(mean: float | None, sd: float | None, digits: int = 2, unit: str = "") -> str:
    """``mean ± sd``, or a dash."""
    return "–" if mean is None or sd is None else f"{mean:.{digits}f} ± {sd:.{digits}f}{unit}"


def percent(share: float | None, digits: int = 1) -> str:
    """Share as per cent, or a dash."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"


#: What a mode's means are, in words.
MEANS = {
    "strict": "Mode strict, mean of the specimens' means with 95 % interval",
    "paper-text": "Mode paper-text, mean ± SD of the test folds' means and SDs",
    "released-code": "Mode released-code, pooled mean ± SD with 1.96 SD / sqrt(n)",
}
#: The headline numbers that are shown: title, digits, factor.
HEADLINES = {
    "activated_error_mm": ("error of the activated landmarks, mm", 2, 1),
    "activated_share": ("activated landmarks, %", 1, 100),
    "error_mm": ("error of all counted landmarks, mm", 2, 1),
    "success_2.5_mm": ("within 2.5 mm, %", 1, 100),
    "success_5_mm": ("within 5 mm, %", 1, 100),
    "success_10_mm": ("within 10 mm, %", 1, 100),
    "curve_area_mm": ("area under the activation curve, mm", 2, 1),
    "absent_auc": ("visible against out of frame by confidence, area under the ROC curve", 3, 1),
    "dice": ("Dice", 3, 1),
    "surface_mm": ("surface distance, mm", 2, 1),
}


def headline_text(one: Headline, digits: int = 2, scale: float = 1) -> str:
    """Mean with what the mode gives beside it: ``5.95 ± 3.52`` or ``5.95 [5.10, 6.80]``, or all three; SD is left out of shares."""
    if one.value is None:
        return "–"
    text = f"{scale * one.value:.{digits}f}"
    if one.sd is not None and scale == 1:
        text += f" ± {one.sd:.{digits}f}"
    if one.low is not None and one.high is not None:
        text += f" [{scale * one.low:.{digits}f}, {scale * one.high:.{digits}f}]"
    return text


def terminal_table(summary: Summary) -> str:
    """The short table: Dice by structure and landmark errors, and the mode's own means."""
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
            f"Landmark error on the detector, all {e.visible} {counted_word(summary.mode)} landmarks: "
            f"median {number(e.median, unit=' mm')}, "
            f"mean {plus_minus(e.mean, e.sd, unit=' mm')}" + (f", {e.missing} without a prediction" if e.missing else ""),
            f"With confidence (ncc) > {summary.threshold:g}: {percent(e.activated_share)} ({e.activated} of {e.visible})"
            + (f", mean {plus_minus(e.activated_mean, e.activated_sd, unit=' mm')}" if e.activated else ""),
        ]
    lines += ["", f"{MEANS[summary.mode]}:"]
    for key, (title, digits, scale) in HEADLINES.items():
        if key in summary.headline:
            lines.append(f"  {title}: {headline_text(summary.headline[key], digits, scale)}")
    return "\n".join([*lines, *(f"Note: {note}" for note in summary.notes)])
