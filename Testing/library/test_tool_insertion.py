"""Tools in a projection: exact paths, and tissue replaced along them."""

import importlib.util

import numpy as np
import pytest
from phantoms import OBLIQUE, affine

from SyntheXLib.rendering.cpu import CpuRenderer
from SyntheXLib.rendering.cuda import CudaRenderer
from SyntheXLib.rendering.footprint import footprint, rays_of
from SyntheXLib.rendering.projection import Projection
from SyntheXLib.rendering.reference import ReferenceRenderer
from SyntheXLib.rendering.renderer import Renderer
from SyntheXLib.scene.c_arm import Camera, CArm
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.solids import Box, Cylinder, Placed, Sphere
from SyntheXLib.scene.specimen import Specimen, make_specimen
from SyntheXLib.scene.tools import Tool, ToolPart

POSES = (CArmPose(), CArmPose(lao_rao_deg=35, cran_caud_deg=-20, roll_deg=12), CArmPose(lao_rao_deg=-95), CArmPose(cran_caud_deg=80))
RENDERERS: list[Renderer] = [ReferenceRenderer(), CpuRenderer()]
if importlib.util.find_spec("warp"):
    RENDERERS.append(CudaRenderer(device="cpu"))


def tank(hu: float = 0.0) -> Specimen:
    """A box of water, some 150 mm a side, in the world's middle."""
    values = np.full((50, 55, 60), hu)
    return make_specimen("tank", values, affine(values.shape, (2.5, 2.7, 3.0), OBLIQUE), {"tank": values == hu}, ["tank", "rod"])


def camera_at(pose: CArmPose, shape: tuple[int, int] = (80, 90)) -> Camera:
    return CArm(1536, 1536, 0.194, 1020).camera(pose.world_to_camera(np.zeros(3)), shape=shape)


def rod(material: str = "titanium", structure: str | None = "rod", radius: float = 4.0) -> Tool:
    to_world = np.eye(4)
    to_world[:3, :3], to_world[:3, 3] = OBLIQUE.T, (3.0, -5.0, 7.0)
    return Tool("rod", (ToolPart("rod", Cylinder(radius, -30, 30), material, structure),), {"tip": np.array([0, 0, 30.0])}, to_world)


def render(renderer: Renderer, scene: Scene, camera: Camera, **options: object) -> Projection:
    projection = renderer.render(scene, camera, **options)  # type: ignore[arg-type]
    assert projection is not None
    return projection


@pytest.mark.parametrize("renderer", RENDERERS, ids=lambda r: r.name)
@pytest.mark.parametrize("pose", POSES)
def test_a_ball_replaces_water_by_its_chord(renderer: Renderer, pose: CArmPose) -> None:
    center, radius, camera = np.array([5.0, -3.0, 8.0]), 12.0, camera_at(pose)
    to_world = np.eye(4)
    to_world[:3, 3] = center
    ball = Tool("ball", (ToolPart("ball", Sphere(radius), "steel_316l", None),), {}, to_world)
    before, after = render(renderer, Scene(tank()), camera), render(renderer, Scene(tank(), (ball,)), camera)
    rays = camera.rays() / np.linalg.norm(camera.rays(), axis=-1, keepdims=True)
    distance = np.linalg.norm(np.cross(rays, camera.world_to_camera[:3, :3] @ center + camera.world_to_camera[:3, 3]), axis=-1)
    chord = 2 * np.sqrt(np.maximum(radius**2 - distance**2, 0))
    assert np.allclose(after.tool_path["steel_316l"], chord, atol=1e-3)
    # Deep in the tank all samples are water: its path is shorter by the chord, to rounding and not to a voxel.
    assert np.allclose(before.path_length - after.path_length, [chord * (kind == 3) for kind in range(6)], atol=2e-3)
    assert np.allclose(before.hu_integral, after.hu_integral, atol=1e-2)
    assert np.array_equal(before.label_bits, after.label_bits)


