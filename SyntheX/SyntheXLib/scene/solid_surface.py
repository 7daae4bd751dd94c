"""Surfaces of solids and tools as triangles, to be looked at; rays are cut exactly and need none."""

from __future__ import annotations

import numpy as np

from SyntheXLib.scene.mesh import Mesh
from SyntheXLib.scene.solids import Solid
from SyntheXLib.scene.tools import Tool

# Cells of the grid, the shortest side of one (mm), and cells left empty around the body.
_CELLS, _FINEST_MM, _MARGIN = 300_000, 0.15, 2
# Rays along each side of a cell; their source is so far away (mm) that they are parallel to a thousandth of a millimetre.
_RAYS, _FAR_MM = 2, 1e6


def tool_surface(tool: Tool) -> tuple[np.ndarray, np.ndarray]:
    """Surface of all parts of a tool.

    Returns
    -------
    points
        (P, 3) in the world, RAS, mm.
    triangles
        (T, 3) indices of points.
    """
    points, triangles, count = [], [], 0
    for part in tool.parts:
        corners, faces = solid_surface(part.solid)
        points.append(corners @ tool.to_world[:3, :3].T + tool.to_world[:3, 3])
        triangles.append(faces + count)
        count += len(corners)
    return np.concatenate(points), np.concatenate(triangles)


def solid_surface(solid: Solid) -> tuple[np.ndarray, np.ndarray]:
    """Surface of a solid: that of a mesh as it is, of any other where half of a cell of a fine grid is filled.

    Returns
    -------
    points
        (P, 3) in the solid's frame, mm.
    triangles
        (T, 3) indices of points, counter-clockwise from outside.
    """
    if isinstance(solid, Mesh):
        return solid.points, solid.triangles
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D, vtkWindowedSincPolyDataFilter

    filled, origin, side = filled_cells(solid)
    image = vtkImageData()
    image.SetDimensions(*filled.shape[::-1])
    image.SetSpacing(side, side, side)
    image.SetOrigin(*origin)
    image.GetPointData().SetScalars(numpy_to_vtk(filled.ravel(), deep=True))
    contour = vtkFlyingEdges3D()
    contour.SetInputData(image)
    contour.SetValue(0, 0.5)
    contour.ComputeNormalsOff()
    smooth = vtkWindowedSincPolyDataFilter()
    smooth.SetInputConnection(contour.GetOutputPort())
    smooth.SetPassBand(0.1)
    smooth.NormalizeCoordinatesOn()
    smooth.Update()
    surface = smooth.GetOutput()
    points = vtk_to_numpy(surface.GetPoints().GetData()).astype(float)
    return points, vtk_to_numpy(surface.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64)


def filled_cells(solid: Solid) -> tuple[np.ndarray, np.ndarray, float]:
    """How much of each cell of a grid around a solid is filled.

    Returns
    -------
    filled
        (K, J, I) float32, 0 to 1, along z, y, x.
    origin
        (3,) x, y, z of the first cell's centre, mm.
    side
        Side of a cell, mm.
    """
    low, high = solid.bounds
    side = max(_FINEST_MM, float(np.cbrt(np.prod(high - low) / _CELLS)))
    counts = np.ceil((high - low) / side).astype(int) + 2 * _MARGIN
    start = (low + high - counts * side) / 2
    # Rays along the shortest side are the fewest; along them the share of each cell is exact.
    along = int(np.argmin(counts))
    first, second = (axis for axis in range(3) if axis != along)
    grid = [start[axis] + (np.arange(counts[axis] * _RAYS) + 0.5) * side / _RAYS for axis in (first, second)]
    targets = np.empty((len(grid[0]), len(grid[1]), 3))
    targets[..., first], targets[..., second], targets[..., along] = grid[0][:, None], grid[1][None, :], start[along]
    source = start + counts * side / 2
    source[along] = start[along] - _FAR_MM
    directions = (targets - source).reshape(-1, 3) / _FAR_MM
    cut = solid.intersect(source, directions)
    edges = np.arange(counts[along] + 1) * side
    # Length of a ray inside the body before each edge of the cells; its differences are the cells' shares.
    hit, row = np.unique(cut.ray, return_inverse=True)
    before = np.zeros((len(hit), len(edges)))
    for distance, sign in ((cut.leave, 1.0), (cut.enter, -1.0)):
        np.add.at(before, row, sign * np.minimum(np.asarray(distance)[:, None] - _FAR_MM, edges[None, :]))
    shares = np.zeros((len(directions), counts[along]), np.float32)
    shares[hit] = np.diff(before, axis=1) / side
    shape = (counts[first], _RAYS, counts[second], _RAYS, counts[along])
    filled = shares.reshape(shape).mean((1, 3)).clip(0, 1)  # first, second, along
    places = {first: 0, second: 1, along: 2}
    return np.ascontiguousarray(filled.transpose(places[2], places[1], places[0]), np.float32), start + side / 2, side
