"""Other patients from one CT: mirrored, scaled, deformed, of another density.

Mirror and scale change the IJK-to-RAS matrix alone, so not a voxel is interpolated. A deformation resamples the CT; labels go along by
nearest neighbour, landmarks by the inverse of the displacement, which maps where a voxel of the result comes from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import SimpleITK as sitk

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.tasks.settings import VariationSettings
from SyntheXLib.tasks.task import Task

# Distance of the points between which a displacement is interpolated linearly, mm; far below that of its control points.
_FIELD_MM = 6.0
# Displacements are cut off at so many standard deviations; together with the steepness that a task may have the field cannot fold.
_CUT_SD = 2.0
_STEPS, _TOLERANCE_MM = 100, 1e-4
_AIR_HU = -1000


def vary_specimen(specimen: Specimen, task: Task, rng: np.random.Generator) -> tuple[Specimen, dict[str, Any]]:
    """Draw another patient by the task's `VariationSettings`.

    Parameters
    ----------
    specimen
        Stays as it is.
    task
        Its variation, and its pairs of left and right.
    rng
        Decides everything.

    Returns
    -------
    specimen : Specimen
        Deformed, then with other densities, mirrored, scaled.
    record : dict
        What was drawn, for JSON.
    """
    settings: VariationSettings = task.variation
    # One stream each: what is switched off in the task moves no other.
    shape, mirror, scale, density = (np.random.default_rng(rng.integers(2**63)) for _ in range(4))
    record: dict[str, Any] = {}
    if settings.deformation_mm:
        field = random_displacement(specimen, settings.deformation_mm, settings.deformation_spacing_mm, shape)
        specimen = deform(specimen, field)
        record["deformation_rms_mm"] = round(float(np.sqrt((field.vectors**2).sum(-1).mean())), 3)
    factors = np.exp(density.normal(0, settings.attenuation_sd, len(specimen.structures)))
    shift = float(density.normal(0, settings.hu_shift_sd))
    if settings.attenuation_sd or settings.hu_shift_sd:
        specimen = with_densities(specimen, dict(zip(specimen.structures, factors.tolist(), strict=True)), shift)
        record |= {"attenuation": dict(zip(specimen.structures, np.round(factors, 5).tolist(), strict=True)), "hu_shift": round(shift, 3)}
    record["mirrored"] = bool(mirror.random() < settings.mirror_probability)
    if record["mirrored"]:
        specimen = mirror_specimen(specimen, task)
    size = scale.uniform(*settings.scale, 3)
    record["scale_ras"] = np.round(size, 5).tolist()
    return scale_specimen(specimen, size), record


def mirror_specimen(specimen: Specimen, task: Task) -> Specimen:
    """Exchange left and right about the sagittal plane through the CT's middle; labels and landmarks change to the task's partners."""
    middle = specimen.structure_centroid(())[0]
    matrix = np.diag([-1.0, 1.0, 1.0, 1.0])
    matrix[0, 3] = 2 * middle
    partner = {s.name: s.mirror for s in task.structures} | {m.name: m.mirror for m in task.landmarks}
    labels = np.zeros_like(specimen.labels)
    for bit, name in enumerate(specimen.structures):
        to = specimen.structures.index(partner.get(name, name))
        labels |= ((specimen.labels >> labels.dtype.type(bit)) & labels.dtype.type(1)) << labels.dtype.type(to)
    moved = _moved(specimen, matrix)
    return replace(moved, labels=labels, landmarks={partner.get(name, name): point for name, point in moved.landmarks.items()})


def scale_specimen(specimen: Specimen, factors: np.ndarray) -> Specimen:
    """Scale along R, A and S (3,) about the CT's middle."""
    if not np.all(np.asarray(factors) > 0):
        raise SyntheXError(f"Scale of {specimen.name}: expected factors above 0, found {np.asarray(factors).tolist()}.")
    middle = specimen.structure_centroid(())
    matrix = np.diag([*factors, 1.0])
    matrix[:3, 3] = middle - np.asarray(factors) * middle
    return _moved(specimen, matrix)


def with_densities(specimen: Specimen, factors: dict[str, float], hu_shift: float) -> Specimen:
    """Multiply the attenuation (HU + 1000) of structures, and shift all HU: water by `hu_shift`, air not at all, between in proportion."""
    excess = np.maximum(specimen.hu.astype(np.float32) - _AIR_HU, 0)
    for bit, name in enumerate(specimen.structures):
        if factors.get(name, 1.0) != 1.0:
            inside = (specimen.labels >> specimen.labels.dtype.type(bit)) & specimen.labels.dtype.type(1) != 0
            excess[inside] *= np.float32(factors[name])
    excess += np.float32(hu_shift) * np.minimum(excess / 1000, 1)
    return replace(specimen, hu=np.rint(np.clip(excess + _AIR_HU, _AIR_HU, 32767)).astype(np.int16))


