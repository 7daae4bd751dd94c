"""Bones moved on their own: a specimen in which a structure stands elsewhere, as registration finds it.

The moved bone is resampled into the CT's grid, so that every renderer sees one volume. Where it was, soft tissue closes the gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.tasks.task import Task

# What closes the gap: muscle, as in the tissue round most bones.
_FILL_HU = 50


def move_structure(
    specimen: Specimen, structure: str, motion: np.ndarray, landmarks: Sequence[str] = (), fill_hu: float = _FILL_HU
) -> Specimen:
    """Move one structure as a rigid body.

    Parameters
    ----------
    specimen
        Stays as it is.
    structure
        Name of the structure.
    motion
        (4, 4) rigid transform of the world (RAS, mm): where a point of the structure goes.
    landmarks
        Names of the landmarks that go with it.
    fill_hu
        HU left behind.

    Returns
    -------
    Specimen
        With the structure's voxels (interpolated linearly), label and landmarks moved. What leaves the CT is lost.

    Raises
    ------
    SyntheXError
        When the structure is unknown or empty, a landmark is unknown, or the transform is not rigid.
    """
    motion = np.asarray(motion, float)
    if not (np.allclose(motion[:3, :3] @ motion[:3, :3].T, np.eye(3), atol=1e-4) and np.linalg.det(motion[:3, :3]) > 0):
        raise SyntheXError(f"Motion of '{structure}': expected a rigid transform, found {motion.tolist()}.")
    if structure not in specimen.structures:
        raise SyntheXError(f"Specimen {specimen.name}: structure '{structure}' is not among {', '.join(specimen.structures)}.")
    unknown = [name for name in landmarks if name not in specimen.landmarks]
    if unknown:
        raise SyntheXError(f"Specimen {specimen.name}: no landmark {', '.join(unknown)} to move with '{structure}'.")
    bit = specimen.labels.dtype.type(1 << specimen.structures.index(structure))
    mask = (specimen.labels & bit) != 0
    if not mask.any():
        raise SyntheXError(f"Specimen {specimen.name}: structure '{structure}' is empty.")

    # Index to index: where a voxel of the result comes from.
    back = np.linalg.inv(specimen.ijk_to_ras) @ np.linalg.inv(motion) @ specimen.ijk_to_ras
    box = _box_after(mask, np.linalg.inv(back))
    labels = np.where(mask, specimen.labels & ~bit, specimen.labels)
    hu = np.where(mask, np.int16(fill_hu), specimen.hu)
    if box is not None:
        share = _resampled(mask.astype(np.float32), back, box)
        # Interpolated among the bone's own voxels: those round it must not darken its rim.
        bone = _resampled(np.where(mask, specimen.hu, 0).astype(np.float32), back, box) / np.maximum(share, 1e-6)
        hu[box] = np.rint(share * bone + (1 - share) * hu[box]).astype(np.int16)
        labels[box] |= np.where(share >= 0.5, bit, bit.dtype.type(0))
    points = {name: motion[:3, :3] @ point + motion[:3, 3] if name in landmarks else point for name, point in specimen.landmarks.items()}
    return replace(specimen, hu=hu, labels=labels, landmarks=points)


def move_structures(specimen: Specimen, motions: Mapping[str, np.ndarray], task: Task) -> Specimen:
    """Move several structures, each by its (4, 4) motion with the known landmarks that the task puts on it; see `move_structure`."""
    for name, motion in motions.items():
        on_it = [m.name for m in task.landmarks if name in m.structures and np.isfinite(specimen.landmarks.get(m.name, np.nan)).all()]
        specimen = move_structure(specimen, name, motion, on_it)
    return specimen


def _box_after(mask: np.ndarray, forth: np.ndarray) -> tuple[slice, slice, slice] | None:
    """(k, j, i) slices that hold the mask once it is moved by an index transform; None where nothing of it is left."""
    kji = np.argwhere(mask)
    low, high = kji.min(0)[::-1] - 1, kji.max(0)[::-1] + 1
    corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    moved = corners @ forth[:3, :3].T + forth[:3, 3]
    size = np.array(mask.shape[::-1])
    first, last = np.clip(np.floor(moved.min(0)), 0, size).astype(int), np.clip(np.ceil(moved.max(0)) + 1, 0, size).astype(int)
    if np.any(first >= last):
        return None
    return (slice(first[2], last[2]), slice(first[1], last[1]), slice(first[0], last[0]))


def _resampled(values: np.ndarray, back: np.ndarray, box: tuple[slice, slice, slice]) -> np.ndarray:
    """Values (K, J, I) interpolated where an index transform takes the voxels of `box`; zero beyond the volume."""
    first = np.array([part.start for part in box[::-1]], float)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(back[:3, :3].ravel().tolist())
    transform.SetTranslation((back[:3, :3] @ first + back[:3, 3]).tolist())
    size = [int(part.stop - part.start) for part in box[::-1]]
    resample = sitk.Resample(
        sitk.GetImageFromArray(values), size, transform, sitk.sitkLinear, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), np.eye(3).ravel().tolist()
    )
    return sitk.GetArrayFromImage(resample)
