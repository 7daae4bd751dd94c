"""The continuum manipulator, screws, wires: shapes and poses."""

import time
from pathlib import Path

import numpy as np
import pytest

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.attenuation import materials
from SyntheXLib.scene import intervals
from SyntheXLib.scene.continuum_manipulator import (
    NOTCHES,
    ManipulatorShape,
    continuum_manipulator,
    link_poses,
    notch_angles,
    sample_control_angles,
)
from SyntheXLib.scene.implants import k_wire, screw, stl_tool
from SyntheXLib.scene.intervals import lengths
from SyntheXLib.scene.solids import Box, Cylinder, Placed, Solid, Sphere
from SyntheXLib.scene.tools import MATERIALS, Tool, ToolPart

SHAPE = ManipulatorShape()
PITCH = 35 / 27
SOURCE = np.array([0.0, -700.0, 0.0])


def view(count: int = 360, half_width: float = 0.136) -> np.ndarray:
    """Directions (count^2, 3) of a cone beam along +y with pixels on a plane at y = 1; 0.136 is the paper's detector."""
    grid = ((np.arange(count) + 0.5) / count * 2 - 1) * half_width
    u, v = (axis.ravel() for axis in np.meshgrid(grid, grid))
    return np.stack([u, np.ones_like(u), v], axis=1)


def volume(solid: Solid, centre: np.ndarray, half_size: float, count: int = 500) -> float:
    """Volume (mm3) by the paths of a cone beam aimed at `centre` (3,)."""
    transform = np.eye(4)
    transform[:3, 3] = -centre
    half_width = half_size / 690
    found = Placed(solid, transform).intersect(SOURCE, view(count, half_width))
    return float(((found.leave**3 - found.enter**3) / 3).sum() * (2 * half_width / count) ** 2)


def segment(radius: float, height: float) -> float:
    """Area of a disc's part beyond a line at `height` from its centre, mm2."""
    cosine = np.clip(height / radius, -1, 1)
    return float(radius**2 * np.arccos(cosine) - height * np.sqrt(max(radius**2 - height**2, 0)))


def part(tool: Tool, name: str) -> ToolPart:
    return next(one for one in tool.parts if one.name == name)


def test_the_prior_has_the_published_spread() -> None:
    rng = np.random.default_rng(0)
    angles = np.array([sample_control_angles(rng) for _ in range(20000)])
    assert np.isclose(angles.std(), 2.5, rtol=0.01)
    turned = np.cumsum(notch_angles(angles), axis=1)
    assert np.isclose(turned[:, -1].std(), 40.5, rtol=0.03)
    assert np.allclose(np.percentile(np.abs(turned[:, -1]), [50, 90, 99]), [27, 66, 104], rtol=0.03)
    assert np.isclose((PITCH * np.sin(np.deg2rad(turned)).sum(1)).std(), 11.2, rtol=0.03)
    # The tool itself bends so.
    assert np.isclose(link_poses(angles[7])[-1, 0, 3], PITCH * np.sin(np.deg2rad(turned[7])).sum())


def test_the_spline_is_natural_and_straight_beyond_its_ends() -> None:
    scipy = pytest.importorskip("scipy.interpolate")
    knots, notch = 26 * np.arange(1, 6) / 6, np.arange(1, 28)
    control = np.array([1.0, -2.0, 4.0, 0.5, 3.0])
    spline = scipy.CubicSpline(knots, control, bc_type="natural")
    expected = spline(np.clip(notch, knots[0], knots[-1]))
    expected += spline(knots[0], 1) * np.minimum(notch - knots[0], 0) + spline(knots[-1], 1) * np.maximum(notch - knots[-1], 0)
    assert np.allclose(notch_angles(control), expected)


