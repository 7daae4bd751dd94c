"""Tools among the voxels of the Monte Carlo: how much of each cell of a fine grid they take."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from SyntheXLib.physics.monte_carlo.simulation import ToolCells
from SyntheXLib.scene.intervals import Intervals, difference, union
from SyntheXLib.scene.tools import Tool

# Side of a cell, mm, unless the tools' box then had more cells than this.
_CELL_MM, _MOST_CELLS = 1.0, 8_000_000
_COLUMNS = 2  # rays along each side of a cell
# Parallel rays are those of a source so far away: within a box of 200 mm they part by 0.01 mm.
_SOURCE_MM = 1e6


def tool_cells(tools: Sequence[Tool], index_to_world: np.ndarray) -> ToolCells:
    """The tools in the cells of a voxel grid, which may reach beyond it.

    Parameters
    ----------
    tools
        At least one; where two overlap, the earlier wins.
    index_to_world
        (4, 4) index (i, j, k; whole numbers are centres of voxels) to world RAS, mm.

    Returns
    -------
    ToolCells
        The share of a cell is that of rays through it, along k exact to the solids, across k to half a cell. Where two materials share a
        cell, it counts as the one that takes more.
    """
    spacing = np.linalg.norm(index_to_world[:3, :3], axis=0)
    bodies = [body for tool in tools for body in tool.bodies()]
    local = np.concatenate([np.array(list(product(*body.bounds.T))) for body in bodies])
    corners = (np.linalg.inv(index_to_world) @ np.c_[local, np.ones(len(local))].T)[:3] + 0.5  # counted from the outer edges
    first, last = np.floor(corners.min(1)).astype(int), np.ceil(corners.max(1)).astype(int)
    size = np.maximum(last - first, 1)
    refine = max(1, min(round(float(spacing.max()) / _CELL_MM), int((_MOST_CELLS / size.prod()) ** (1 / 3))))
    cells = size * refine

    fine = refine * _COLUMNS
    i, j = np.meshgrid(*((np.arange(n * fine) + 0.5) / fine + start - 0.5 for n, start in zip(size[:2], first[:2], strict=True)))
    middle = (first[2] + last[2] - 1) / 2
    targets = np.stack([i.ravel(), j.ravel(), np.full(i.size, middle), np.ones(i.size)], axis=1) @ index_to_world[:3].T
    along = index_to_world[:3, 2] / spacing[2]
    source = targets.mean(0) - _SOURCE_MM * along
    rays = targets - source
    depth = rays @ along  # mm along k for t = 1
    of_cell = np.ravel_multi_index(
        (np.repeat(np.arange(cells[1]), _COLUMNS)[:, None], np.repeat(np.arange(cells[0]), _COLUMNS)[None]), (cells[1], cells[0])
    ).ravel()

    materials = tuple(dict.fromkeys(part.material for tool in tools for part in tool.parts))
    shares = np.zeros((len(materials), cells.prod()))
    occupied = Intervals.none()
    for part, body in zip((part for tool in tools for part in tool.parts), bodies, strict=True):
        inside = difference(body.intersect(source, rays), occupied)
        occupied = union(occupied, inside)
        low, high = (
            (t * depth[inside.ray] - _SOURCE_MM) / spacing[2] * refine + cells[2] / 2 for t in (inside.enter, inside.leave)
        )  # in cells along k
        layer = np.floor(low).astype(np.int64)
        count = np.ceil(high).astype(np.int64) - layer
        owner = np.repeat(np.arange(len(count)), count)
        plane = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count) + layer[owner]
        covered = np.minimum(high[owner], plane + 1) - np.maximum(low[owner], plane)
        place = plane.clip(0, cells[2] - 1) * (cells[0] * cells[1]) + of_cell[inside.ray[owner]]
        shares[materials.index(part.material)] += np.bincount(place, covered / _COLUMNS**2, shares.shape[1])
    shape = tuple(cells[::-1])
    return ToolCells(
        (int(first[0]), int(first[1]), int(first[2])),
        refine,
        materials,
        shares.argmax(0).astype(np.uint8).reshape(shape),
        shares.sum(0).clip(0, 1).astype(np.float32).reshape(shape),
    )
