"""The renderers against closed forms and, the compiled one, against the numpy oracle."""

import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from phantoms import OBLIQUE, affine

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.attenuation import transmission
from SyntheXLib.physics.decomposition import area_density
from SyntheXLib.rendering.cpu import CpuRenderer, runnable_variants
from SyntheXLib.rendering.projection import Projection
from SyntheXLib.rendering.reference import ReferenceRenderer
from SyntheXLib.rendering.renderer import Renderer, make_renderer, render_views
from SyntheXLib.scene.c_arm import Camera, CArm, load_device
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import Specimen, make_specimen

VIEWS = (
    CArmPose(),
    CArmPose(lao_rao_deg=35, cran_caud_deg=-20, roll_deg=12),
    CArmPose(lao_rao_deg=-95),
    CArmPose(cran_caud_deg=80, roll_deg=-40),
)
VARIANTS = runnable_variants()
RENDERERS = [ReferenceRenderer(), *(CpuRenderer(variant=variant) for variant in VARIANTS)]
# Pixel spacings (mm) that take the patch kernel each of its ways: gathers, patches of each size, a group's own and shared by 4 or 16.
SPACINGS = (12.0, 6.0, 3.0, 1.5, 0.8, 0.4, 0.2)


def view(pose: CArmPose, shape: tuple[int, int] = (96, 111)) -> Camera:
    return CArm(1536, 1536, 0.194, 1020).camera(pose.world_to_camera(np.zeros(3)), shape=shape)


def render(renderer: Renderer, specimen: Specimen, camera: Camera) -> Projection:
    projection = renderer.render(Scene(specimen), camera)
    assert projection is not None
    return projection


def water_mm(projection: Projection) -> np.ndarray:
    """Thickness of water of equal attenuation: the total of HU + 1000."""
    return (projection.hu_integral + 1000 * projection.path_length).sum(0) / 1000


def ray_distance(camera: Camera, point: np.ndarray) -> np.ndarray:
    """Distance of every pixel's ray from a world point, mm."""
    rays = camera.rays() / np.linalg.norm(camera.rays(), axis=-1, keepdims=True)
    center = camera.world_to_camera[:3, :3] @ point + camera.world_to_camera[:3, 3]
    return np.linalg.norm(np.cross(rays, center), axis=-1)