def test_straight_it_is_35_mm_long() -> None:
    tool = continuum_manipulator(np.zeros(5))
    assert np.allclose(tool.landmarks["cm_start"], 0)
    assert np.allclose(tool.landmarks["cm_end"], [0, 0, 35])
    bounds = part(tool, "continuum_manipulator").solid.bounds
    assert np.allclose(bounds, [[-3.03, -3, -0.15], [3.03, 3, 35]])
    assert np.allclose(part(tool, "shaft").solid.bounds, [[-3, -3, -35], [3, 3, 0]])
    assert {one.material for one in tool.parts} == {"nitinol"}
    assert [one.structure for one in tool.parts] == ["continuum_manipulator", None]


def test_its_notches_open_left_and_right_in_turn() -> None:
    # Rays along y beside the axis, at x = -+2.5: a notch at every second joint on either side.
    tool = continuum_manipulator(np.zeros(5))
    z = np.arange(-1, 36, 0.01) + 0.003
    for x, first in ((2.5, 0), (-2.5, 1)):
        # A source far away makes the rays parallel to within 0.01 mm.
        far = np.array([x, -1e6, 0.0])
        target = np.stack([np.full_like(z, x), np.zeros_like(z), z], axis=1)
        found = sum(lengths(body, len(z)) for body in tool.intersect(far, target - far))
        gaps = z[np.asarray(found) == 0]
        gaps = gaps[gaps < 35]
        expected = np.arange(first, NOTCHES, 2) * PITCH
        assert np.allclose(np.unique(np.round(gaps / PITCH)) * PITCH, expected)
        assert np.isclose(len(gaps) * 0.01 / len(expected), SHAPE.notch_width, atol=0.01)


def test_bent_evenly_it_is_an_arc() -> None:
    poses = link_poses(np.full(5, 3.0))
    angle = np.deg2rad(3)
    # Chords of a circle: joints 2 R sin(angle / 2) = pitch apart, the first chord turned by the whole angle.
    radius = PITCH / (2 * np.sin(angle / 2))
    turned = np.arange(28) * angle + angle / 2
    expected = radius * np.stack([np.cos(angle / 2) - np.cos(turned), np.sin(turned) - np.sin(angle / 2)], axis=1)
    assert np.allclose(poses[:, [0, 2], 3], expected)
    assert np.allclose(poses[:, 1, 3], 0)
    tip = poses[-1, :3, :3] @ [0, 0, 1]
    assert np.allclose(tip, [np.sin(27 * angle), 0, np.cos(27 * angle)])


def test_the_second_plane_bends_out_of_the_first() -> None:
    only_second = link_poses(np.zeros(5), np.full(5, 3.0))
    assert np.allclose(only_second[:, [1, 2], 3], link_poses(np.full(5, 3.0))[:, [0, 2], 3])
    assert np.allclose(only_second[:, 0, 3], 0)
    both = link_poses(np.full(5, 2.0), np.full(5, 1.0))
    assert both[-1, 0, 3] > both[-1, 1, 3] > 0
    assert np.allclose(np.linalg.norm(np.diff(both[:, :3, 3], axis=0), axis=1), PITCH)
    assert np.allclose(both[:, :3, :3] @ both[:, :3, :3].swapaxes(1, 2), np.eye(3))


def test_the_metal_has_the_volume_of_its_pieces() -> None:
    shape = ManipulatorShape(joint_offset=0.0)
    tool = continuum_manipulator(np.zeros(5), shape=shape, drill=True, shaft_length_mm=20)
    tube = np.pi * (9 - 4)
    notch = shape.notch_width * (segment(3, 3 - shape.notch_depth) - segment(2, 3 - shape.notch_depth))
    overlap = 0.15 * (tube - notch / shape.notch_width)
    # Half of the first notch is the shaft's; the first link reaches 0.15 mm into the shaft.
    links = tube * 35 - (NOTCHES - 0.5) * notch + overlap
    assert np.isclose(volume(tool.parts[0].solid, np.array([0, 0, 17.5]), 19), links, rtol=3e-3)
    assert np.isclose(volume(tool.parts[1].solid, np.array([0, 0, -10.0]), 11), tube * 20 - notch / 2, rtol=3e-3)
    drill = np.pi * 1.5**2 * 57.5 + np.pi * 2.5**2 * 5 + 2 / 3 * np.pi * 2.5**3
    assert np.isclose(volume(tool.parts[2].solid, np.array([0, 0, 13.0]), 36), drill, rtol=5e-3)


