"""How the beam thins out over a flat detector."""

import numpy as np


def relative_fluence(directions: np.ndarray) -> np.ndarray:
    """Photons per area of a flat detector, relative to where the central ray meets it.

    Inverse square of the distance from the source, and the cosine of the angle at which the ray meets the plane: cos^3 in all.
    A point source is taken to shine equally in all directions (no heel effect).

    Parameters
    ----------
    directions
        (..., 3) rays in the camera frame (z towards the detector), scaled to z = 1, as `Camera.rays` gives them.

    Returns
    -------
    numpy.ndarray
        (...), 1 on the central ray.
    """
    return np.sum(directions * directions, axis=-1) ** -1.5
