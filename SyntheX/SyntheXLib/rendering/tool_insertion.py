"""Tools in a projection: along every ray, what the caster found in the CT gives way to the tools that stand there.

A tool's path is an interval of the ray, exact to the solid's own geometry. What the CT had there is cast again, within the intervals
alone, and taken off: the same samples as in the full pass, each weighed by the part of its layer of voxels that the interval covers. So
the paths through classes and tools add up to the path before.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np

from SyntheXLib.rendering.footprint import footprint, rays_of
from SyntheXLib.rendering.projection import Projection
from SyntheXLib.rendering.volume import HU_OFFSET, world_to_padded_index
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.intervals import Intervals, difference, lengths
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import Specimen

# Samples that are taken at a time, which bounds the memory (some 100 bytes each).
_CHUNK = 1 << 20


def with_tools(projection: Projection, scene: Scene, camera: Camera, plane_step: int = 1) -> Projection:
    """Put the scene's tools into a projection of its specimen.

    Parameters
    ----------
    projection
        Of the specimen alone.
    scene, camera
        What was rendered; without tools the projection is returned as it is.
    plane_step
        As in the full pass.

    Returns
    -------
    Projection
        With the tools' paths and label bits, and the classes without what the tools replaced.
    """
    if not scene.tools:
        return projection
    shape = camera.shape
    placed = [(part, body) for tool in scene.tools for part, body in zip(tool.parts, tool.bodies(), strict=True)]
    footprints = [footprint(body, camera) for _, body in placed]
    # From here on rays are numbered among those that may meet a tool.
    number = np.zeros(shape[0] * shape[1], np.int64)
    for pixels in footprints:
        number[pixels] = 1
    touched = np.flatnonzero(number)
    number[touched] = np.arange(len(touched))
    rays = rays_of(touched, camera)
    directions = rays @ camera.world_to_camera[:3, :3]  # in the world, per mm of depth
    norms = np.linalg.norm(rays, axis=1)
    taken: list[Intervals] = []
    tool_path: dict[str, np.ndarray] = {}
    bits = projection.label_bits.flatten()
    label_path = None if projection.label_path is None else projection.label_path.copy()
    for (part, body), pixels in zip(placed, footprints, strict=True):
        near = number[pixels]
        whole = body.intersect(camera.source, directions[near]).of_rays(near)
        inside = _up_to(whole, camera.source_to_detector_mm)
        for other in taken:
            inside = difference(inside, _on_rays_of(other, inside, len(rays)))
        taken.append(inside)
        path = (lengths(inside, len(rays)) * norms).astype(np.float32)
        tool_path.setdefault(part.material, np.zeros(shape, np.float32)).reshape(-1)[touched] += path
        if part.structure in scene.specimen.structures:
            bit = scene.specimen.structures.index(part.structure)
            bits[touched[path > 0]] |= bits.dtype.type(1 << bit)
            if label_path is not None:
                label_path[bit].reshape(-1)[touched] += path
    path_length, hu_integral = projection.path_length.copy(), projection.hu_integral.copy()
    occupied = Intervals(*(np.concatenate([getattr(body, end) for body in taken]) for end in ("ray", "enter", "leave")))
    off = _within(scene.specimen, camera, occupied, rays, norms, projection.cuts, plane_step)
    for views, parts in zip((path_length, hu_integral), off, strict=True):
        for view, values in zip(views, parts, strict=True):
            view.reshape(-1)[touched] -= values.astype(np.float32)
    return replace(
        projection,
        path_length=path_length,
        hu_integral=hu_integral,
        label_bits=bits.reshape(shape),
        tool_path=tool_path,
        label_path=label_path,
    )


def _on_rays_of(body: Intervals, other: Intervals, count: int) -> Intervals:
    """What a body has on rays that meet another, of `count` rays."""
    met = np.zeros(count, bool)
    met[other.ray] = True
    here = met[body.ray]
    return Intervals(body.ray[here], body.enter[here], body.leave[here])


def _up_to(body: Intervals, depth_mm: float) -> Intervals:
    """The part of a body before the detector."""
    here = body.enter < depth_mm
    return Intervals(body.ray[here], body.enter[here], np.minimum(body.leave[here], depth_mm))


def _within(
    specimen: Specimen,
    camera: Camera,
    intervals: Intervals,
    rays: np.ndarray,
    norms: np.ndarray,
    cuts: tuple[float, ...],
    plane_step: int,
) -> tuple[np.ndarray, np.ndarray]:
    """(C, N) path length (mm) and HU integral (HU x mm) of the CT within intervals of depth (mm) along the rays."""
    classes, count = len(cuts) + 1, len(norms)
    path, total = np.zeros(count * classes), np.zeros(count * classes)
    index_from_camera = world_to_padded_index(specimen) @ np.linalg.inv(camera.world_to_camera)
    origin, steps = index_from_camera[:3, 3], rays[intervals.ray] @ index_from_camera[:3, :3].T
    across = np.abs(steps).argmax(1)
    # Planes are numbered in units of `plane_step`; a plane's layer reaches half a plane to both sides.
    start, speed = origin[across] / plane_step, np.take_along_axis(steps, across[:, None], 1)[:, 0] / plane_step
    one, two = start + intervals.enter * speed, start + intervals.leave * speed
    low, high = np.minimum(one, two), np.maximum(one, two)
    first = np.floor(low + 0.5).astype(np.int64)
    planes = np.floor(high + 0.5).astype(np.int64) - first + 1
    ends = np.cumsum(planes)
    for begin in range(0, int(ends[-1]) if len(ends) else 0, _CHUNK):
        sample = np.arange(begin, min(begin + _CHUNK, int(ends[-1])))
        of = np.searchsorted(ends, sample, side="right")  # the interval that a sample belongs to
        plane = first[of] + sample - (ends[of] - planes[of])
        covered = np.minimum(plane + 0.5, high[of]) - np.maximum(plane - 0.5, low[of])
        position = origin + ((plane - start[of]) / speed[of])[:, None] * steps[of]
        axis = across[of]
        position[np.arange(len(of)), axis] = plane * plane_step  # to the bit
        hu, inside = _joseph(specimen.hu, position, axis)
        weight = np.where(inside, covered * norms[intervals.ray[of]] / np.abs(speed[of]), 0)
        kind = np.searchsorted(cuts, hu, side="right") * count + intervals.ray[of]
        path += np.bincount(kind, weight, len(path))
        total += np.bincount(kind, weight * hu, len(path))
    return path.reshape(classes, count), total.reshape(classes, count)


def _joseph(hu: np.ndarray, position: np.ndarray, axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """HU at padded index positions (M, 3), interpolated in the plane across `axis` (M,), and whether they lie inside the padded volume."""
    size = np.array(hu.shape[::-1]) + 2
    in_plane = axis[:, None] != np.arange(3)
    inside = np.all((position >= 0) & (position < size - in_plane), axis=1)
    cell = np.floor(position).astype(np.int64)
    part = position - cell
    value = np.zeros(len(position))
    every = np.arange(len(axis))
    one, two = np.array([[1, 2], [0, 2], [0, 1]])[axis].T
    for step in product((0, 1), (0, 1)):
        index = cell - 1  # without the padding
        share = np.ones(len(position))
        for side, plane_axis in zip(step, (one, two), strict=True):
            index[every, plane_axis] += side
            along = part[every, plane_axis]
            share *= along if side else 1 - along
        real = (share > 0) & np.all((index >= 0) & (index < size - 2), axis=1)
        i, j, k = index[real].T
        stored = np.zeros(len(position))
        stored[real] = np.maximum(hu[k, j, i].astype(float), -HU_OFFSET) + HU_OFFSET
        value += share * stored
    return value - HU_OFFSET, inside
