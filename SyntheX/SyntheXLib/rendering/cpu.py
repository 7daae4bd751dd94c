"""Ray casting on the CPU: compiled vector code on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np

from SyntheXLib.rendering.joseph_kernel import AXIS_NUMBERS, AXIS_POINTERS, VIEW_NUMBERS, joseph_kernel
from SyntheXLib.rendering.llvm_builder import Target, native_lanes
from SyntheXLib.rendering.projection import HU_CUTS, Projection
from SyntheXLib.rendering.volume import RenderVolume, render_volume, with_slack
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import Specimen

# Rows that a thread takes at a time: few enough to balance the load and to notice a cancel, enough to hide the call.
_ROWS_A_TASK = 8
# For index axis i, j, k across the planes: the contiguous axis p and the other axis q in the plane, as index axes.
_IN_PLANE = {0: (1, 2), 1: (0, 2), 2: (0, 1)}


class CpuRenderer:
    """Fused ray caster, compiled at the first call (well under a second).

    Parameters
    ----------
    cuts
        Limits of the HU classes, rising.
    threads
        Cores to use; None takes all that the process may use.
    lanes
        Pixels of a vector packet; None takes what suits the processor.
    """

    def __init__(self, cuts: Sequence[float] = HU_CUTS, threads: int | None = None, lanes: int | None = None) -> None:
        self.cuts = tuple(float(cut) for cut in cuts)
        self.lanes = lanes or native_lanes()
        self.threads = threads or available_cores()
        self._pool = ThreadPoolExecutor(self.threads)
        self._specimen: Specimen | None = None
        self._volume: _KernelVolume | None = None

    @property
    def name(self) -> str:
        """Backend and kernel variant; identical bytes hold for one name."""
        return f"cpu-joseph-{self.lanes}"

    def render(self, scene: Scene, camera: Camera, cancelled: Callable[[], bool] | None = None) -> Projection | None:
        """See `renderer.Renderer.render`."""
        volume = self._prepared(scene.specimen)
        height, width = camera.shape
        classes = len(self.cuts) + 1
        path = np.empty((classes, height, width), np.float32)
        total = np.empty((classes, height, width), np.float32)
        hits = np.empty((height, width), volume.label_dtype)
        numbers, pointers, view = volume.records(camera)
        kernel = _compiled(self.lanes, self.cuts, volume.label_bits)
        addresses = [array.ctypes.data for array in (numbers, pointers, view, path, total, hits)]

        def rows(first: int) -> None:
            if cancelled is None or not cancelled():
                kernel(*addresses, height, width, first, min(first + _ROWS_A_TASK, height))

        list(self._pool.map(rows, range(0, height, _ROWS_A_TASK)))
        if cancelled is not None and cancelled():
            return None
        return Projection(self.cuts, path, total, hits)

    def _prepared(self, specimen: Specimen) -> _KernelVolume:
        # The last specimen is kept: views of one specimen come one after the other.
        if self._volume is None or self._specimen is not specimen:
            self._volume, self._specimen = _KernelVolume(render_volume(specimen)), specimen
        return self._volume


class _KernelVolume:
    """Voxels as the kernel reads them; the copy for rays along the rows is made when such rays first occur."""

    def __init__(self, volume: RenderVolume) -> None:
        self._volume = volume
        self._turned: tuple[np.ndarray, np.ndarray] | None = None
        self.label_dtype = volume.labels.dtype
        self.label_bits = 8 * volume.labels.itemsize if volume.labels.any() else 0

    def records(self, camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The kernel's records for a view."""
        index_from_camera = self._volume.world_to_index @ np.linalg.inv(camera.world_to_camera)
        focal, centre = np.diag(camera.intrinsics)[:2], camera.intrinsics[:2, 2]
        # Direction of pixel (x, y) in index coordinates = ray + x * ray_x + y * ray_y, a millimetre of depth.
        ray_x, ray_y = index_from_camera[:3, 0] / focal[0], index_from_camera[:3, 1] / focal[1]
        ray = index_from_camera[:3, 2] - ray_x * centre[0] - ray_y * centre[1]
        origin = index_from_camera[:3, 3]
        size = np.array(self._volume.values.shape[::-1])
        along_rows = self._needs_turned(ray, ray_x, ray_y, camera.shape)
        numbers, pointers = np.zeros(3, AXIS_NUMBERS), np.zeros(3, AXIS_POINTERS)
        for across, (p, q) in _IN_PLANE.items():
            for name, axis in (("p", p), ("q", q), ("across", across)):
                record = numbers[across]
                record[f"origin_{name}"], record[f"ray_{name}"] = origin[axis], ray[axis]
                record[f"ray_x_{name}"], record[f"ray_y_{name}"] = ray_x[axis], ray_y[axis]
                # In the plane a sample needs its neighbour, so the last voxel itself is just out of reach.
                record[f"last_{name}"] = size[axis] - 1 - (0 if name == "across" else 1e-3)
            if across == 0 and not along_rows:
                continue  # preference stays 0
            values, labels, shape, axes = self._volume.values, self._volume.labels, size[::-1], (2, 1, 0)
            if across == 0:
                values, labels = self._turned_copy()
                shape, axes = size[[0, 2, 1]], (0, 2, 1)  # stored as (i, k, j)
            strides = {axis: int(np.prod(shape[place + 1 :])) for place, axis in enumerate(axes)}
            pointers[across] = (values.ctypes.data, labels.ctypes.data, strides[across], strides[q])
            numbers[across]["preference"] = 1
        view = np.zeros(1, VIEW_NUMBERS)
        view[0] = (-centre[0] / focal[0], 1 / focal[0], -centre[1] / focal[1], 1 / focal[1], camera.source_to_detector_mm)
        return numbers, pointers, view

    def _needs_turned(self, ray: np.ndarray, ray_x: np.ndarray, ray_y: np.ndarray, shape: tuple[int, int]) -> bool:
        """Whether some ray of the view is dominated by the i axis (checked on a grid that includes the corners)."""
        x, y = np.linspace(0, shape[1] - 1, 33)[None, :, None], np.linspace(0, shape[0] - 1, 33)[:, None, None]
        return bool((np.abs(ray + x * ray_x + y * ray_y).argmax(2) == 0).any())

    def _turned_copy(self) -> tuple[np.ndarray, np.ndarray]:
        if self._turned is None:
            self._turned = (_turned(self._volume.values), _turned(self._volume.labels))
        return self._turned


def _turned(array: np.ndarray) -> np.ndarray:
    """A copy of a (K, J, I) array as (I, K, J)."""
    turned = array.transpose(2, 0, 1)
    copy = with_slack(turned.shape, array.dtype)
    copy[...] = turned
    return copy


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=16)
def _compiled(lanes: int, cuts: tuple[float, ...], label_bits: int) -> Any:
    return joseph_kernel(lanes, cuts, label_bits).compile(Target())