def test_bending_opens_no_slit_beside_a_notch() -> None:
    # On the side of the spine the tube goes on: rays through it across the bending plane all meet metal.
    poses = link_poses(np.full(5, 4.0))
    tool = continuum_manipulator(np.full(5, 4.0))
    for link in range(1, NOTCHES):
        side = 2.5 if link % 2 else -2.5
        target = poses[link, :3, 3] + side * poses[link, :3, 0] + np.linspace(-0.3, 0.3, 41)[:, None] * poses[link, :3, 2]
        origin = np.array([target[20, 0], -1e5, target[20, 2]])
        assert (lengths(tool.parts[0].solid.intersect(origin, target - origin), 41) > 0).all(), link


def test_parts_do_not_overlap_and_the_earlier_wins() -> None:
    box, ball = ToolPart("box", Box((-2, -2, -2), (2, 2, 2)), "titanium"), ToolPart("ball", Sphere(3), "nitinol")
    directions = view(60, 0.006)
    one, two = Tool("pair", (box, ball)).intersect(SOURCE, directions)
    assert np.array_equal(one.enter, box.solid.intersect(SOURCE, directions).enter)
    assert not len(intervals.intersection(one, two).ray)
    assert np.allclose(
        lengths(one, 3600) + lengths(two, 3600),
        lengths(intervals.union(*(p.solid.intersect(SOURCE, directions) for p in (box, ball))), 3600),
    )


def test_a_placed_tool_takes_its_landmarks_along() -> None:
    to_world = np.array([[0.0, -1, 0, 10], [1, 0, 0, 20], [0, 0, 1, 30], [0, 0, 0, 1]])
    tool = continuum_manipulator(np.full(5, 1.0)).placed(to_world)
    end = tool.landmarks["cm_end"]
    assert np.allclose(tool.world_landmarks()["cm_start"], [10, 20, 30])
    assert np.allclose(tool.world_landmarks()["cm_end"], [10 - end[1], 20 + end[0], 30 + end[2]])
    metal = tool.intersect(np.array([10.0, -700, 30]), np.array([[0.0, 1, 0.0], [0, 1, -0.01]]))
    assert lengths(metal[1], 2)[1] > 0
    for bad in (np.eye(3), np.diag([1.0, 1, -1, 1]), np.diag([2.0, 1, 1, 1])):
        with pytest.raises(SyntheXError, match="pose of the tool"):
            tool.placed(bad)


def test_the_same_numbers_make_the_same_paths(capsys: pytest.CaptureFixture[str]) -> None:
    angles, directions = sample_control_angles(np.random.default_rng(4)), view()
    started = time.process_time()
    first = continuum_manipulator(angles, drill=True).intersect(SOURCE, directions)
    seconds = time.process_time() - started
    for one, two in zip(first, continuum_manipulator(angles, drill=True).intersect(SOURCE, directions), strict=True):
        assert all(np.array_equal(getattr(one, name), getattr(two, name)) for name in ("ray", "enter", "leave"))
    # A crop of the view sees what the whole view sees.
    cropped = continuum_manipulator(angles, drill=True).intersect(SOURCE, directions[50000:80000])
    assert np.array_equal(lengths(cropped[0], 30000), lengths(first[0], len(directions))[50000:80000])
    with capsys.disabled():
        print(f"\ncontinuum manipulator with drill, 360 x 360: {1000 * seconds:.0f} ms of one core")


