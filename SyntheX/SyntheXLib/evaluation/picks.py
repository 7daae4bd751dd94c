"""Where a mode puts the landmarks of an image, and how sure it is of them."""

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.evaluation.modes import Mode, is_tool
from SyntheXLib.tasks.task import Task

Picks = tuple[NDArray[np.float32], NDArray[np.float32]]


def picked(
    mode: Mode,
    task: Task,
    landmarks: NDArray[np.floating],
    confidence: NDArray[np.floating],
    masks: NDArray[np.bool_],
    heatmaps: NDArray[np.floating] | None,
    sigma_px: float,
) -> Picks:
    """Landmarks and confidence of one image as a mode counts them.

    Parameters
    ----------
    mode, task
        See `modes`.
    landmarks, confidence
        (L, 2) column and row of the heatmaps' peaks, pixels of the image, and (L,), as predicted.
    masks
        (C, H, W) predicted structures.
    heatmaps
        (L, h, w) on the network's grid, which covers the same field. None where they are not stored: then the stored peaks are rounded
        to whole pixels, and in ``released-code`` one outside its structure is dropped, while with heatmaps the highest pixel inside is
        taken.
    sigma_px
        Standard deviation of the ideal peak on the network's grid, pixels.

    Returns
    -------
    tuple
        (L, 2) and (L,) float32; NaN where there is no landmark.
    """
    if mode == "strict":
        return landmarks.astype(np.float32), confidence.astype(np.float32)
    allowed = [_inside(task, n, masks) if mode == "released-code" else None for n in range(len(task.landmarks))]
    if heatmaps is None:
        return _of_peaks(landmarks, confidence, allowed)
    return _of_heatmaps(heatmaps.astype(np.float32), allowed, masks.shape[1:], sigma_px)


def _inside(task: Task, landmark: int, masks: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """(H, W) where the released code looks for a landmark; None = anywhere."""
    names = task.landmarks[landmark].structures
    if is_tool(task) or not names:
        return None
    inside: NDArray[np.bool_] = np.logical_or.reduce([masks[task.structure_names.index(name)] for name in names])
    return inside


def _of_peaks(landmarks: NDArray[np.floating], confidence: NDArray[np.floating], allowed: list[NDArray[np.bool_] | None]) -> Picks:
    points, sure = np.rint(landmarks).astype(np.float32), confidence.astype(np.float32)
    for n, where in enumerate(allowed):
        if where is None or not np.isfinite(points[n]).all():
            continue
        column, row = points[n].astype(int)
        if not (0 <= row < where.shape[0] and 0 <= column < where.shape[1] and where[row, column]):
            points[n], sure[n] = np.nan, np.nan
    return points, sure


def _of_heatmaps(heatmaps: NDArray[np.float32], allowed: list[NDArray[np.bool_] | None], shape: tuple[int, ...], sigma_px: float) -> Picks:
    import torch

    from SyntheXLib.networks.heatmaps import peak_confidence

    count, height, width = heatmaps.shape
    scale = np.array([shape[1] / width, shape[0] / height])
    # The pixel of the image under the middle of each pixel of the heatmap.
    columns = np.minimum(((np.arange(width) + 0.5) * scale[0]).astype(int), shape[1] - 1)
    rows = np.minimum(((np.arange(height) + 0.5) * scale[1]).astype(int), shape[0] - 1)
    places = np.zeros((count, 2))
    missing = np.zeros(count, bool)
    for n, (heat, where) in enumerate(zip(heatmaps, allowed, strict=True)):
        if where is not None:
            inside = where[rows[:, None], columns]
            missing[n] = not inside.any()
            heat = np.where(inside, heat, -np.inf)
        row, column = np.unravel_index(int(heat.argmax()), heat.shape)
        places[n] = column, row
    sure = peak_confidence(torch.from_numpy(heatmaps)[None], torch.from_numpy(places).float()[None], sigma_px)[0].numpy()
    points = ((places + 0.5) * scale - 0.5).astype(np.float32)
    points[missing], sure[missing] = np.nan, np.nan
    return points, sure