@pytest.mark.parametrize("renderer", RENDERERS, ids=lambda r: r.name)
@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("step", [1, 2])
def test_what_is_taken_off_was_there(renderer: Renderer, pose: CArmPose, step: int) -> None:
    rng = np.random.default_rng(2)
    values = np.kron(rng.uniform(-1500, 3200, (12, 11, 13)), np.ones((4, 4, 4)))
    specimen = make_specimen("rough", values, affine(values.shape, (2.5, 2.7, 3.0), OBLIQUE), {"some": values > 0}, ["some"])
    camera = camera_at(pose)
    before = render(renderer, Scene(specimen), camera, plane_step=step)
    after = render(renderer, Scene(specimen, (rod(),)), camera, plane_step=step)
    size = before.path_length.max()
    # A sample at the very limit of a class, or of the CT, may round to the other side in the full pass's single precision.
    assert (after.path_length < -1e-4 * size).mean() < 1e-3
    lost = before.path_length.sum(0) - after.path_length.sum(0)
    inside = before.path_length.sum(0) > 40  # the rod lies wholly within the CT there
    assert np.abs(lost - after.tool_path["titanium"])[inside].max() < 1e-3 * size
    free = after.tool_path["titanium"] == 0
    assert free.any() and np.array_equal(before.hu_integral[:, free], after.hu_integral[:, free])
    # A tool as large as the world leaves nothing of the CT.
    everything = Tool("all", (ToolPart("all", Sphere(5000.0), "titanium", None),), {})
    rest = render(renderer, Scene(specimen, (everything,)), camera, plane_step=step).path_length
    assert (np.abs(rest) > 1e-3 * size).mean() < 1e-3


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("place", [(0, 0, 0), (60, -40, 30), (900, 0, 0), (0, 690, 0), (0, 900, 0)])
def test_the_footprint_holds_all_rays_that_meet_a_body_and_few_others(pose: CArmPose, place: tuple[float, float, float]) -> None:
    camera, transform = camera_at(pose, (120, 150)), np.eye(4)
    transform[:3, :3], transform[:3, 3] = OBLIQUE, place
    body = Placed(Box((-2, -3, -60), (2, 3, 60)), transform)
    found = footprint(body, camera)
    rays = camera.rays().reshape(-1, 3)
    assert np.array_equal(rays_of(found, camera), rays[found]) and np.all(np.diff(found) > 0)
    met = body.intersect(camera.source, rays @ camera.world_to_camera[:3, :3]).ray
    assert np.isin(met, found).all()
    corners = (
        camera.world_to_camera[2, :3] @ (transform[:3, :3] @ [[2] * 2, [3] * 2, [-60, 60]]) + (camera.world_to_camera @ transform)[2, 3]
    )
    if corners.min() > 10:  # a box is its own hull: but for the border, each ray of the footprint meets it
        assert np.array_equal(found, np.unique(met))
    if corners.max() < -70:
        assert not len(met)


def test_label_path_and_landmark_of_a_tool() -> None:
    camera, tool = camera_at(POSES[1]), rod()
    scene = Scene(tank(), (tool,))
    projection = render(CpuRenderer(), scene, camera, label_paths=True)
    assert projection.label_path is not None
    assert np.array_equal(projection.label_bits & 2 != 0, projection.tool_path["titanium"] > 0)
    assert np.allclose(projection.label_path[1], projection.tool_path["titanium"])
    tip = tool.to_world[:3, :3] @ [0, 0, 30.0] + tool.to_world[:3, 3]
    found = scene.landmark_array(["tip", "unknown"])
    assert np.allclose(found[0], tip) and np.isnan(found[1]).all()


def test_where_tools_overlap_the_earlier_wins() -> None:
    camera = camera_at(POSES[0])
    thin, thick = rod("steel_316l", radius=3.0), rod("titanium", radius=6.0)
    both = render(CpuRenderer(), Scene(tank(), (thin, thick)), camera)
    alone = render(CpuRenderer(), Scene(tank(), (thin,)), camera)
    whole = render(CpuRenderer(), Scene(tank(), (thick,)), camera)
    assert np.allclose(both.tool_path["steel_316l"], alone.tool_path["steel_316l"])
    assert np.allclose(both.tool_path["steel_316l"] + both.tool_path["titanium"], whole.tool_path["titanium"], atol=1e-3)
    assert np.allclose(both.path_length, whole.path_length, atol=1e-3)


def test_a_tool_outside_the_ct_only_adds_its_path() -> None:
    beside = rod().placed(np.array([[1.0, 0, 0, 100], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    camera = camera_at(POSES[0])
    before, after = render(CpuRenderer(), Scene(tank()), camera), render(CpuRenderer(), Scene(tank(), (beside,)), camera)
    assert after.tool_path["titanium"].max() > 7.5
    assert np.allclose(before.path_length, after.path_length, atol=1e-3)
