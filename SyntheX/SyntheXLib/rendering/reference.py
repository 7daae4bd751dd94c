"""The oracle: Joseph's method written plainly in numpy, double precision. Every kernel is held against it.

Joseph (IEEE Trans. Med. Imaging 1, 1982): follow the ray from plane to plane of voxels across its dominant axis, interpolate bilinearly in
each plane, weight by the distance between planes along the ray. The class of a sample is that of its interpolated value. Labels are
read from the voxels in which the ray enters and leaves each layer of voxels, so that thin sheets of bone do not slip through; half the
path through a layer belongs to each of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from SyntheXLib.rendering.projection import HU_CUTS, Projection
from SyntheXLib.rendering.tool_insertion import with_tools
from SyntheXLib.rendering.volume import HU_OFFSET, render_volume
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.scene import Scene


class ReferenceRenderer:
    """Slow and plain; also the fallback where no compiled kernel runs.

    Parameters
    ----------
    cuts
        Limits of the HU classes, rising.
    """

    name = "reference"

    def __init__(self, cuts: Sequence[float] = HU_CUTS) -> None:
        self.cuts = tuple(float(cut) for cut in cuts)

    def render(
        self,
        scene: Scene,
        camera: Camera,
        cancelled: Callable[[], bool] | None = None,
        *,
        label_paths: bool = False,
        plane_step: int = 1,
    ) -> Projection | None:
        """See `renderer.Renderer.render`."""
        volume = render_volume(scene.specimen)
        height, width = camera.shape
        index_from_camera = volume.world_to_index @ np.linalg.inv(camera.world_to_camera)
        origin = index_from_camera[:3, 3]
        rays = camera.rays().reshape(-1, 3)
        steps = rays @ index_from_camera[:3, :3].T  # index coordinates a millimetre of depth
        norms = np.linalg.norm(rays, axis=1)
        dominant = np.abs(steps).argmax(1)
        path = np.zeros((len(self.cuts) + 1, height * width))
        total = np.zeros_like(path)
        hits = np.zeros(height * width, volume.labels.dtype)
        structures = len(scene.specimen.structures)
        label_path = np.zeros((structures, height * width)) if label_paths else None
        for axis in range(3):
            rows = np.flatnonzero(dominant == axis)
            if cancelled is not None and cancelled():
                return None
            # Turn the axes so that the planes lie across the first one: (plane, q, p).
            p, q = ((0, 1), (0, 2), (1, 2))[2 - axis]
            planes = volume.values.transpose(2 - axis, 2 - q, 2 - p)[::plane_step]
            labels = volume.labels.transpose(2 - axis, 2 - q, 2 - p)[::plane_step]
            per_plane = np.array([1, 1, 1 / plane_step])
            start, directions = origin[[p, q, axis]] * per_plane, steps[rows][:, [p, q, axis]] * per_plane
            self._march(planes, labels, start, directions, norms[rows], camera, path, total, hits, label_path, rows)
        shape = (height, width)
        projection = Projection(
            self.cuts,
            path.reshape(-1, *shape).astype(np.float32),
            total.reshape(-1, *shape).astype(np.float32),
            hits.reshape(shape),
            label_path=None if label_path is None else label_path.reshape(-1, *shape).astype(np.float32),
        )
        return with_tools(projection, scene, camera, plane_step)

    def _march(
        self,
        planes: np.ndarray,
        labels: np.ndarray,
        origin: np.ndarray,
        steps: np.ndarray,
        norms: np.ndarray,
        camera: Camera,
        path: np.ndarray,
        total: np.ndarray,
        hits: np.ndarray,
        label_path: np.ndarray | None,
        rows: np.ndarray,
    ) -> None:
        count, size_q, size_p = planes.shape
        weight = norms / np.abs(steps[:, 2])  # mm a plane
        for plane in range(count):
            depth = (plane - origin[2]) / steps[:, 2]
            x, y = origin[0] + depth * steps[:, 0], origin[1] + depth * steps[:, 1]
            live = (depth >= 0) & (depth <= camera.source_to_detector_mm) & (x >= 0) & (x < size_p - 1) & (y >= 0) & (y < size_q - 1)
            if not live.any():
                continue
            x, y, place, length = x[live], y[live], rows[live], weight[live]
            ix, iy = x.astype(int), y.astype(int)
            fx, fy = x - ix, y - iy
            v = planes[plane].astype(float)
            value = (v[iy, ix] * (1 - fx) + v[iy, ix + 1] * fx) * (1 - fy) + (v[iy + 1, ix] * (1 - fx) + v[iy + 1, ix + 1] * fx) * fy
            hu = value - HU_OFFSET
            kind = np.searchsorted(self.cuts, hu, side="right")
            path[kind, place] += length  # every ray occurs once in `place`
            total[kind, place] += length * hu
            slope_x, slope_y = (steps[live, :2] / steps[live, 2:]).T
            for half in (-0.5, 0.5):
                voxel_x = np.minimum(x + half * slope_x + 0.5, size_p - 0.5).astype(int)
                voxel_y = np.minimum(y + half * slope_y + 0.5, size_q - 0.5).astype(int)
                found = labels[plane][voxel_y, voxel_x]
                hits[place] |= found
                for bit in range(len(label_path) if label_path is not None else 0):
                    label_path[bit, place] += length / 2 * ((found >> bit) & 1)  # type: ignore[index]
