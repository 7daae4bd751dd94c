"""Lesions put into the lungs of a CT: ground glass and consolidation, as pneumonia has them, with their label.

A lesion is an ellipsoid whose surface smooth noise displaces, cut by the lung. In it every voxel is raised to the lesion's density where it
lies below: vessels stay visible in ground glass and drown in a consolidation. Towards its margin it fades into the lung.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import SimpleITK as sitk

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import largest_component
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.scene.texture import smooth_noise
from SyntheXLib.tasks.settings import LesionSettings

# Places are drawn on a grid of about so many mm.
_GRID_MM = 3.0
# Depth below the pleura over which a peripheral lesion's density of places falls to 1/e, mm.
_PERIPHERY_MM = 10.0
# Standard deviation of the displaced surface, and grain of the displacement, relative to the radius.
_ROUGHNESS, _ROUGH_GRAIN = 0.25, 0.35
# Longest half axis of an ellipsoid relative to the shortest.
_ELONGATION = 2.0
# How far the surface reaches beyond the ellipsoid at most, relative to the radius.
_REACH = 1.8


def has_lesions(specimen: Specimen, structure: str) -> bool:
    """Whether a voxel of the specimen is labelled as a lesion; never, where lesions are no structure (an empty name)."""
    return bool(structure) and bool((specimen.labels & _bit(specimen, structure)).any())


def add_lesions(specimen: Specimen, settings: LesionSettings, rng: np.random.Generator) -> tuple[Specimen, list[dict[str, Any]]]:
    """Put lesions into the lungs.

    Parameters
    ----------
    specimen
        Stays as it is.
    settings
        Number, size, density, texture and place; see `LesionSettings`.
    rng
        Decides all of them.

    Returns
    -------
    specimen : Specimen
        With HU raised and labelled within the lungs.
    record : list of dict
        Of each lesion kind, diameter (mm), mean HU, centre (RAS, mm) and volume (mm3), for JSON.

    Raises
    ------
    SyntheXError
        When no voxel is lung.
    """
    lung_bits = sum(int(_bit(specimen, name)) for name in settings.lungs)
    lung = (specimen.labels & specimen.labels.dtype.type(lung_bits)) != 0
    if not lung.any():
        raise SyntheXError(f"Specimen {specimen.name}: no voxel of {', '.join(settings.lungs)}, into which the lesions are put.")
    hu, labels = specimen.hu.copy(), specimen.labels.copy()
    places, weights = _places(specimen, lung, settings)
    bit = _bit(specimen, settings.structure) if settings.structure else labels.dtype.type(0)
    record = []
    for _ in range(int(rng.integers(settings.count[0], settings.count[1] + 1))):
        own = np.random.default_rng(rng.integers(2**63))
        center = places[own.choice(len(places), p=weights)]
        lesion = _Lesion(settings, own)
        box, depth = lesion.depth_mm(specimen, center, own)
        share = np.clip(depth / max(lesion.edge_mm, 1e-3) + 0.5, 0, 1) * lung[box]
        share *= largest_component(share > 0)  # the rough surface leaves specks
        texture = smooth_noise(share.shape, lesion.texture_mm / _spacing_kji(specimen), own)
        target = np.maximum(lesion.hu + lesion.texture_sd_hu * texture, hu[box])
        hu[box] = np.rint(hu[box] + share * (target - hu[box])).astype(np.int16)
        inside = share >= 0.5
        labels[box] |= np.where(inside, bit, bit.dtype.type(0))
        volume = float(inside.sum() * abs(np.linalg.det(specimen.ijk_to_ras[:3, :3])))
        where = specimen.ijk_to_ras[:3, :3] @ center[::-1] + specimen.ijk_to_ras[:3, 3]
        record.append({
            "kind": lesion.kind, "diameter_mm": round(lesion.diameter_mm, 2), "hu": round(lesion.hu, 1),
            "center_ras_mm": np.round(where, 2).tolist(), "volume_mm3": round(volume, 1),
        })  # fmt: skip
    return replace(specimen, hu=hu, labels=labels), record


class _Lesion:
    """What is drawn for one lesion besides its place."""

    def __init__(self, settings: LesionSettings, rng: np.random.Generator) -> None:
        self.kind = "consolidation" if rng.random() < settings.consolidation_share else "ground_glass"
        self.hu = float(rng.uniform(*(settings.consolidation_hu if self.kind == "consolidation" else settings.ground_glass_hu)))
        self.diameter_mm = float(rng.uniform(*settings.diameter_mm))
        self.texture_sd_hu = float(rng.uniform(*settings.texture_sd_hu))
        self.texture_mm = float(rng.uniform(*settings.texture_mm))
        self.edge_mm = float(rng.uniform(*settings.edge_mm))
        axes = rng.uniform(1, _ELONGATION, 3)
        rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        # RAS (mm) to a frame in which the ellipsoid, of the volume of a ball of that diameter, is the unit ball.
        self.half_axes = self.diameter_mm / 2 * axes / np.cbrt(axes.prod())
        self.to_ball = (rotation / self.half_axes).T

    def depth_mm(self, specimen: Specimen, center: np.ndarray, rng: np.random.Generator) -> tuple[tuple[slice, slice, slice], np.ndarray]:
        """Slices (k, j, i) of a box that holds the lesion, and there the depth below its rough surface, about in mm."""
        radius = self.diameter_mm / 2
        reach = np.ceil(_REACH * self.half_axes.max() / _spacing_kji(specimen)).astype(int)
        low = np.maximum(np.rint(center).astype(int) - reach, 0)
        high = np.minimum(np.rint(center).astype(int) + reach + 1, specimen.hu.shape)
        box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        index_to_ball = self.to_ball @ specimen.ijk_to_ras[:3, :3]
        k, j, i = (np.arange(a, b) - c for a, b, c in zip(low, high, center, strict=True))
        squared = np.zeros(high - low, np.float32)
        for row in index_to_ball:
            along = row[2] * k[:, None, None] + row[1] * j[None, :, None] + row[0] * i[None, None, :]
            squared += np.square(along, dtype=np.float32)
        rough = smooth_noise(squared.shape, _ROUGH_GRAIN * radius / _spacing_kji(specimen), rng)
        return box, radius * (1 - np.sqrt(squared) + _ROUGHNESS * np.clip(rough, -2.5, 2.5))  # type: ignore[return-value]


def _places(specimen: Specimen, lung: np.ndarray, settings: LesionSettings) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) indices (k, j, i) in the lungs where a lesion may have its centre, and (N,) their probabilities."""
    step = np.maximum(np.rint(_GRID_MM / _spacing_kji(specimen)).astype(int), 1)
    coarse = np.ascontiguousarray(lung[:: step[0], :: step[1], :: step[2]])
    if not coarse.any():  # lungs finer than the grid
        step, coarse = np.ones(3, int), lung
    image = sitk.GetImageFromArray(coarse.astype(np.uint8))
    image.SetSpacing((_spacing_kji(specimen) * step)[::-1].tolist())
    depth = sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, insideIsPositive=True, squaredDistance=False, useImageSpacing=True))
    kji = np.argwhere(coarse)
    ras = (kji * step)[:, ::-1] @ specimen.ijk_to_ras[:3, :3].T
    periphery = np.exp(-np.maximum(depth[coarse], 0) / _PERIPHERY_MM)
    # Rank from the top and front (0) to the bottom and back (1) of the lungs.
    low, rear = (_rank(-ras[:, axis]) for axis in (2, 1))
    lower = ((low + rear) / 2) ** 3
    weights = np.ones(len(kji))
    for strength, weight in ((settings.peripheral, periphery), (settings.lower, lower)):
        weights *= 1 - strength + strength * weight / weight.mean()
    return kji * step, weights / weights.sum()


def _rank(values: np.ndarray) -> np.ndarray:
    """Place of each value between the least (0) and the largest (1)."""
    span = float(np.ptp(values))
    return (values - values.min()) / span if span else np.zeros_like(values)


def _spacing_kji(specimen: Specimen) -> np.ndarray:
    return specimen.spacing_mm[::-1]


def _bit(specimen: Specimen, name: str) -> np.unsignedinteger[Any]:
    return specimen.labels.dtype.type(1 << specimen.structures.index(name))
