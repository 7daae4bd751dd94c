"""Closed surfaces cut by rays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.intervals import lengths
from SyntheXLib.scene.mesh import Mesh, mesh_of_polydata, read_mesh
from SyntheXLib.scene.solids import Box, Difference, Placed, Solid, Sphere

SOURCE = np.array([3.0, -700.0, 11.0])
CUBE_POINTS = np.array([[x, y, z] for x in (-5, 5) for y in (-5, 5) for z in (-5, 5)], float)
CUBE_FACES = np.array([
    [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
])  # fmt: skip


def icosphere(radius: float, splits: int) -> Mesh:
    """A ball of 20 x 4^splits triangles."""
    golden = (1 + 5**0.5) / 2
    points = np.array([[-1, golden, 0], [1, golden, 0], [-1, -golden, 0], [1, -golden, 0]])
    points = np.concatenate([np.roll(points, shift, axis=1) for shift in (0, 1, 2)])
    edge = np.linalg.norm(points[:, None] - points[None], axis=-1) < 2.1
    faces = [(a, b, c) for a in range(12) for b in range(a) for c in range(b) if edge[a, b] and edge[b, c] and edge[a, c]]
    corners = points[np.array(faces)]
    outwards = (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) * corners[:, 0]).sum(1) > 0
    corners = np.where(outwards[:, None, None], corners, corners[:, ::-1])
    for _ in range(splits):
        a, b, c = corners.swapaxes(0, 1)
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        corners = np.concatenate([np.stack(face, axis=1) for face in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    corners *= radius / np.linalg.norm(corners, axis=-1, keepdims=True)
    return Mesh(corners.round(12).reshape(-1, 3), np.arange(corners.size // 3).reshape(-1, 3))


def path(solid: Solid, directions: np.ndarray, origin: np.ndarray = SOURCE) -> np.ndarray:
    return lengths(solid.intersect(origin, directions), len(directions)) * np.linalg.norm(directions, axis=1)


def random_rays(count: int, spread: float = 9.0) -> np.ndarray:
    return np.random.default_rng(5).uniform(-spread, spread, (count, 3)) - SOURCE


def test_a_cube_of_triangles_is_a_box() -> None:
    directions, cube, box = random_rays(20000), Mesh(CUBE_POINTS, CUBE_FACES), Box((-5, -5, -5), (5, 5, 5))
    assert np.isclose(cube.volume, 1000)
    assert np.allclose(path(cube, directions), path(box, directions), atol=1e-9)
    for origin in (np.zeros(3), np.array([4.0, -4.0, 4.9]), np.array([0.0, 6.0, 0.0])):
        assert np.allclose(path(cube, directions, origin), path(box, directions, origin), atol=1e-9)


def test_faces_turned_inwards_are_turned_back() -> None:
    directions = random_rays(500)
    assert np.array_equal(path(Mesh(CUBE_POINTS, CUBE_FACES[:, ::-1]), directions) > 0, path(Mesh(CUBE_POINTS, CUBE_FACES), directions) > 0)


def test_rays_through_edges_and_corners_slip_through_nowhere() -> None:
    # A grid of rays that runs through the edges and corners of all faces that are seen, diagonals included.
    step = np.arange(-4.0, 5.0)
    x, z = (axis.ravel() for axis in np.meshgrid(step, step))
    origin = np.array([0.0, -50.0, 0.0])
    directions = np.stack([x, np.full_like(x, 45.0), z], axis=1)
    assert np.allclose(path(Mesh(CUBE_POINTS, CUBE_FACES), directions, origin), path(Box((-5, -5, -5), (5, 5, 5)), directions, origin))
    # Turned, so that rounding decides: rays at every corner and somewhere on every edge.
    rng, ball = np.random.default_rng(2), icosphere(10, 3)
    for _ in range(10):
        turned = Mesh(ball.points @ np.linalg.qr(rng.normal(size=(3, 3)))[0].T, ball.triangles)
        ends = turned.points[turned._edges]
        share = rng.random((len(ends), 1))
        directions = np.concatenate([turned.points, ends[:, 0] * share + ends[:, 1] * (1 - share)]) - SOURCE
        distance = np.linalg.norm(np.cross(directions, SOURCE), axis=1) / np.linalg.norm(directions, axis=1)
        chord = 2 * np.sqrt(np.maximum(100 - distance**2, 0))
        assert np.abs(path(turned, directions) - chord)[distance < 9].max() < 0.4


def test_paths_through_an_icosphere_add_up_to_its_volume() -> None:
    ball = icosphere(10.0, 4)
    assert np.isclose(ball.volume, 4 / 3 * np.pi * 1000, rtol=0.003)
    grid = (np.arange(300) + 0.5) / 300 * 0.04 - 0.02
    u, v = (axis.ravel() for axis in np.meshgrid(grid, grid))
    found = ball.intersect(np.array([0.0, -700.0, 0.0]), np.stack([u, np.ones_like(u), v], axis=1))
    assert np.isclose(((found.leave**3 - found.enter**3) / 3).sum() * (0.04 / 300) ** 2, ball.volume, rtol=1e-3)
    assert np.bincount(found.ray).max() == 1


def test_a_placed_mesh_agrees_with_the_ball_it_approximates() -> None:
    transform = np.array([[0.0, -1, 0, 3], [1, 0, 0, -20], [0, 0, 1, 1], [0, 0, 0, 1]])
    directions = np.random.default_rng(5).uniform(-9, 9, (5000, 3)) + transform[:3, 3] - SOURCE
    difference = path(Placed(icosphere(10.0, 5), transform), directions) - path(Placed(Sphere(10.0), transform), directions)
    # The surface lies within R (1 - cos(half an edge)) of the ball's; a chord changes most at grazing incidence.
    assert np.abs(difference).mean() < 0.01
    assert np.abs(difference).max() < 0.3


def test_cavities_are_empty_and_overlapping_pieces_count_once() -> None:
    directions = random_rays(3000)
    cavity = Mesh(np.concatenate([CUBE_POINTS, CUBE_POINTS / 2]), np.concatenate([CUBE_FACES, CUBE_FACES[:, ::-1] + 8]))
    shell = Difference(Box((-5, -5, -5), (5, 5, 5)), (Box((-2.5, -2.5, -2.5), (2.5, 2.5, 2.5)),))
    assert np.allclose(path(cavity, directions), path(shell, directions), atol=1e-9)
    twice = Mesh(np.concatenate([CUBE_POINTS, CUBE_POINTS + 3]), np.concatenate([CUBE_FACES, CUBE_FACES + 8]))
    found = twice.intersect(SOURCE, directions)
    assert np.bincount(found.ray).max() <= 2
    assert lengths(found, 3000).max() < 13 * 3**0.5


def surface(kind: str, tmp_path: Path, resolution: int = 12, keep: int | None = None) -> Path:
    """A ball of 5 mm in a file; with `keep`, only so many of its triangles."""
    vtk = pytest.importorskip("vtk")
    source = vtk.vtkSphereSource()
    source.SetRadius(5)
    source.SetThetaResolution(resolution)
    source.SetPhiResolution(resolution)
    source.Update()
    polydata: Any = source.GetOutput()
    if keep is not None:
        cells = vtk.vtkCellArray()
        for cell in range(keep):
            cells.InsertNextCell(polydata.GetCell(cell))
        polydata.SetPolys(cells)
    writer = {"stl": vtk.vtkSTLWriter, "ply": vtk.vtkPLYWriter, "vtp": vtk.vtkXMLPolyDataWriter, "obj": vtk.vtkOBJWriter}[kind]()
    writer.SetFileName(str(tmp_path / f"ball.{kind}"))
    writer.SetInputData(polydata)
    writer.Write()
    return tmp_path / f"ball.{kind}"


@pytest.mark.parametrize("kind", ["stl", "ply", "vtp", "obj"])
def test_files_of_every_type_are_read(kind: str, tmp_path: Path) -> None:
    ball = read_mesh(surface(kind, tmp_path, 40))
    assert np.isclose(ball.volume, 4 / 3 * np.pi * 125, rtol=0.02)
    assert np.allclose(ball.bounds, [[-5] * 3, [5] * 3], atol=0.05)


def test_an_open_surface_is_refused_with_its_open_edges(tmp_path: Path) -> None:
    file = surface("stl", tmp_path)
    whole = len(read_mesh(file).triangles)
    with pytest.raises(SyntheXError, match=r"ball\.stl is not watertight.*found 3 open edges"):
        read_mesh(surface("stl", tmp_path, keep=whole - 1))
    with pytest.raises(SyntheXError, match="found 3 open edges"):
        Mesh(CUBE_POINTS, CUBE_FACES[1:])


def test_triangles_that_disagree_are_refused() -> None:
    faces = CUBE_FACES.copy()
    faces[0] = faces[0, ::-1]
    with pytest.raises(SyntheXError, match="3 edges whose triangles face opposite ways"):
        Mesh(CUBE_POINTS, faces)


def test_files_that_hold_no_surface_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("vtk")
    with pytest.raises(SyntheXError, match="does not exist"):
        read_mesh(tmp_path / "none.stl")
    with pytest.raises(SyntheXError, match=r"found '\.txt'"):
        read_mesh(tmp_path / "none.txt")
    for content in (b"", b"solid nothing\nendsolid nothing\n", b"not a surface at all, just some words " * 20):
        (tmp_path / "bad.stl").write_bytes(content)
        with pytest.raises(SyntheXError, match=r"bad\.stl (holds no triangle|cannot be read)"):
            read_mesh(tmp_path / "bad.stl")


def test_a_polydata_of_lines_alone_is_no_surface() -> None:
    vtk = pytest.importorskip("vtk")
    line = vtk.vtkLineSource()
    line.Update()
    with pytest.raises(SyntheXError, match="holds no triangle"):
        mesh_of_polydata(line.GetOutput(), "a line")
