"""How the beam thins out over a flat detector."""

import numpy as np


def relative_fluence(x_mm: np.ndarray, y_mm: np.ndarray, source_to_detector_mm: float) -> np.ndarray:
    """Photons per area of a flat detector, relative to where the central ray meets it.

    Inverse square of the distance from the source, and the cosine of the angle at which the ray meets the plane: cos^3 in all.
    A point source is taken to shine equally in all directions (no heel effect).

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
