"""Ray casting on the CPU: compiled vector code on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np

from SyntheXLib.rendering.joseph_kernel import AXIS_NUMBERS, AXIS_POINTERS, VIEW_NUMBERS, joseph_kernel
from SyntheXLib.rendering.llvm_target import Target, has_wide_permutes, native_lanes
from SyntheXLib.rendering.patch_kernel import GROUP, MOST_GROUPS, interleaved, patch_kernel
from SyntheXLib.rendering.projection import HU_CUTS, Projection
from SyntheXLib.rendering.tool_insertion import with_tools
from SyntheXLib.rendering.volume import render_volume, shared, spread_zeros, world_to_padded_index
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import Specimen
from SyntheXLib.shared_arrays import ArrayFolder
from SyntheXLib.threads import ThreadTeam

# Side of the squares of pixels that a thread takes at a time, whole packets of each kernel: what they see of the CT stays in the cache,
# and a cancel is noticed soon.
_TILE = 32
# Kernels by name: packets of 4, 8 or 16 pixels that gather, on any processor; patches in registers, with AVX-512.
PATCH, GATHERS = "patch", ("joseph-4", "joseph-8", "joseph-16")
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
    variant
        The kernel, one of `runnable_variants`; None takes the fastest. Label fields of 32 bits are always gathered, and so are views
        with label paths.
    share
        Folder in which the voxels lie, as the kernel reads them, for all processes that render the one specimen; None keeps them in this
        process.
    """

    def __init__(
        self,
        cuts: Sequence[float] = HU_CUTS,
        threads: int | None = None,
        variant: str | None = None,
        share: ArrayFolder | None = None,
    ) -> None:
        self.cuts = tuple(float(cut) for cut in cuts)
        self.variant = variant or runnable_variants()[0]
        self.threads = threads or available_cores()
        self._team = ThreadTeam(self.threads)
        self._share = share
        self._specimen: Specimen | None = None
        self._volumes: dict[str, _KernelVolume] = {}

    @property
    def name(self) -> str:
        """Backend and kernel variant; identical bytes hold for one name."""
        return f"cpu-{self.variant}"

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
        gathers = f"joseph-{native_lanes()}"
        volume = self._prepared(scene.specimen, gathers if label_paths and self.variant == PATCH else self.variant)
        height, width = camera.shape
        classes = len(self.cuts) + 1
        path = np.empty((classes, height, width), np.float32)
        total = np.empty((classes, height, width), np.float32)
        hits = np.empty((height, width), volume.label_dtype)
        structures = len(scene.specimen.structures) if label_paths else 0
        label_path = np.zeros((structures, height, width), np.float32)
        rays = _IndexRays(volume.world_to_index, camera)
        numbers, pointers, view = volume.records(camera, rays, plane_step)
        measured = structures if volume.label_bits else 0
        kernel = _compiled(volume.variant, self.cuts, volume.label_bits, measured)
        more = (_groups(rays, volume.size),) if volume.variant == PATCH else (label_path.ctypes.data,) if measured else ()
        # The kernel is given addresses. Its threads hold what lies there, so that an error or Ctrl-C in this one, which may strike between
        # any two lines, takes no memory from under them.
        held = (numbers, pointers, view, path, total, hits, label_path, volume)
        addresses = [array.ctypes.data for array in held[:6]]
        tiles = iter([(row, column) for row in range(0, height, _TILE) for column in range(0, width, _TILE)])

        def work(held: tuple[object, ...]) -> None:
            for row, column in tiles:  # each thread takes the next one
                if cancelled is not None and cancelled():
                    return
                kernel(*addresses, height, width, row, min(row + _TILE, height), column, min(column + _TILE, width), *more)

        try:
            self._team.map(work, [held] * self.threads)
        finally:
            for _ in tiles:  # after an error there is nothing more to do
                pass
        if cancelled is not None and cancelled():
            return None
        projection = Projection(self.cuts, path, total, hits, label_path=label_path if label_paths else None)
        return with_tools(projection, scene, camera, plane_step)

    def _prepared(self, specimen: Specimen, variant: str) -> _KernelVolume:
        # The last specimen is kept: views of one specimen come one after the other.
        if self._specimen is not specimen:
            self._volumes, self._specimen = {}, specimen  # the memory of the one before first
        if variant not in self._volumes:
            self._volumes[variant] = _KernelVolume(specimen, variant, self._team, self._share)
        return self._volumes[variant]


class _IndexRays:
    """The rays of a view in index coordinates (i, j, k)."""

    def __init__(self, world_to_index: np.ndarray, camera: Camera) -> None:
        index_from_camera = world_to_index @ np.linalg.inv(camera.world_to_camera)
        focal, centre = np.diag(camera.intrinsics)[:2], camera.intrinsics[:2, 2]
        self.origin = index_from_camera[:3, 3]
        # Direction of pixel (x, y) = ray + x * ray_x + y * ray_y, a millimetre of depth.
        self.ray_x, self.ray_y = index_from_camera[:3, 0] / focal[0], index_from_camera[:3, 1] / focal[1]
        self.ray = index_from_camera[:3, 2] - self.ray_x * centre[0] - self.ray_y * centre[1]
        self.shape = camera.shape

    def grid(self, count: int) -> np.ndarray:
        """(count, count, 3) directions on a grid that includes the corners of the image."""
        x, y = (np.linspace(0, size - 1, count) for size in self.shape[::-1])
        return self.ray + x[None, :, None] * self.ray_x + y[:, None, None] * self.ray_y


