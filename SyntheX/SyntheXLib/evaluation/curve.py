"""The activation curve: what the error is when only the most confident landmarks are kept.

For a threshold phi, p(phi) is the share of the visible landmarks whose confidence lies above phi, e(phi) the mean error of these. The ideal
curve is 0 mm up to 100 %. The curve here has one point for each confidence that occurs, so no list of thresholds has to be chosen.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Shares of the visible landmarks at which the curve is read.
CURVE_SHARES = (0.5, 0.75, 0.9, 1.0)


@dataclass(frozen=True)
class CurvePoint:
    """One reading of the curve.

    Attributes
    ----------
    threshold
        Confidence threshold phi: landmarks above it are activated. At a share that was asked for, the lowest confidence that is kept.
    share
        p, activated / visible, 0..1.
    error_mm
        e, mean error of the activated ones in mm; None when there are none.
    count
        Activated landmarks.
    """

    threshold: float
    share: float
    error_mm: float | None
    count: int


@dataclass(frozen=True)
class ActivationCurve:
    """The whole curve, from the most confident landmark on.

    Attributes
    ----------
    confidence
        (K,) descending, without repeats: the lowest confidence kept at each point.
    share
        (K,) p, ascending, 0..1.
    error_mm
        (K,) e, mean error in mm of the landmarks with at least this confidence.
    visible
        Number of visible landmarks, those without a prediction included; the last share is below 1 when there are such.
    """

    confidence: NDArray[np.float64]
    share: NDArray[np.float64]
    error_mm: NDArray[np.float64]
    visible: int

    def at_threshold(self, threshold: float) -> CurvePoint:
        """Read the curve at phi: landmarks with a confidence above it."""
        kept = int(np.count_nonzero(self.confidence > threshold))
        if kept == 0:
            return CurvePoint(threshold=threshold, share=0.0, error_mm=None, count=0)
        return self._point(kept - 1, threshold)

    def at_share(self, share: float) -> CurvePoint | None:
        """Read the curve at the first point that keeps at least this share of the visible landmarks; None when it never does."""
        # Shares are whole numbers over `visible`; half of one landmark is far above rounding.
        reached = np.flatnonzero(self.share * self.visible >= share * self.visible - 1e-6)
        if not reached.size:
            return None
        return self._point(int(reached[0]), float(self.confidence[reached[0]]))

    def _point(self, k: int, threshold: float) -> CurvePoint:
        return CurvePoint(threshold, float(self.share[k]), float(self.error_mm[k]), round(self.share[k] * self.visible))

    def area_mm(self) -> float | None:
        """Area under e(p) from p = 0 to the last share, in mm; None when nothing is predicted.

        Trapezoids between the points; before the first one e keeps its value. For landmarks all equally wrong it is that error.
        """
        if not self.share.size:
            return None
        share = np.concatenate(([0.0], self.share))
        error = np.concatenate((self.error_mm[:1], self.error_mm))
        return float(np.sum(np.diff(share) * (error[1:] + error[:-1]) / 2))


def activation_curve(errors_mm: NDArray[np.float64], confidence: NDArray[np.floating]) -> ActivationCurve:
    """Make the curve of landmarks of any shape.

    Parameters
    ----------
    errors_mm
        From `metrics.landmark_errors`, in mm: NaN = not visible, infinite = visible but not predicted.
    confidence
        The same shape; only read where a landmark is visible and predicted.
    """
    visible = int(np.count_nonzero(~np.isnan(errors_mm)))
    usable = np.isfinite(errors_mm) & ~np.isnan(confidence)
    error = errors_mm[usable]
    value = confidence[usable].astype(np.float64)
    order = np.argsort(-value, kind="stable")
    error, value = error[order], value[order]
    mean = np.cumsum(error) / np.arange(1, error.size + 1)
    # Landmarks of the same confidence come in together: only the last of a run is a point.
    last = np.append(np.flatnonzero(np.diff(value) != 0), error.size - 1) if error.size else np.zeros(0, dtype=np.intp)
    return ActivationCurve(confidence=value[last], share=(last + 1) / max(visible, 1), error_mm=mean[last], visible=visible)
