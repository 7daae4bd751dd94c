"""How the beam thins out over a flat detector: with the distance, and by the heel effect of the anode."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from SyntheXLib.physics.spectrum import tube_fluence

# Where the cathode lies as the image shows it: unit vector along x (right) and y (down) of the detector.
CATHODE_SIDES: dict[str, tuple[int, int]] = {"none": (0, 0), "left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
_HEEL_POINTS = 33


def relative_fluence(x_mm: np.ndarray, y_mm: np.ndarray, source_to_detector_mm: float) -> np.ndarray:
    """Photons per area of a flat detector, relative to where the central ray meets it.

    Inverse square of the distance from the source, and the cosine of the angle at which the ray meets the plane: cos^3 in all.
    The source is taken to shine equally in all directions; `heel_profile` tells how it does not.

    Parameters
    ----------
    x_mm, y_mm
        Places on the detector, mm from the central ray, of shapes that broadcast together.
    source_to_detector_mm
        Distance from the source to the detector along the central ray, mm.

    Returns
    -------
    numpy.ndarray
        float32 of the common shape, 1 on the central ray.
    """
    x, y = (np.asarray(place / source_to_detector_mm, np.float32) for place in (x_mm, y_mm))
    squared = 1 + x * x + y * y
    return 1 / (squared * np.sqrt(squared))


def heel_profile(
    towards_cathode_mm: np.ndarray,
    source_to_detector_mm: float,
    tube: tuple[float, float, float, float],
    response: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Signal along the axis from anode to cathode relative to the central ray's, due to the anode and the obliquely crossed filters.

    Only the signal changes along the axis: the beam's hardening towards the anode is left out where the object attenuates it (behind 20 cm
    of water it would make the anode's side brighter by some per cent), and so is the filters' obliqueness across the axis (below 1 %).

    Parameters
    ----------
    towards_cathode_mm
        (N,) places on the detector, mm from the central ray.
    source_to_detector_mm
        Distance from the source to the detector along the central ray, mm.
    tube
        Tube voltage (kV), aluminium and copper filtration (mm), anode angle (degrees); see `tube_fluence`.
    response
        From (E,) photon energies (keV) to the detector's signal per photon.

    Returns
    -------
    numpy.ndarray
        (N,) float32, 1 on the central ray. The inverse square of the distance is not in it.
    """
    place = np.asarray(towards_cathode_mm, float) / source_to_detector_mm
    nodes = np.linspace(place.min(), place.max(), _HEEL_POINTS)
    energies, photons = tube_fluence(*tube, np.degrees(np.arctan(np.append(nodes, 0.0))))
    signal = (photons * response(energies)).sum(1)
    return np.interp(place, nodes, signal[:-1] / signal[-1]).astype(np.float32)
