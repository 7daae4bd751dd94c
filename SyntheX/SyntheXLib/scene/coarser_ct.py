"""CTs of finer voxels than a task's views can show, averaged: patients of them are made and rendered in a fraction of the time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from SyntheXLib.scene.specimen import Specimen


def coarser(specimen: Specimen, voxel_mm: float) -> Specimen:
    """Average blocks of voxels, along each axis by the whole factor that comes nearest to a size.

    Parameters
    ----------
    specimen
        Stays as it is.
    voxel_mm
        Wanted voxel size, mm; an axis whose voxels are larger than two thirds of it is left.

    Returns
    -------
    Specimen
        HU are the blocks' mean; a structure has a block when at least half of the voxels are in it. Up to a factor less one of the last
        voxels are cut off. The same object where nothing is to be done.
    """
    factors = np.maximum(np.rint(voxel_mm / specimen.spacing_mm), 1).astype(int)  # along i, j, k
    factors = np.minimum(factors, specimen.hu.shape[::-1])
    if (factors == 1).all():
        return specimen
    hu = np.rint(_blocks(specimen.hu, factors)).astype(np.int16)
    labels = np.zeros(hu.shape, specimen.labels.dtype)
    for bit in range(len(specimen.structures)):
        inside = (specimen.labels >> labels.dtype.type(bit)) & labels.dtype.type(1)
        labels |= (_blocks(inside, factors) >= 0.5).astype(labels.dtype) << labels.dtype.type(bit)
    matrix = specimen.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, :3] @ ((factors - 1) / 2)  # to the centre of the first block
    matrix[:3, :3] *= factors
    return replace(specimen, hu=hu, labels=labels, ijk_to_ras=matrix)


def _blocks(array: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Mean of the blocks of a (K, J, I) array, float32; `factors` along i, j, k."""
    i, j, k = (int(factor) for factor in factors)
    kept = [side // factor for side, factor in zip(array.shape, (k, j, i), strict=True)]
    cut = array[: kept[0] * k, : kept[1] * j, : kept[2] * i]
    return cut.reshape(kept[0], k, kept[1], j, kept[2], i).mean((1, 3, 5), dtype=np.float32)
