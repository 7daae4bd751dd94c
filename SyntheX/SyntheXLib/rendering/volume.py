"""The CT as the ray casters read it: padded by air, 16 bit, with its label bits beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from SyntheXLib.scene.specimen import Specimen

# Stored value = HU + 1000, so that air is zero; what is darker than air is padding or noise and counts as air.
HU_OFFSET = 1000


@dataclass(frozen=True)
class RenderVolume:
    """Voxels for ray casting.

    Attributes
    ----------
    values
        (K + 2, J + 2, I + 2) uint16, HU + 1000, not below 0; the outermost voxels are air, so that interpolation ends at the CT's edge
        with the right total.
    labels
        The same shape, unsigned bit field.
    world_to_index
        (4, 4) world (RAS, mm) to the padded index (i, j, k).
    """

    values: np.ndarray
    labels: np.ndarray
    world_to_index: np.ndarray


def with_slack(shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray:
    """Zeros with two spare elements behind the last one, so that a kernel's 32-bit load of a 16-bit element stays inside."""
    size = int(np.prod(shape))
    return np.zeros(size + 2, dtype)[:size].reshape(shape)


def render_volume(specimen: Specimen) -> RenderVolume:
    """Pad a specimen by one voxel of air without labels on every side."""
    shape = tuple(size + 2 for size in specimen.hu.shape)
    values = with_slack(shape, np.uint16)
    inner = values[1:-1, 1:-1, 1:-1]
    np.maximum(specimen.hu, -HU_OFFSET, out=inner, casting="unsafe")
    inner += np.uint16(HU_OFFSET)  # wraps round for negative values and so comes out right
    labels = with_slack(shape, specimen.labels.dtype)
    labels[1:-1, 1:-1, 1:-1] = specimen.labels
    world_to_index = np.linalg.inv(specimen.ijk_to_ras)
    world_to_index[:3, 3] += 1
    return RenderVolume(values, labels, world_to_index)
