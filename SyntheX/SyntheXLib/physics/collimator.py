"""The collimator: what of the beam its blades let through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SyntheXLib.errors import SyntheXError

# Openings of this size lie beyond any detector.
_OPEN_MM = 1000.0


@dataclass(frozen=True)
class Collimator:
    """Two pairs of shutter blades and an iris in front of the tube; all that passes both is the field.

    Attributes
    ----------
    width_mm, height_mm
        Distance between the blades' shadows on the detector, mm.
    iris_mm
        Diameter of the iris' shadow on the detector, mm.
    center_x_mm, center_y_mm
        Middle of the field on the detector, mm to the right of and below the central ray.
    rotation_deg
        Turn of the blades about the middle of the field, degrees, clockwise in the image.
    leakage
        Share of the beam that the blades let through, 0 to 1.
    source_to_blades_mm
        From the focal spot to the blades, mm: with the focal spot's size it gives the penumbra. Typical of a C-arm, not measured.
    """

    width_mm: float = _OPEN_MM
    height_mm: float = _OPEN_MM
    iris_mm: float = _OPEN_MM
    center_x_mm: float = 0.0
    center_y_mm: float = 0.0
    rotation_deg: float = 0.0
    leakage: float = 0.0
    source_to_blades_mm: float = 300.0

    def __post_init__(self) -> None:
        for name in ("width_mm", "height_mm", "iris_mm", "source_to_blades_mm"):
            if not getattr(self, name) > 0:
                raise SyntheXError(f"Collimator: {name} must be above 0, found {getattr(self, name):g}.")
        if not 0 <= self.leakage <= 1:
            raise SyntheXError(f"Collimator: leakage must lie within 0 to 1, found {self.leakage:g}.")

    @property
    def reach_mm(self) -> float:
        """How far the field goes from the central ray along either axis of the detector, mm, at most."""
        cosine, sine = np.abs(np.cos(np.deg2rad(self.rotation_deg))), np.abs(np.sin(np.deg2rad(self.rotation_deg)))
        blades = max(self.width_mm * cosine + self.height_mm * sine, self.width_mm * sine + self.height_mm * cosine)
        return float(min(blades, self.iris_mm) / 2 + max(abs(self.center_x_mm), abs(self.center_y_mm)))

    def penumbra_mm(self, focal_spot_mm: float, source_to_detector_mm: float) -> float:
        """Width (mm, on the detector) over which an edge of the field falls off: the focal spot seen through the pinhole of the blades."""
        return focal_spot_mm * max(source_to_detector_mm / self.source_to_blades_mm - 1, 0.0)

    def opening(self, x_mm: np.ndarray, y_mm: np.ndarray, penumbra_mm: float) -> np.ndarray:
        """Share of the beam let through.

        Parameters
        ----------
        x_mm, y_mm
            Places on the detector, mm from the central ray, of shapes that broadcast together.
        penumbra_mm
            Width over which an edge falls off linearly, mm. Exact for straight blades along the focal spot's sides; the iris' edge, which
            is far from straight only where it is as narrow as that, is taken to be so everywhere.

        Returns
        -------
        numpy.ndarray
            float32 of the common shape, `leakage` to 1.
        """
        x, y = x_mm - self.center_x_mm, y_mm - self.center_y_mm
        farthest = np.hypot(np.abs(x).max(), np.abs(y).max()) + penumbra_mm / 2
        if farthest <= min(self.width_mm, self.height_mm, self.iris_mm) / 2:  # all edges lie beyond, as of most devices' open field
            return np.ones(np.broadcast_shapes(x.shape, y.shape), np.float32)
        angle = np.deg2rad(self.rotation_deg)
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)

        def inside(margin_mm: np.ndarray) -> np.ndarray:
            return np.clip(margin_mm / max(penumbra_mm, 1e-6) + 0.5, 0, 1)

        def between(place: np.ndarray, size_mm: float) -> np.ndarray:
            return np.maximum(inside(size_mm / 2 - place) + inside(size_mm / 2 + place) - 1, 0)

        field = between(along, self.width_mm) * between(across, self.height_mm) * inside(self.iris_mm / 2 - np.hypot(x, y))
        return (self.leakage + (1 - self.leakage) * field).astype(np.float32)
