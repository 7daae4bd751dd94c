"""Random texture: smooth noise of a given grain, in millimetres, on any voxels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def smooth_noise(shape: Sequence[int], grain_voxels: ArrayLike, rng: np.random.Generator) -> np.ndarray:
    """White noise smoothed by a Gaussian, brought to mean 0 and standard deviation 1.

    Parameters
    ----------
    shape
        (K, J, I) voxels.
    grain_voxels
        Standard deviation of the Gaussian along k, j and i, voxels.

    Returns
    -------
    numpy.ndarray
        (K, J, I) float32.
    """
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(rng.standard_normal(tuple(shape), np.float32), np.asarray(grain_voxels, float), mode="wrap", truncate=3.0)
    noise -= noise.mean()
    return noise / max(float(noise.std()), 1e-6)