def test_screw_and_wire_have_the_size_asked_for() -> None:
    wire = k_wire(30, 2, tip_length_mm=6)
    assert np.isclose(volume(wire.parts[0].solid, np.array([0, 0, 15.0]), 16), np.pi * (24 + 2), rtol=0.01)
    assert np.allclose(wire.landmarks["end"], [0, 0, 30])
    bolt = screw(40, 6.5, head_diameter_mm=8, head_length_mm=5)
    assert np.allclose(bolt.parts[0].solid.bounds, [[-4, -4, 0], [4, 4, 45]])
    inside = volume(bolt.parts[0].solid, np.array([0, 0, 22.5]), 25)
    assert np.pi * (0.35 * 6.5) ** 2 * 36 < inside < np.pi * (3.25**2 * 40 + 16 * 5)
    hollow = volume(screw(40, 6.5, cannula_diameter_mm=2).parts[0].solid, np.array([0, 0, 22.5]), 25)
    assert np.isclose(inside - hollow, np.pi * 44, rtol=0.02)


def test_a_screws_thread_climbs_once_a_pitch() -> None:
    bolt = screw(40, 6, core_diameter_mm=4, pitch_mm=2).parts[0].solid
    far, z = np.array([0.0, -1e6, 0.0]), np.arange(10, 30, 0.02)
    found = bolt.intersect(far, np.stack([np.full_like(z, 2.6), np.zeros_like(z), z], axis=1) - far)
    crests = np.diff(np.concatenate([[0], (lengths(found, len(z)) > 0).astype(int)])) > 0
    assert crests.sum() == 10


def test_a_surface_file_is_a_tool(tmp_path: Path) -> None:
    vtk = pytest.importorskip("vtk")
    cube, writer = vtk.vtkCubeSource(), vtk.vtkSTLWriter()
    writer.SetInputConnection(cube.GetOutputPort())
    writer.SetFileName(str(tmp_path / "clamp.stl"))
    writer.Write()
    tool = stl_tool(tmp_path / "clamp.stl", "steel_316l", landmarks={"corner": [0.5, 0.5, 0.5]}, structure="clamp")
    assert (tool.name, tool.parts[0].structure) == ("clamp", "clamp")
    assert np.allclose(tool.world_landmarks()["corner"], 0.5)
    assert np.isclose(lengths(tool.intersect(SOURCE, np.array([[0.0, 1, 0.0001]]))[0], 1)[0], 1)
    with pytest.raises(SyntheXError, match=r"Unknown material 'steel'.*did you mean 'steel_316l'"):
        stl_tool(tmp_path / "clamp.stl", "steel")


def test_the_materials_are_in_the_attenuation_table() -> None:
    assert set(MATERIALS) <= set(materials())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: continuum_manipulator(np.zeros(4)), "5 control angles"),
        (lambda: continuum_manipulator(np.full(5, np.nan)), "5 control angles"),
        (lambda: continuum_manipulator(np.zeros(5), shaft_length_mm=0), "shaft_length_mm"),
        (lambda: ManipulatorShape(lumen_diameter=6.5), "lumen_diameter .* must be below its outer_diameter of 6 mm, found 6.5 mm"),
        (lambda: ManipulatorShape(notch_width=2), "notch_width .* must be below the 1.3 mm"),
        (lambda: ManipulatorShape(outer_diameter=-1), "outer_diameter .* found -1"),
        (lambda: screw(core_diameter_mm=7), "core_diameter_mm < diameter_mm"),
        (lambda: screw(pitch_mm=0), "pitch_mm of the screw must be positive"),
        (lambda: screw(cannula_diameter_mm=5), "cannula_diameter_mm"),
        (lambda: k_wire(tip_length_mm=200), "tip_length_mm"),
        (lambda: ToolPart("rod", Cylinder(1, 0, 1), "gold"), "Unknown material 'gold' of the tool part 'rod'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_a_sentence(make: object, message: str) -> None:
    with pytest.raises(SyntheXError, match=message):
        make()  # type: ignore[operator]
