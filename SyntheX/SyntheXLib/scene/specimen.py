"""A specimen: CT, projected structures and landmarks in one frame (world = RAS, mm), checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from SyntheXLib.errors import SyntheXError

# Below the thinnest padding value in use (-3024) and above any metal on the 16-bit scale, the numbers are no Hounsfield units.
_HU_LIMITS = (-5000.0, 32767.0)


@dataclass(frozen=True)
class Specimen:
    """CT with labels and landmarks.

    Attributes
    ----------
    name
        For people and files.
    hu
        (K, J, I) int16 Hounsfield units.
    ijk_to_ras
        (4, 4) from voxel index (i, j, k) to world (RAS, mm); oblique and mirrored axes are normal.
    labels
        (K, J, I) unsigned bit field: bit n is set inside structure n; structures may overlap.
    structures
        Names of the structures, in the order of their bits.
    landmarks
        Name to (3,) world position (RAS, mm); NaN where unknown.
    warnings
        What was noticed but does not stop the work, one sentence each.
    """

    name: str
    hu: np.ndarray
    ijk_to_ras: np.ndarray
    labels: np.ndarray
    structures: tuple[str, ...]
    landmarks: Mapping[str, np.ndarray]
    warnings: tuple[str, ...] = field(default=())

    @property
    def spacing_mm(self) -> np.ndarray:
        """(3,) voxel size along i, j and k, mm."""
        return np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)

    def structure_centroid(self, names: Sequence[str]) -> np.ndarray:
        """(3,) centroid (RAS, mm) of all voxels that belong to any of the structures; without names, the middle of the CT.

        Raises
        ------
        SyntheXError
            When a structure is unknown or none of them has a voxel.
        """
        if not names:
            return self.ijk_to_ras[:3, :3] @ ((np.array(self.hu.shape[::-1]) - 1) / 2) + self.ijk_to_ras[:3, 3]
        bits = 0
        for name in names:
            if name not in self.structures:
                raise SyntheXError(f"Specimen {self.name}: structure '{name}' is not among {', '.join(self.structures)}.")
            bits |= 1 << self.structures.index(name)
        kji = np.argwhere(self.labels & self.labels.dtype.type(bits))
        if not len(kji):
            raise SyntheXError(
                f"Specimen {self.name}: the structures {', '.join(names)} are empty in the label map; the isocentre needs one."
            )
        return self.ijk_to_ras[:3, :3] @ kji.mean(0)[::-1] + self.ijk_to_ras[:3, 3]

    def landmark_array(self, names: Sequence[str]) -> np.ndarray:
        """(L, 3) positions (RAS, mm) of the named landmarks; NaN where the specimen has none."""
        unknown = np.full(3, np.nan)
        return np.array([self.landmarks.get(name, unknown) for name in names], float).reshape(-1, 3)


def make_specimen(
    name: str,
    hu: np.ndarray,
    ijk_to_ras: np.ndarray,
    masks: Mapping[str, np.ndarray],
    structures: Sequence[str],
    landmarks: Mapping[str, np.ndarray] | None = None,
    landmark_names: Sequence[str] | None = None,
    made: Sequence[str] = (),
) -> Specimen:
    """Check the parts and put them together.

    Parameters
    ----------
    name
        Named in every message.
    hu
        (K, J, I) Hounsfield units of any numeric type.
    ijk_to_ras
        (4, 4) voxel index (i, j, k) to world (RAS, mm).
    masks
        Structure to (K, J, I) bool.
    structures
        All structures of the task, in the order of their bits. One without a voxel gives a warning; if all are, it is an error.
    landmarks
        Name to (3,) world position (RAS, mm).
    landmark_names
        Landmarks of the task: others are dropped with a warning, missing ones are listed in a warning. None keeps all.
    made
        Structures that need not be there, since a tool or synthesised lesions are them.

    Raises
    ------
    SyntheXError
        When the CT has NaN or values that are no Hounsfield units, the transform is singular, a mask has another shape, no structure has
        a voxel, or a landmark lies outside the CT.
    """
    ijk_to_ras = np.asarray(ijk_to_ras, float)
    warnings: list[str] = []
    if hu.ndim != 3 or min(hu.shape) < 1:
        raise SyntheXError(f"CT of {name}: expected a volume of three axes, found shape {hu.shape}.")
    if not np.isfinite(ijk_to_ras).all() or abs(np.linalg.det(ijk_to_ras[:3, :3])) < 1e-9:
        raise SyntheXError(f"CT of {name}: the IJK-to-RAS matrix must be invertible, found {ijk_to_ras.tolist()}.")
    hu = _checked_hu(name, hu, warnings)
    bits = _bit_field(name, masks, structures, hu.shape, warnings, made)
    points = _checked_landmarks(name, landmarks or {}, landmark_names, ijk_to_ras, hu.shape, warnings)
    return Specimen(name, hu, ijk_to_ras, bits, tuple(structures), points, tuple(warnings))


def _checked_hu(name: str, hu: np.ndarray, warnings: list[str]) -> np.ndarray:
    if np.issubdtype(hu.dtype, np.floating) and not np.isfinite(hu).all():
        raise SyntheXError(
            f"CT of {name}: expected finite Hounsfield units, found {int((~np.isfinite(hu)).sum())} voxels that are NaN or infinite."
        )
    low, high = float(hu.min()), float(hu.max())
    if low < _HU_LIMITS[0] or high > _HU_LIMITS[1]:
        raise SyntheXError(
            f"CT of {name}: expected Hounsfield units within {_HU_LIMITS[0]:g} to {_HU_LIMITS[1]:g}, found {low:g} to {high:g}."
        )
    if -1 <= low < high <= 1:
        raise SyntheXError(
            f"CT of {name}: expected Hounsfield units (air near -1000, bone up to 3000), found {low:g} to {high:g}: is it normalised?"
        )
    if low > -200:
        warnings.append(f"CT of {name} holds no air (lowest value {low:g} HU): check that the values are Hounsfield units.")
    return np.rint(hu).astype(np.int16)


def _bit_field(
    name: str,
    masks: Mapping[str, np.ndarray],
    structures: Sequence[str],
    shape: tuple[int, ...],
    warnings: list[str],
    made: Sequence[str],
) -> np.ndarray:
    bits = np.zeros(shape, np.uint16 if len(structures) <= 16 else np.uint32)
    empty = []
    for bit, structure in enumerate(structures):
        mask = masks.get(structure)
        if mask is None or not mask.any():
            empty += [structure] if structure not in made else []
            continue
        if mask.shape != shape:
            raise SyntheXError(f"Label map of {name}: '{structure}' has shape {mask.shape}, expected the CT's {shape}.")
        bits[mask] |= bits.dtype.type(1 << bit)
    if empty and len(empty) == len(set(structures) - set(made)):
        raise SyntheXError(f"Label map of {name}: none of the structures {', '.join(structures)} has a voxel.")
    if empty:
        warnings.append(f"Label map of {name}: no voxel of {', '.join(empty)}.")
    return bits


def _checked_landmarks(
    name: str,
    landmarks: Mapping[str, np.ndarray],
    wanted: Sequence[str] | None,
    ijk_to_ras: np.ndarray,
    shape: tuple[int, ...],
    warnings: list[str],
) -> dict[str, np.ndarray]:
    points: dict[str, np.ndarray] = {}
    ras_to_ijk = np.linalg.inv(ijk_to_ras)
    for key, value in landmarks.items():
        if wanted is not None and key not in wanted:
            warnings.append(f"Landmark '{key}' of {name} is not one of the task's and is left out.")
            continue
        point = np.asarray(value, float)
        if np.isfinite(point).all():
            ijk = ras_to_ijk[:3, :3] @ point + ras_to_ijk[:3, 3]
            if np.any(ijk < -0.5) or np.any(ijk > np.array(shape[::-1]) - 0.5):
                raise SyntheXError(
                    f"Landmark '{key}' of {name} at RAS ({', '.join(f'{c:.1f}' for c in point)}) mm lies outside the CT: "
                    "expected the CT's frame; is it LPS taken for RAS?"
                )
        points[key] = point
    missing = [key for key in wanted or () if not np.isfinite(points.get(key, np.full(3, np.nan))).all()]
    if missing:
        warnings.append(f"Landmarks of {name}: {', '.join(missing)} not known; left out of training and metrics.")
    return points
