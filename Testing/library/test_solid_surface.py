"""Surfaces of tools, held against closed forms."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("vtkmodules", reason="vtk is not installed")

from SyntheXLib.scene.continuum_manipulator import continuum_manipulator
from SyntheXLib.scene.implants import k_wire
from SyntheXLib.scene.mesh import Mesh
from SyntheXLib.scene.solid_surface import filled_cells, solid_surface, tool_surface
from SyntheXLib.scene.solids import Box, Cylinder, Difference, Placed, Sphere
from SyntheXLib.scene.tools import pose_along

TURNED = pose_along(np.array([5.0, -7.0, 9.0]), np.array([1.0, 2.0, -0.5]), 30)
SOLIDS: list[tuple[Any, float]] = [
    (Sphere(4.0, (1.0, 2.0, 3.0)), 4 / 3 * np.pi * 64),
    (Cylinder(1.0, -3.0, 57.0), np.pi * 60),
    (Box((0, 0, 0), (3.0, 5.0, 40.0)), 600.0),
    (Placed(Difference(Cylinder(4.0, 0.0, 20.0), (Cylinder(2.0, -1.0, 21.0),)), TURNED), np.pi * (16 - 4) * 20),
]


@pytest.mark.parametrize(("solid", "volume"), SOLIDS)
def test_the_cells_hold_the_volume_and_the_surface_closes_around_it(solid: Any, volume: float) -> None:
    filled, origin, side = filled_cells(solid)
    assert filled.sum() * side**3 == pytest.approx(volume, rel=0.01)
    centre = np.array([(filled.sum((0, 1)) @ np.arange(filled.shape[2])), (filled.sum((0, 2)) @ np.arange(filled.shape[1])), 0.0])
    centre[2] = filled.sum((1, 2)) @ np.arange(filled.shape[0])
    np.testing.assert_allclose(origin + side * centre / filled.sum(), solid.bounds.mean(0), atol=0.05)
    points, triangles = solid_surface(solid)
    assert Mesh(points, triangles).volume == pytest.approx(volume, rel=0.03)
    if not isinstance(solid, Placed):  # of which the bounds are those of a turned box
        np.testing.assert_allclose([points.min(0), points.max(0)], solid.bounds, atol=1.5 * side)


def test_a_tool_stands_where_its_pose_says() -> None:
    points, triangles = tool_surface(k_wire(100.0, 2.0).placed(TURNED))
    local = (points - TURNED[:3, 3]) @ TURNED[:3, :3]
    assert np.hypot(local[:, 0], local[:, 1]).max() == pytest.approx(1.0, abs=0.1)
    assert (local[:, 2].min(), local[:, 2].max()) == pytest.approx((0, 100), abs=0.6)  # the very tip is finer than a cell
    assert triangles.max() < len(points)


def test_the_parts_of_a_tool_come_together() -> None:
    tool = continuum_manipulator(np.array([3.0, 2.0, 1.0, 0.0, 0.0]))
    points, triangles = tool_surface(tool)
    bounds = np.array([part.solid.bounds for part in tool.parts])
    assert (points.min(0) > bounds[:, 0].min(0) - 0.5).all() and (points.max(0) < bounds[:, 1].max(0) + 0.5).all()
    assert triangles.max() == len(points) - 1
