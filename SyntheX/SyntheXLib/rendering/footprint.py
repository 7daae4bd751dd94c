"""The pixels that may see a body: those within the picture of the box around it, row by row."""

from __future__ import annotations

from itertools import product

import numpy as np

from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.solids import Placed

_SLACK = 1e-6  # pixels, for rounding; a corner must also lie this far (mm) before the source


def footprint(body: Placed, camera: Camera) -> np.ndarray:
    """Indices (M,) into the rows x columns of the image, rising, of all pixels whose ray can meet a body; most of a view drops out.

    The picture of a box is the convex hull of the pictures of its corners, and a row of the image cuts that hull between the outermost of
    its cuts with the lines from corner to corner. A box that reaches behind the source may be anywhere.
    """
    corners = np.array(list(product(*body.solid.bounds.T))) @ body.transform[:3, :3].T + body.transform[:3, 3]
    height, width = camera.shape
    seen = corners @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
    if seen[:, 2].min() <= _SLACK:
        return np.arange(height * width)
    column, row = ((seen @ camera.intrinsics.T)[:, :2] / seen[:, 2:]).T
    first, second = np.triu_indices(len(corners), 1)
    swap = row[first] > row[second]
    upper, lower = np.where(swap, second, first), np.where(swap, first, second)
    top = max(0, int(np.ceil(row.min() - _SLACK)))
    rows = np.arange(top, min(height - 1, int(np.floor(row.max() + _SLACK))) + 1)[:, None]
    ends = []
    for side in (-_SLACK, _SLACK):
        part = np.clip((rows + side - row[upper]) / np.maximum(row[lower] - row[upper], 1e-3 * _SLACK), 0, 1)
        ends.append(column[upper] + part * (column[lower] - column[upper]))
    cut = (rows + _SLACK >= row[upper]) & (rows - _SLACK <= row[lower])
    left = np.where(cut, np.minimum(*ends), np.inf).min(1, initial=np.inf) - _SLACK
    right = np.where(cut, np.maximum(*ends), -np.inf).max(1, initial=-np.inf) + _SLACK
    left, right = np.ceil(left).clip(0, width).astype(np.int64), np.floor(right).clip(-1, width - 1).astype(np.int64)
    count = np.maximum(right - left + 1, 0)
    begin = rows[:, 0] * width + left
    return np.arange(count.sum()) + np.repeat(begin - np.cumsum(count) + count, count)


def rays_of(pixels: np.ndarray, camera: Camera) -> np.ndarray:
    """(M, 3) rays of `Camera.rays` at pixels (M,) as `footprint` numbers them: camera frame, from the source, scaled to z = 1."""
    row, column = np.divmod(pixels, camera.shape[1])
    x = (column - camera.intrinsics[0, 2]) / camera.intrinsics[0, 0]
    y = (row - camera.intrinsics[1, 2]) / camera.intrinsics[1, 1]
    return np.stack([x, y, np.ones_like(x)], axis=1)
