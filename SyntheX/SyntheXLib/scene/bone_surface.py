"""A bone of a label map as a smooth surface, finer than its voxels."""

from dataclasses import dataclass

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import largest_component

# A label map is a staircase: a Gaussian of half a voxel (at least 1 mm) makes the half-way level a smooth surface. On a ball of radius R
# it moves that surface inwards by about sigma^2 / R, under 0.1 mm for a femoral head and 3 mm voxels.
SMOOTHING_VOXELS = 0.5
SMOOTHING_MM = 1.0
# Sample spacing of a straightened bone (`BoneField.in_frame`).
GRID_MM = 1.0


@dataclass(frozen=True)
class Frame:
    """Anatomical axes: right, anterior, superior.

    Attributes
    ----------
    origin
        (3,), RAS mm.
    axes
        (3, 3), rows = unit vectors to the patient's right, front and head, in RAS.
    """

    origin: np.ndarray
    axes: np.ndarray

    def to_frame(self, points: np.ndarray) -> np.ndarray:
        """RAS mm (..., 3) to millimetres along right, anterior, superior from the origin."""
        return (np.asarray(points) - self.origin) @ self.axes.T

    def to_ras(self, points: np.ndarray) -> np.ndarray:
        """Inverse of `to_frame`."""
        return np.asarray(points) @ self.axes + self.origin


@dataclass(frozen=True)
class StraightBone:
    """A bone on a 1 mm grid along the axes of a frame.

    Attributes
    ----------
    mask
        (S, A, R) bool: bone; axes towards head, front and right.
    beyond
        (S, A, R) bool: outside the image, but bone if that went on as it is where the image ends.
    start
        (3,): frame coordinates (right, anterior, superior) of ``mask[0, 0, 0]``, mm.
    vertices
        (N, 3) points of the smooth surface, frame coordinates, mm. Where the image cuts the bone the surface is open.
    """

    mask: np.ndarray
    beyond: np.ndarray
    start: np.ndarray
    vertices: np.ndarray

    def levels(self) -> np.ndarray:
        """Superior coordinate of each level of the mask, mm."""
        return self.start[2] + np.arange(self.mask.shape[0]) * GRID_MM


class BoneField:
    """The largest piece of one label, smoothed.

    Parameters
    ----------
    labels
        (K, J, I) label map.
    ijk_to_ras
        (4, 4): voxel index (i, j, k) to RAS mm; rotated and flipped volumes are fine.
    number
        Label value of the bone.

    Raises
    ------
    SyntheXError
        When no voxel carries `number`.
    """

    def __init__(self, labels: np.ndarray, ijk_to_ras: np.ndarray, number: int) -> None:
        from scipy import ndimage

        mask = labels == number
        if not mask.any():
            raise SyntheXError(f"Label map: voxels with the label {number} were expected, found none.")
        mask = largest_component(mask)
        # Only the neighbourhood of the bone is kept. The image is continued by what lies at its borders: a cut bone stays open.
        box = ndimage.find_objects(mask.astype(np.uint8))[0]
        margin = 4
        low = np.array([max(s.start - margin, 0) for s in box])
        high = np.array([min(s.stop + margin, n) for s, n in zip(box, mask.shape, strict=True)])
        part = mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float32)
        spacing = np.linalg.norm(ijk_to_ras[:3, :3], axis=0)[::-1]
        sigma = np.maximum(SMOOTHING_VOXELS, SMOOTHING_MM / spacing)
        self._level = ndimage.gaussian_filter(np.pad(part, margin, mode="edge"), sigma, mode="nearest")
        self._first = low - margin  # (k, j, i) of the first sample of _level
        self._shape = np.array(mask.shape)
        self._affine = np.asarray(ijk_to_ras, dtype=np.float64)

    def surface(self) -> np.ndarray:
        """Points of the surface, (N, 3), RAS mm, about one to each voxel edge that crosses it."""
        from skimage.measure import marching_cubes

        index = marching_cubes(self._level, 0.5)[0] + self._first
        return self._ras(index[self._inside(index)])

    def in_frame(self, frame: Frame) -> StraightBone:
        """Resample the bone along the axes of `frame`."""
        from scipy import ndimage
        from skimage.measure import marching_cubes

        box = frame.to_frame(self.surface())
        start = np.floor(box.min(axis=0)) - 3
        counts = (np.ceil((box.max(axis=0) - start + 3) / GRID_MM)).astype(int) + 1
        # Sample (s, a, r) of the grid lies at voxel (k, j, i) = matrix @ (s, a, r) + first.
        to_index = np.linalg.inv(self._affine)
        matrix = (to_index[:3, :3] @ frame.axes.T)[::-1, ::-1] * GRID_MM
        first = (to_index[:3, :3] @ frame.to_ras(start) + to_index[:3, 3])[::-1]
        size = tuple(counts[::-1])
        level = ndimage.affine_transform(self._level, matrix, first - self._first, size, order=1, mode="nearest")
        inside = np.ones(size, bool)
        for row, offset, count in zip(matrix, first, self._shape, strict=True):
            index = sum(np.expand_dims(row[n] * np.arange(size[n]), tuple({0, 1, 2} - {n})) for n in range(3)) + offset
            inside &= (index >= -0.5) & (index <= count - 0.5)
        bone = level >= 0.5
        vertices = marching_cubes(level, 0.5)[0]
        vertices = vertices[inside[tuple(np.rint(vertices).astype(int).T)]]
        return StraightBone(bone & inside, bone & ~inside, start, start + vertices[:, ::-1] * GRID_MM)

    def _inside(self, index: np.ndarray) -> np.ndarray:
        return np.all((index >= -0.5) & (index <= self._shape - 0.5), axis=-1)

    def _ras(self, index: np.ndarray) -> np.ndarray:
        return index[..., ::-1] @ self._affine[:3, :3].T + self._affine[:3, 3]
