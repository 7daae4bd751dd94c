"""The CT as the ray casters read it: padded by air, 16 bit, with its label bits beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.shared_arrays import ArrayFolder

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


# Bytes of a cache line.
_LINE = 64


def spread_zeros(shape: tuple[int, int, int], dtype: npt.DTypeLike, narrowest: int = 2) -> np.ndarray:
    """Zeros as a kernel reads them: the view of a somewhat larger array.

    Rows and planes are odd numbers of cache lines (for elements of `narrowest` bytes, so that arrays of several widths share one layout):
    with the 512 voxels a side of so many CTs, all that a ray meets would compete for a few places in the cache. Behind the last voxel
    follows a spare one, so that 32-bit loads of 16-bit voxels stay inside.
    """
    lines = -(-(shape[2] + 1) * narrowest // _LINE) | 1
    return np.zeros((shape[0], shape[1] | 1, lines * _LINE // narrowest), dtype)[:, : shape[1], : shape[2]]


def shared(folder: ArrayFolder | None, name: str, shape: tuple[int, ...], make: Callable[[], np.ndarray]) -> np.ndarray:
    """The (K, J, I) array of `shape` that `make` gives, a view as `spread_zeros` makes them; of the folder's file where there is one."""

    def whole() -> np.ndarray:
        base = make().base
        assert base is not None
        return base

    return make() if folder is None else folder.get(name, whole)[:, : shape[1], : shape[2]]


def render_volume(specimen: Specimen) -> RenderVolume:
    """Pad a specimen by one voxel of air without labels on every side."""
    planes, rows, columns = specimen.hu.shape
    shape = (planes + 2, rows + 2, columns + 2)
    values = spread_zeros(shape, np.uint16)
    inner = values[1:-1, 1:-1, 1:-1]
    np.maximum(specimen.hu, -HU_OFFSET, out=inner, casting="unsafe")
    inner += np.uint16(HU_OFFSET)  # wraps round for negative values and so comes out right
    labels = spread_zeros(shape, specimen.labels.dtype)
    labels[1:-1, 1:-1, 1:-1] = specimen.labels
    return RenderVolume(values, labels, world_to_padded_index(specimen))


def world_to_padded_index(specimen: Specimen) -> np.ndarray:
    """(4, 4) world (RAS, mm) to index (i, j, k) when a voxel is put before the first along each axis."""
    matrix = np.linalg.inv(specimen.ijk_to_ras)
    matrix[:3, 3] += 1
    return matrix
