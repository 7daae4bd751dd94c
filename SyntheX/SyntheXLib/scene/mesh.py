"""Closed surfaces of triangles, cut by rays without gaps."""

from __future__ import annotations

import importlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.intervals import Intervals, depth_at_least
from SyntheXLib.scene.solids import within_bounds

# Pairs of ray and triangle held at a time where they cannot be sorted beforehand.
BLOCK_PAIRS = 2_000_000
# File type to VTK's module and class that read it.
READERS = {
    ".stl": ("vtkIOGeometry", "vtkSTLReader"),
    ".obj": ("vtkIOGeometry", "vtkOBJReader"),
    ".ply": ("vtkIOPLY", "vtkPLYReader"),
    ".vtp": ("vtkIOXML", "vtkXMLPolyDataReader"),
}


class Mesh:
    """The inside of a closed surface; several closed surfaces in one (a cavity, pieces that overlap) are fine.

    A ray crosses a triangle if it passes all three edges on the same side. Which side is decided once for an edge and holds for both its
    triangles, and a ray through an edge counts as moved by an infinitesimal step, the same for all: so none slips through a seam
    or crosses it twice, and what is inside follows from the winding number. (The idea of watertight ray tracing: Woop, Benthin, Wald,
    JCGT 2(1), 2013; of the infinitesimal step: Edelsbrunner, Muecke, ACM TOG 9(1), 1990.)

    Parameters
    ----------
    points
        (P, 3) mm.
    triangles
        (T, 3) indices of points, all counter-clockwise seen from outside, or all clockwise.
    name
        What errors call it: the file.

    Raises
    ------
    SyntheXError
        When there is no triangle, the surface has open edges, or its triangles disagree on which side is out.
    """

    def __init__(self, points: np.ndarray, triangles: np.ndarray, name: str = "mesh") -> None:
        # Points at the same place are one, as in STL files, where each triangle brings its own.
        self.points, merged = np.unique(np.asarray(points, float).reshape(-1, 3), axis=0, return_inverse=True)
        triangles = merged.reshape(-1)[np.asarray(triangles, np.int64).reshape(-1, 3)]
        self.triangles = triangles[(triangles != np.roll(triangles, 1, axis=1)).all(1)]
        if not len(self.triangles):
            raise SyntheXError(f"{name} holds no triangle, expected a closed surface.")
        if not np.isfinite(self.points).all():
            raise SyntheXError(f"{name} holds points that are not finite numbers, expected millimetres.")
        if self.volume < 0:
            self.triangles = self.triangles[:, ::-1]
        ends = np.stack([self.triangles, np.roll(self.triangles, -1, axis=1)], axis=-1)
        self._against = ends[..., 0] > ends[..., 1]
        self._edges, edge, count = np.unique(np.sort(ends, axis=-1).reshape(-1, 2), axis=0, return_inverse=True, return_counts=True)
        self._edge = edge.reshape(-1, 3)
        if odd := int((count % 2).sum()):
            raise SyntheXError(f"{name} is not watertight: expected a closed surface, found {odd} open edges.")
        balance = np.bincount(self._edge.ravel(), weights=np.where(self._against, -1, 1).ravel())
        if twisted := int((balance != 0).sum()):
            raise SyntheXError(f"{name} has {twisted} edges whose triangles face opposite ways, expected all to be seen from outside.")

    @property
    def volume(self) -> float:
        """Volume, mm3; where surfaces overlap it counts more than once."""
        a, b, c = (self.points[self.triangles[:, corner]] - self.points[0] for corner in range(3))
        return float((a * np.cross(b, c)).sum() / 6)

    @cached_property
    def bounds(self) -> np.ndarray:
        """(2, 3) mm."""
        used = self.points[np.unique(self.triangles)]
        return np.array([used.min(0), used.max(0)])

    def intersect(self, origin: np.ndarray, directions: np.ndarray) -> Intervals:
        """See `solids.Solid`."""
        return within_bounds(self, origin, directions, lambda start, rays: self._inside(self.points - start, rays))

    def _inside(self, points: np.ndarray, rays: np.ndarray) -> Intervals:
        """Intervals of `rays` (N, 3) from the origin inside the surface through `points` (P, 3)."""
        ray, t, step = self._crossings(points, rays)
        # Rounding at a corner can still lose a crossing (a chance of about 1e-12 a ray); such a ray is tilted a little, once.
        lost = np.flatnonzero(np.bincount(ray, weights=step, minlength=len(rays)))
        if len(lost):
            kept = ~np.isin(ray, lost)
            tilted = rays[lost] * (1 + 1e-9 * np.array([1.0, -2.0, 3.0]))
            again, more_t, more_step = self._crossings(points, tilted)
            closed = (np.bincount(again, weights=more_step, minlength=len(lost)) == 0)[again]
            ray = np.concatenate([ray[kept], lost[again[closed]]])
            t, step = np.concatenate([t[kept], more_t[closed]]), np.concatenate([step[kept], more_step[closed]])
        # All behind the source meets at the source, where it cancels but for the bodies the source lies in.
        return depth_at_least(ray, np.maximum(t, 0.0), step, 1)

    def _crossings(self, points: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where whole lines cross the surface: ray, t and +1 (going in) or -1, (E,) each."""
        middle = (points.min(0) + points.max(0)) / 2
        if (points @ middle).min() > 1e-3 * (middle @ middle):
            return self._crossings_of(points, rays, *_candidates(points, self.triangles, rays, middle))
        # The source is inside or beside the surface: no plane holds the picture of it.
        block = max(1, BLOCK_PAIRS // len(self.triangles))
        found = []
        for start in range(0, len(rays), block):
            ray = np.arange(start, min(start + block, len(rays)))
            pairs = np.tile(np.arange(len(self.triangles)), len(ray)), np.repeat(ray, len(self.triangles))
            found.append(self._crossings_of(points, rays, *pairs))
        ray, t, step = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return ray, t, step

    def _crossings_of(
        self, points: np.ndarray, rays: np.ndarray, triangle: np.ndarray, ray: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The pairs of `triangle` (E,) and `ray` (E,) that cross: ray, t, step."""
        normals = np.cross(points[self._edges[:, 0]], points[self._edges[:, 1]])
        # Side of a ray in the plane of source and edge: that of a ray moved along the first axis that leaves the plane.
        first = np.take_along_axis(normals, np.argmax(normals != 0, axis=1)[:, None], axis=1)[:, 0]

        def passes(corner: int) -> np.ndarray:
            edge = self._edge[triangle, corner]
            x, y, z = normals[edge].T
            dx, dy, dz = rays[ray].T
            side = x * dx + y * dy + z * dz
            return (np.where(side == 0, first[edge], side) > 0) ^ self._against[triangle, corner]

        # The first edge tells whether the ray would leave; pairs where another edge disagrees drop out.
        leaving = passes(0)
        for corner in (1, 2):
            same = passes(corner) == leaving
            triangle, ray, leaving = triangle[same], ray[same], leaving[same]
        corners = points[self.triangles[triangle]]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        direction = rays[ray]
        along = np.einsum("eci,ei->ec", corners, direction) / (direction**2).sum(1)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (corners[:, 0] * normal).sum(1) / (direction * normal).sum(1)
        # A triangle seen edge-on leaves t open, but it lies between those of its corners.
        t = np.clip(np.where(np.isnan(t), along[:, 0], t), along.min(1), along.max(1))
        return ray, t, np.where(leaving, -1, 1)


def _runs(start: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs start[n], start[n] + 1, ... of count[n] numbers one after the other: n and the number, (sum of count,) each."""
    owner = np.repeat(np.arange(len(count)), count)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count) + start[owner]


def _candidates(points: np.ndarray, triangles: np.ndarray, rays: np.ndarray, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of triangle and ray whose pictures are near each other, on a plane across `middle` (3,), all points being before the source.

    Rays are sorted into a grid on that plane; each triangle is paired with the rays in the cells that its bounding box touches.
    """
    across = np.linalg.svd(middle[None])[2][1:]
    seen = np.flatnonzero(rays @ middle > 0)
    spots = rays[seen] @ across.T / (rays[seen] @ middle)[:, None]
    picture = (points @ across.T / (points @ middle)[:, None])[triangles]
    if not len(seen):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    size = int(np.ceil(4 * np.sqrt(len(seen))))
    low = spots.min(0)
    cell = np.maximum(spots.max(0) - low, 1e-12) / size
    column, row = np.clip(((spots - low) / cell).astype(np.int64), 0, size - 1).T
    order = np.argsort(row * size + column, kind="stable")
    starts = np.searchsorted((row * size + column)[order], np.arange(size * size + 1))
    # A little wider than the triangle, so that rounding loses no ray; cells of the rim hold what was clipped into them.
    slack = 1e-6
    left, right = (np.floor((edge - low) / cell) for edge in (picture.min(1) - slack * cell, picture.max(1) + slack * cell))
    near = np.flatnonzero(((right >= 0) & (left <= size)).all(1))
    left, right = (np.clip(edge[near], 0, size - 1).astype(np.int64) for edge in (left, right))
    triangle, line = _runs(left[:, 1], right[:, 1] - left[:, 1] + 1)
    begin, end = (starts[line * size + edge] for edge in (left[triangle, 0], right[triangle, 0] + 1))
    pair, place = _runs(begin, end - begin)
    return near[triangle[pair]], seen[order[place]]


def mesh_of_polydata(polydata: Any, name: str) -> Mesh:
    """Mesh of a ``vtkPolyData``, mm; `name` is what errors call it."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkFiltersCore import vtkTriangleFilter

    triangulate = vtkTriangleFilter()
    triangulate.PassLinesOff()
    triangulate.PassVertsOff()
    triangulate.SetInputData(polydata)
    triangulate.Update()
    surface = triangulate.GetOutput()
    if not surface.GetNumberOfPolys():
        raise SyntheXError(f"{name} holds no triangle, expected a closed surface.")
    return Mesh(vtk_to_numpy(surface.GetPoints().GetData()), vtk_to_numpy(surface.GetPolys().GetConnectivityArray()), name)


def read_mesh(path: Path) -> Mesh:
    """Closed surface of a file, in mm: .stl, .obj, .ply or .vtp; coordinates are taken as they are.

    Raises
    ------
    SyntheXError
        When the file is missing, cannot be read, holds no triangle or is not watertight.
    """
    path = Path(path)
    if path.suffix.lower() not in READERS:
        raise SyntheXError(f"{path} must be a surface of type {', '.join(READERS)}, found '{path.suffix}'.")
    if not path.is_file():
        raise SyntheXError(f"The surface {path} does not exist.")
    module, reader_class = READERS[path.suffix.lower()]
    reader = getattr(importlib.import_module(f"vtkmodules.{module}"), reader_class)()
    errors: list[str] = []
    reader.AddObserver("ErrorEvent", lambda *_: errors.append(path.name))
    reader.SetFileName(str(path))
    reader.Update()
    if errors:
        raise SyntheXError(f"{path} cannot be read as a {path.suffix.lower()} surface.")
    return mesh_of_polydata(reader.GetOutput(), str(path))