@dataclass(frozen=True)
class Displacement:
    """A smooth displacement, in a specimen's voxel axes.

    Attributes
    ----------
    vectors
        (K, J, I, 3) along i, j and k, mm, on a grid from the first voxel's centre.
    spacing_mm
        (3,) of that grid along i, j and k.
    """

    vectors: np.ndarray
    spacing_mm: np.ndarray

    def at(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) displacement at points (N, 3) in voxel axes, mm from the first voxel's centre; linear between the grid's."""
        from scipy.ndimage import map_coordinates

        places = (points / self.spacing_mm)[:, ::-1].T
        return np.stack([map_coordinates(self.vectors[..., axis], places, order=1, mode="nearest") for axis in range(3)], axis=1)

    def inverse(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) points p with p + displacement(p) = `points`, by fixed-point iteration to 0.1 um.

        Raises
        ------
        SyntheXError
            When the field folds.
        """
        found = points.copy()
        for _ in range(_STEPS):
            step = points - self.at(found) - found
            found = found + step
            if np.abs(step).max(initial=0) < _TOLERANCE_MM:
                return found
        raise SyntheXError("The deformation folds: expected a deformation_mm far below its deformation_spacing_mm.")


def random_displacement(specimen: Specimen, sd_mm: float, spacing_mm: float, rng: np.random.Generator) -> Displacement:
    """Normal displacements, cut off at two standard deviations, at control points `spacing_mm` apart; cubic B-splines between them."""
    from scipy.ndimage import zoom

    extent = (np.array(specimen.hu.shape) - 1) * specimen.spacing_mm[::-1]  # k, j, i
    controls = np.maximum(np.ceil(extent / spacing_mm).astype(int), 1) + 1
    points = np.maximum(np.ceil(extent / _FIELD_MM).astype(int), 1) + 1
    values = np.clip(rng.normal(0, sd_mm, (*controls, 3)), -_CUT_SD * sd_mm, _CUT_SD * sd_mm)
    vectors = np.stack([zoom(values[..., axis], points / controls, order=3, mode="nearest") for axis in range(3)], axis=-1)
    return Displacement(vectors, (extent / (np.array(vectors.shape[:3]) - 1))[::-1])


def deform(specimen: Specimen, field: Displacement) -> Specimen:
    """Take every voxel from where the displacement points; beyond the CT its border goes on.

    Landmarks move to the place that is taken from theirs; one that leaves the CT becomes unknown.
    """
    transform = _transform(field)
    # As floating point numbers: ITK cuts off the fraction of integers.
    hu = np.rint(_resampled(specimen.hu.astype(np.float32), specimen.spacing_mm, transform, sitk.sitkLinear)).astype(np.int16)
    labels = _resampled(specimen.labels, specimen.spacing_mm, transform, sitk.sitkNearestNeighbor)
    landmarks = dict(specimen.landmarks)
    known = [name for name, point in landmarks.items() if np.isfinite(point).all()]
    if known:
        back = np.linalg.inv(specimen.ijk_to_ras)
        ijk = np.array([back[:3, :3] @ landmarks[name] + back[:3, 3] for name in known])
        moved = field.inverse(ijk * specimen.spacing_mm) / specimen.spacing_mm
        inside = np.all((moved >= -0.5) & (moved <= np.array(specimen.hu.shape[::-1]) - 0.5), axis=1)
        for name, place, kept in zip(known, moved, inside, strict=True):
            landmarks[name] = specimen.ijk_to_ras[:3, :3] @ place + specimen.ijk_to_ras[:3, 3] if kept else np.full(3, np.nan)
    return replace(specimen, hu=hu, labels=labels, landmarks=landmarks)


def _transform(field: Displacement) -> sitk.Transform:
    # ITK displaces nothing beyond the grid: one more point on every side, so that rounding puts no voxel there.
    vectors = np.pad(field.vectors, ((1, 1), (1, 1), (1, 1), (0, 0)), mode="edge")
    image = sitk.GetImageFromArray(np.ascontiguousarray(vectors, np.float64), isVector=True)
    image.SetSpacing(field.spacing_mm.tolist())
    image.SetOrigin((-field.spacing_mm).tolist())
    return sitk.DisplacementFieldTransform(image)


def _resampled(array: np.ndarray, spacing: np.ndarray, transform: sitk.Transform, interpolator: int) -> np.ndarray:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing.tolist())
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(image)
    resampler.SetTransform(transform)
    resampler.SetInterpolator(interpolator)
    resampler.UseNearestNeighborExtrapolatorOn()
    return sitk.GetArrayFromImage(resampler.Execute(image))


def _moved(specimen: Specimen, matrix: np.ndarray) -> Specimen:
    """The specimen at another place of the world, by a (4, 4) affine map of it."""
    landmarks = {name: matrix[:3, :3] @ point + matrix[:3, 3] for name, point in specimen.landmarks.items()}
    return replace(specimen, ijk_to_ras=matrix @ specimen.ijk_to_ras, landmarks=landmarks)
