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

    # A coarse grain is made on a coarse grid, two of its points a standard deviation, which saves most of the time.
    grain = np.broadcast_to(np.asarray(grain_voxels, float), 3)
    step = np.maximum(grain / 2, 1).astype(int)
    points = -(-np.asarray(shape) // step) + 1
    noise = gaussian_filter(rng.standard_normal(tuple(points), np.float32), grain / step, mode="wrap", truncate=3.0)
    for axis in range(3):
        place = np.arange(shape[axis]) / np.float32(step[axis])
        lower = place.astype(int)
        part = (place - lower).astype(np.float32).reshape([-1 if axis == other else 1 for other in range(3)])
        noise = noise.take(lower, axis) * (1 - part) + noise.take(lower + 1, axis) * part if step[axis] > 1 else noise.take(lower, axis)
    noise -= noise.mean()
    return noise / np.float32(max(float(noise.std()), 1e-6))
