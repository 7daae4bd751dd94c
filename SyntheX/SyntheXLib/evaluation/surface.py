"""Distances between the outlines of a predicted and a true mask."""

import numpy as np
from numpy.typing import NDArray


def outline(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """(P, 2) row and column of the pixels of a mask (H, W) that touch a pixel outside it by an edge.

    The frame is no outline: where a bone leaves the image, its end is not seen.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return np.zeros((0, 2), np.intp)
    corner = np.array([max(rows[0] - 1, 0), max(columns[0] - 1, 0)])
    part = mask[corner[0] : rows[-1] + 2, corner[1] : columns[-1] + 2]
    padded = np.pad(part, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.argwhere(part & ~inner) + corner


def surface_distances(predicted: NDArray[np.bool_], truth: NDArray[np.bool_], spacing_mm: float) -> tuple[float, float]:
    """Average symmetric surface distance and 95 % Hausdorff distance of two masks (H, W).

    The first is the mean of the distances from each pixel of either outline to the nearest of the other one, the second the larger of the
    two directions' 95th percentiles.

    Returns
    -------
    tuple
        Both in mm; NaN where a mask has no outline (empty, or all of the frame).
    """
    from scipy.spatial import KDTree

    a, b = outline(predicted), outline(truth)
    if not len(a) or not len(b):
        return float("nan"), float("nan")
    there, back = KDTree(b).query(a)[0], KDTree(a).query(b)[0]
    mean = (there.sum() + back.sum()) / (len(a) + len(b))
    far = max(np.percentile(there, 95), np.percentile(back, 95))
    return float(mean * spacing_mm), float(far * spacing_mm)
