"""The patient beyond the ends of a CT: X-rays show more than a chest CT holds, shoulders, neck and belly.

At the sides and below, the border goes straight on, as `simulation.view.ct_coverage` takes it to. Above, the top slice goes on too and
becomes smaller, so that shoulders slope to a neck; what would be bone there, away from the middle, becomes soft tissue.
Nothing of it is labelled.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.tasks.settings import ContinuationSettings

_BODY_HU, _AIR_HU = -300, -1000
# Beyond this distance from the middle of the neck (mm, at full size) there is no spine: nothing above is denser than this.
_SPINE_MM, _SOFT_HU = 45.0, 80
# The slope of the shoulders ends at this share of the way; the neck goes straight on.
_SLOPE = 0.6


def continue_beyond(specimen: Specimen, settings: ContinuationSettings) -> Specimen:
    """The specimen on a larger grid.

    Parameters
    ----------
    specimen
        Stays as it is.
    settings
        How far it goes on, and how small the neck becomes; by the voxel axes that are nearest to R and S.

    Returns
    -------
    Specimen
        The same voxels at the same places of the world, and more round them. Structures and landmarks are those of before.
    """
    hu, labels, matrix = specimen.hu, specimen.labels, specimen.ijk_to_ras.copy()
    for direction, before_mm, after_mm in ((0, settings.sides_mm, settings.sides_mm), (2, settings.below_mm, settings.above_mm)):
        column = int(np.abs(matrix[direction, :3]).argmax())
        spacing = float(np.linalg.norm(matrix[:3, column]))
        counts = [round(before_mm / spacing), round(after_mm / spacing)]
        rising = matrix[direction, column] > 0
        low, high = counts if rising else counts[::-1]
        axis = 2 - column
        padding = [(low, high) if number == axis else (0, 0) for number in range(3)]
        hu = np.pad(hu, padding, mode="edge")
        labels = np.pad(labels, padding)
        matrix[:3, 3] -= low * matrix[:3, column]
        if direction == 2 and settings.neck != 1 and counts[1]:
            _shape_neck(hu, axis, high if rising else low, rising, matrix, settings.neck)
    return replace(specimen, hu=hu, labels=labels, ijk_to_ras=matrix)


def _shape_neck(hu: np.ndarray, axis: int, count: int, rising: bool, matrix: np.ndarray, neck: float) -> None:
    """Make the `count` slices above the CT smaller towards the upper end, in place."""
    from scipy.ndimage import affine_transform

    slices = np.moveaxis(hu, axis, 0)
    slices = slices if rising else slices[::-1]
    last = slices[-count - 1].astype(np.float32)
    body = np.argwhere(last > _BODY_HU)
    if not len(body):
        return
    middle = body.mean(0)
    across = int(np.abs(matrix[0, :3]).argmax())  # the voxel axis along R, and its place in a slice
    along = [number for number in range(3) if number != axis].index(2 - across)
    spacing = float(np.linalg.norm(matrix[:3, across]))
    away = np.abs(np.arange(last.shape[along]) - middle[along]) * spacing > _SPINE_MM
    soft = np.expand_dims(np.where(away, _SOFT_HU, np.inf), 1 - along)
    last = np.minimum(last, soft)
    for number in range(count):
        size = 1 + (neck - 1) * min((number + 1) / (_SLOPE * count), 1.0)
        shrunk = affine_transform(last, np.full(2, 1 / size), middle * (1 - 1 / size), order=1, cval=_AIR_HU)
        slices[-count + number] = np.rint(shrunk).astype(hu.dtype)