class _KernelVolume:
    """Voxels as the kernel reads them; the copy for rays along the rows is made when such rays first occur."""

    def __init__(self, specimen: Specimen, variant: str, team: ThreadTeam, share: ArrayFolder | None) -> None:
        self.world_to_index = world_to_padded_index(specimen)
        self.label_dtype = specimen.labels.dtype
        self.label_bits = 8 * self.label_dtype.itemsize if specimen.labels.any() else 0
        self.variant = f"joseph-{native_lanes()}" if variant == PATCH and self.label_dtype.itemsize > 2 else variant
        self._share = share
        shape = tuple(side + 2 for side in specimen.hu.shape)
        self._arrays: tuple[np.ndarray, ...]
        if self.variant == PATCH:
            self._arrays = (shared(share, "words", shape, lambda: interleaved(specimen, team.map)),)
        else:
            volume = lru_cache(1)(lambda: render_volume(specimen))
            self._arrays = (
                shared(share, "values", shape, lambda: volume().values),
                shared(share, "labels", shape, lambda: volume().labels),
            )
        self.size = shape[::-1]
        self._turned: tuple[np.ndarray, ...] = ()

    def records(self, camera: Camera, rays: _IndexRays, plane_step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The kernel's records for a view; with a `plane_step`, of a volume that has every so many planes across each axis."""
        size = np.array(self.size)
        # Whether some ray is dominated by the i axis.
        along_rows = bool((np.abs(rays.grid(33)).argmax(2) == 0).any())
        numbers, pointers = np.zeros(3, AXIS_NUMBERS), np.zeros(3, AXIS_POINTERS)
        for across, (p, q) in _IN_PLANE.items():
            for name, axis in (("p", p), ("q", q), ("across", across)):
                record, step = numbers[across], plane_step if name == "across" else 1
                record[f"origin_{name}"], record[f"ray_{name}"] = rays.origin[axis] / step, rays.ray[axis] / step
                record[f"ray_x_{name}"], record[f"ray_y_{name}"] = rays.ray_x[axis] / step, rays.ray_y[axis] / step
                # In the plane a sample needs its neighbour, so the last voxel itself is just out of reach.
                record[f"last_{name}"] = (size[axis] - 1) // step - (0 if name == "across" else 1e-3)
            if across == 0 and not along_rows:
                continue  # preference stays 0
            arrays, axes = self._arrays, (2, 1, 0)
            if across == 0:
                self._turned = self._turned or self._turn()
                arrays, axes = self._turned, (0, 2, 1)  # stored as (i, k, j)
            strides = dict(zip(axes, (stride // arrays[0].itemsize for stride in arrays[0].strides), strict=True))
            pointers[across] = (arrays[0].ctypes.data, arrays[-1].ctypes.data, strides[across] * plane_step, strides[q])
            numbers[across]["preference"] = 1
        focal, centre = np.diag(camera.intrinsics)[:2], camera.intrinsics[:2, 2]
        view = np.zeros(1, VIEW_NUMBERS)
        view[0] = (-centre[0] / focal[0], 1 / focal[0], -centre[1] / focal[1], 1 / focal[1], camera.source_to_detector_mm)
        return numbers, pointers, view

    def _turn(self) -> tuple[np.ndarray, ...]:
        def turned(number: int, array: np.ndarray) -> np.ndarray:
            shape = (array.shape[2], *array.shape[:2])
            return shared(self._share, f"turned-{self.variant}-{number}", shape, lambda: _turned(array, self._arrays[0].itemsize))

        return tuple(turned(*numbered) for numbered in enumerate(self._arrays))


def _turned(array: np.ndarray, narrowest: int) -> np.ndarray:
    """A copy of a (K, J, I) array as (I, K, J)."""
    turned = array.transpose(2, 0, 1)
    copy = spread_zeros(turned.shape, array.dtype, narrowest)
    copy[...] = turned
    return copy


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def runnable_variants() -> tuple[str, ...]:
    """The kernels that this machine can run, the fastest first."""
    lanes = native_lanes()
    gathers = sorted(GATHERS, key=lambda name: name != f"joseph-{lanes}")
    return (PATCH, *gathers) if has_wide_permutes() else tuple(gathers)


def _groups(rays: _IndexRays, size: tuple[int, ...]) -> int:
    """Groups along the side of the patch kernel's packets: as many as share a patch of 8 x 8 voxels in the middle of the CT.

    Where only one would, many again: they march side by side, and what one loads is near for the next.
    """
    middle = rays.grid(3)[1, 1]
    across = int(np.abs(middle).argmax())
    depth = ((np.array(size) - 1) / 2 - rays.origin)[across] / middle[across]
    moves = sum(np.abs(depth * (step - middle * step[across] / middle[across])) for step in (rays.ray_x, rays.ray_y))
    spread = moves[list(_IN_PLANE[across])].max()  # voxels from pixel to pixel
    for groups in (MOST_GROUPS, 2):
        if spread * (groups * GROUP - 1) < 4.8:
            return groups
    return MOST_GROUPS


@cache
def _compiled(variant: str, cuts: tuple[float, ...], label_bits: int, label_paths: int) -> Any:
    if variant == PATCH:
        return patch_kernel(cuts, label_bits > 0).compile(Target())
    return joseph_kernel(int(variant.removeprefix("joseph-")), cuts, label_bits, label_paths).compile(Target())