def box_chord(camera: Camera, rotation: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Length of every pixel's ray in a box given along the columns of `rotation`, mm."""
    to_box = rotation.T @ camera.world_to_camera[:3, :3].T
    origin, rays = rotation.T @ camera.source, camera.rays() @ to_box.T
    with np.errstate(divide="ignore"):
        one, two = (limits[0] - origin) / rays, (limits[1] - origin) / rays
    depth = np.minimum(np.maximum(one, two).min(-1), 1e9) - np.minimum(one, two).max(-1)
    return np.maximum(depth, 0) * np.linalg.norm(rays, axis=-1)


@pytest.mark.parametrize("renderer", RENDERERS, ids=lambda r: r.name)
@pytest.mark.parametrize("pose", VIEWS)
def test_chords_of_a_ball(renderer: Renderer, pose: CArmPose, ball: tuple[Specimen, np.ndarray, float]) -> None:
    specimen, center, radius = ball
    camera = view(pose)
    expected = 2 * np.sqrt(np.maximum(radius**2 - ray_distance(camera, center) ** 2, 0))
    found = water_mm(render(renderer, specimen, camera))
    error = np.abs(found - expected)[expected > 1.5 * radius]  # away from the rim, where voxels blur the edge
    assert error.max() < 0.01 * 2 * radius and error.mean() < 0.003 * 2 * radius
    assert np.isclose(found.sum(), expected.sum(), rtol=0.002)  # the whole volume


@pytest.mark.parametrize("renderer", RENDERERS, ids=lambda r: r.name)
@pytest.mark.parametrize("pose", VIEWS)
def test_chords_of_a_tilted_box(renderer: Renderer, pose: CArmPose, box: tuple[Specimen, np.ndarray]) -> None:
    specimen, limits = box
    camera = view(pose)
    expected = box_chord(camera, OBLIQUE, limits)
    found = water_mm(render(renderer, specimen, camera))
    # Where neighbouring rays do not meet an edge of the box, its chord varies linearly.
    smooth = np.abs(np.diff(expected, 2, axis=0))[:, 1:-1] + np.abs(np.diff(expected, 2, axis=1))[1:-1] < 0.02
    inner = smooth & (expected[1:-1, 1:-1] > 20)
    assert inner.sum() > 100
    error = np.abs(found - expected)[1:-1, 1:-1][inner]
    assert np.quantile(error, 0.99) < 0.2 and np.isclose(found.sum(), expected.sum(), rtol=0.002)


@pytest.mark.parametrize("renderer", RENDERERS, ids=lambda r: r.name)
@pytest.mark.parametrize("voxel_mm", [1.0, 2.0, 5.0])
def test_100_mm_of_water_at_60_kev_let_through_what_the_tables_say(renderer: Renderer, voxel_mm: float) -> None:
    hu = np.zeros((16, round(100 / voxel_mm), 16))  # along the beam; the ray needs no width
    specimen = make_specimen("slab", hu, affine(hu.shape, voxel_mm), {"slab": hu == 0}, ["slab"])
    camera = view(CArmPose(), (1, 1))
    projection = render(renderer, specimen, camera)
    water = [area_density("water", path, total) for path, total in zip(projection.path_length, projection.hu_integral, strict=True)]
    found = transmission(water, ["water"] * len(water), 60.0)[0, 0]
    assert np.isclose(found, np.exp(-2.059), rtol=1e-3)


@pytest.mark.parametrize("renderer", RENDERERS, ids=lambda r: r.name)
@pytest.mark.parametrize("pose", VIEWS)
def test_projected_masks_are_the_silhouettes(
    renderer: Renderer, pose: CArmPose, ball: tuple[Specimen, np.ndarray, float], box: tuple[Specimen, np.ndarray]
) -> None:
    camera = view(pose)
    specimen, center, radius = ball
    mask = render(renderer, specimen, camera).label_bits == 1
    distance, voxel = ray_distance(camera, center), np.linalg.norm(specimen.spacing_mm) / 2  # centre to corner
    assert mask[distance < radius - voxel].all() and not mask[distance > radius + voxel].any()

    specimen, limits = box
    mask = render(renderer, specimen, camera).label_bits == 1
    half = specimen.spacing_mm / 2  # a ray may pass the corner of the box between two planes
    inner = box_chord(camera, OBLIQUE, limits + np.array([half, -half]))
    outer = box_chord(camera, OBLIQUE, limits + np.array([-half, half]) * 1e-3)
    assert mask[inner > 0].all() and not mask[outer == 0].any()


@pytest.mark.parametrize("pose", VIEWS)
def test_a_landmark_falls_on_the_centroid_of_its_ball(pose: CArmPose) -> None:
    from phantoms import ball_fraction

    shape, center = (40, 40, 40), np.array([21.3, -12.1, 8.4])
    matrix = affine(shape, (1.5, 1.6, 1.7), OBLIQUE)
    hu = -1000 + 1000 * ball_fraction(shape, matrix, center, 6.0)
    specimen = make_specimen("marker", hu, matrix, {"m": hu > -500}, ["m"], {"centre": center})
    camera = view(pose, (360, 360))
    weight = water_mm(render(make_renderer(), specimen, camera))
    rows, columns = np.indices(weight.shape)
    centroid = [(columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()]
    pixel, inside = camera.project(specimen.landmark_array(["centre"]))
    assert inside.all()
    assert np.abs(pixel[0] - centroid).max() < 0.05


def rough_specimen(structures: int = 2) -> Specimen:
    rng = np.random.default_rng(5)
    coarse = rng.uniform(-1500, 3200, (9, 11, 10))
    hu = np.kron(coarse, np.ones((4, 4, 4)))
    masks = {f"s{n}": rng.uniform(size=coarse.shape) > 0.9 for n in range(structures)}
    masks = {name: np.kron(mask, np.ones((4, 4, 4), bool)) for name, mask in masks.items()}
    return make_specimen("rough", hu, affine(hu.shape, (2.0, 2.2, 2.6), OBLIQUE), masks, list(masks))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("pose", VIEWS)
@pytest.mark.parametrize("structures", [2, 20])
def test_the_kernel_agrees_with_the_oracle(variant: str, pose: CArmPose, structures: int) -> None:
    check_against_the_oracle(CpuRenderer(variant=variant), rough_specimen(structures), view(pose, (61, 77)))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("pose", VIEWS)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_the_kernel_agrees_with_the_oracle_at_any_pixel_size(variant: str, pose: CArmPose, spacing: float) -> None:
    camera = CArm(39, 53, spacing, 1020).camera(pose.world_to_camera(np.array([7.0, -5.0, 3.0])))
    check_against_the_oracle(CpuRenderer(variant=variant), rough_specimen(), camera)


def check_against_the_oracle(renderer: Renderer, specimen: Specimen, camera: Camera) -> None:
    expected, found = (render(r, specimen, camera) for r in (ReferenceRenderer(), renderer))
    total = np.sqrt((water_mm(expected) ** 2).mean())
    assert np.sqrt(((water_mm(found) - water_mm(expected)) ** 2).mean()) < 2e-3 * total
    for name in ("path_length", "hu_integral"):
        a, b = getattr(found, name), getattr(expected, name)
        assert np.sqrt(((a - b) ** 2).mean()) < 0.01 * np.sqrt((b**2).mean()), name
    assert found.label_bits.dtype == (np.uint16 if len(specimen.structures) <= 16 else np.uint32)
    assert (found.label_bits != expected.label_bits).mean() < 0.02


@pytest.mark.parametrize("variant", VARIANTS)
def test_all_variants_give_the_same_classes_up_to_rounding(variant: str) -> None:
    specimen, camera = rough_specimen(), view(VIEWS[1])
    one, two = (render(CpuRenderer(variant=name), specimen, camera) for name in (variant, "joseph-4"))
    assert np.abs(water_mm(one) - water_mm(two)).max() < 0.002 * water_mm(one).max()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_ct_smaller_than_a_patch_renders(variant: str) -> None:
    hu = np.zeros((2, 3, 1))
    specimen = make_specimen("grain", hu, affine(hu.shape, 2.0, OBLIQUE), {"grain": hu == 0}, ["grain"])
    check_against_the_oracle(CpuRenderer(variant=variant), specimen, CArm(40, 40, 0.2, 1020).camera(VIEWS[1].world_to_camera(np.zeros(3))))


def test_threads_do_not_change_a_byte() -> None:
    specimen, camera = rough_specimen(), view(VIEWS[1])
    one, three = (render(CpuRenderer(threads=threads), specimen, camera) for threads in (1, 3))
    assert all(getattr(one, n).tobytes() == getattr(three, n).tobytes() for n in ("path_length", "hu_integral", "label_bits"))


def test_flipped_and_permuted_cts_give_the_same_picture(box: tuple[Specimen, np.ndarray]) -> None:
    specimen, camera = rough_specimen(), view(VIEWS[1])
    expected = render(make_renderer(), specimen, camera)
    for axes, flips in (((0, 1, 2), (1,)), ((0, 1, 2), (0, 2)), ((2, 0, 1), ()), ((1, 0, 2), (2,))):
        hu, labels, matrix = specimen.hu, specimen.labels, specimen.ijk_to_ras.copy()
        for axis in flips:  # array axis k, j, i = matrix column 2, 1, 0
            hu, labels = np.flip(hu, axis), np.flip(labels, axis)
            matrix[:3, 3] += matrix[:3, 2 - axis] * (hu.shape[axis] - 1)
            matrix[:3, 2 - axis] *= -1
        hu, labels = hu.transpose(axes), labels.transpose(axes)
        matrix[:3, :3] = matrix[:3, [2 - axes[2 - column] for column in range(3)]]
        turned = replace(specimen, hu=np.ascontiguousarray(hu), labels=np.ascontiguousarray(labels), ijk_to_ras=matrix)
        found = render(make_renderer(), turned, camera)
        assert np.abs(water_mm(found) - water_mm(expected)).max() < 1e-3 * water_mm(expected).max()
        assert (found.label_bits != expected.label_bits).mean() < 0.005


def test_a_region_is_a_cut_out_of_the_whole() -> None:
    specimen, camera = rough_specimen(), view(VIEWS[1])
    whole, part = (render(ReferenceRenderer(), specimen, c) for c in (camera, camera.region(20, 30, (40, 50))))
    assert np.allclose(part.hu_integral, whole.hu_integral[:, 20:60, 30:80], atol=1e-2)


def test_source_or_detector_inside_the_ct_end_the_ray() -> None:
    hu = np.zeros((60, 60, 60))
    specimen = make_specimen("cube", hu, affine(hu.shape, 2.0), {"cube": hu == 0}, ["cube"])
    for pose, expected in ((CArmPose(source_to_isocenter_mm=10.0), 60 + 10), (CArmPose(source_to_isocenter_mm=1000.0), 60 + 20)):
        camera = view(pose, (1, 1))
        for renderer in RENDERERS:
            assert abs(water_mm(render(renderer, specimen, camera))[0, 0] - expected) <= 2.0  # one plane


def test_a_view_beside_the_ct_is_empty() -> None:
    specimen = rough_specimen()
    camera = load_device("cios-fusion").camera(CArmPose(translation_lr_mm=2000).world_to_camera(np.zeros(3)), shape=(20, 20))
    for renderer in RENDERERS:
        projection = render(renderer, specimen, camera)
        assert not projection.path_length.any() and not projection.label_bits.any()


@pytest.mark.parametrize("renderer", RENDERERS[:2], ids=lambda r: r.name)
def test_a_cancelled_render_gives_nothing(renderer: Renderer) -> None:
    assert renderer.render(Scene(rough_specimen()), view(VIEWS[0]), cancelled=lambda: True) is None


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no interval timer")
def test_interrupts_at_any_moment_do_no_harm() -> None:
    # In a process of its own: what this is about corrupts the memory.
    script = """
import os, random, signal, numpy as np
from SyntheXLib.rendering.cpu import CpuRenderer
from SyntheXLib.scene.c_arm import Camera
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import make_specimen
hu = np.random.default_rng(0).integers(-1000, 900, (40, 40, 40)).astype(float)
scene = Scene(make_specimen("noise", hu, np.diag([4.0, 4, 4, 1]), {"bone": hu > 300}, ["bone"]))
to_camera = np.array([[-1.0, 0, 0, 78], [0, 0, -1, 78], [0, -1, 0, 778], [0, 0, 0, 1]])
camera = Camera(to_camera, np.array([[500.0, 0, 47.5], [0, 500, 47.5], [0, 0, 1]]), (96, 96), 1000.0)
expected = CpuRenderer(threads=4).render(scene, camera).path_length
signal.signal(signal.SIGALRM, signal.default_int_handler)
interrupted = 0
for _ in range(60):
    renderer = CpuRenderer(threads=4)
    renderer.render(scene, camera)
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0005, 0.004))
        for _ in range(20):
            renderer.render(scene, camera)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        interrupted += 1
    junk = [np.zeros(1000) for _ in range(50)]
assert interrupted > 20, interrupted
assert np.array_equal(CpuRenderer(threads=4).render(scene, camera).path_length, expected)
os._exit(0)  # without waiting for threads that an interrupt may have left waiting
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=False)
    assert found.returncode == 0, found.stderr[-500:]


def test_an_unknown_renderer_is_told() -> None:
    with pytest.raises(SyntheXError, match=r"Unknown renderer 'gpu'"):
        make_renderer("gpu")


@pytest.mark.parametrize("renderer", RENDERERS, ids=lambda r: r.name)
@pytest.mark.parametrize("pose", VIEWS)
def test_label_paths_are_chords(renderer: Renderer, pose: CArmPose, ball: tuple[Specimen, np.ndarray, float]) -> None:
    specimen, center, radius = ball
    camera = view(pose)
    projection = renderer.render(Scene(specimen), camera, label_paths=True)
    assert projection is not None and projection.label_path is not None and projection.label_path.shape == (1, *camera.shape)
    expected = 2 * np.sqrt(np.maximum(radius**2 - ray_distance(camera, center) ** 2, 0))
    assert np.isclose(projection.label_path.sum(), expected.sum(), rtol=0.01)
    assert np.abs(projection.label_path[0] - expected)[expected > radius].mean() < np.linalg.norm(specimen.spacing_mm) / 2
    assert np.array_equal(projection.label_path[0] > 0, projection.label_bits == 1)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("pose", VIEWS)
@pytest.mark.parametrize("structures", [2, 20, 32])
def test_label_paths_agree_with_the_oracle(variant: str, pose: CArmPose, structures: int) -> None:
    specimen, camera = rough_specimen(structures), view(pose, (31, 43))
    expected, found = (r.render(Scene(specimen), camera, label_paths=True) for r in (ReferenceRenderer(), CpuRenderer(variant=variant)))
    assert expected is not None and found is not None and expected.label_path is not None and found.label_path is not None
    assert np.sqrt(((found.label_path - expected.label_path) ** 2).mean()) < 0.05 * np.sqrt((expected.label_path**2).mean())
    plain = render(CpuRenderer(variant=variant), specimen, camera)
    assert plain.label_path is None and (plain.label_bits != found.label_bits).mean() < 0.01


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("pose", VIEWS)
def test_a_preview_looks_at_every_second_plane(variant: str, pose: CArmPose, ball: tuple[Specimen, np.ndarray, float]) -> None:
    specimen, camera = ball[0], view(pose)
    expected, found = (r.render(Scene(specimen), camera, plane_step=2) for r in (ReferenceRenderer(), CpuRenderer(variant=variant)))
    assert expected is not None and found is not None
    full = water_mm(render(ReferenceRenderer(), specimen, camera))
    assert np.abs(water_mm(found) - water_mm(expected)).max() < 0.02 * full.max()
    assert np.sqrt(((water_mm(found) - full) ** 2).mean()) < 0.05 * full.max() and np.isclose(water_mm(found).sum(), full.sum(), rtol=0.01)


def test_a_region_is_the_part_of_the_view(ball: tuple[Specimen, np.ndarray, float]) -> None:
    camera = view(VIEWS[1])
    whole, part = (render(CpuRenderer(), ball[0], c) for c in (camera, camera.region(20, 31, (40, 50))))
    assert np.allclose(water_mm(part), water_mm(whole)[20:60, 31:81], atol=1e-2)


def test_many_views_come_in_order_and_stop_when_asked(ball: tuple[Specimen, np.ndarray, float]) -> None:
    renderer, cameras = CpuRenderer(), [view(pose) for pose in VIEWS]
    for camera, projection in zip(cameras, render_views(renderer, Scene(ball[0]), cameras), strict=True):
        assert np.array_equal(projection.hu_integral, render(renderer, ball[0], camera).hu_integral)
    assert not list(render_views(renderer, Scene(ball[0]), cameras, cancelled=lambda: True))
