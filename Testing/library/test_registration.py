"""2D/3D registration: pose from landmarks, similarity, motions, fields, and a phantom found again."""

from dataclasses import replace

import numpy as np
import pytest
from phantoms import affine, world_grid
from scipy.spatial.transform import Rotation

from SyntheXLib.errors import SyntheXError
from SyntheXLib.physics.collimator import Collimator
from SyntheXLib.registration.attenuation import BoneCaster
from SyntheXLib.registration.intensity import Uncertainty, register, similarity_at
from SyntheXLib.registration.motion import DEPTH_MM, MotionSpace, angle_deg
from SyntheXLib.registration.orientation import ORIENTATIONS, reoriented, reoriented_pixels
from SyntheXLib.registration.pnp import pose_from_landmarks, three_point_poses
from SyntheXLib.registration.search import cma_es
from SyntheXLib.registration.similarity import GradientSimilarity
from SyntheXLib.registration.views import View, open_view
from SyntheXLib.scene.c_arm import Camera, CArm
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.specimen import Specimen, make_specimen

ARM = CArm(rows=192, columns=192, pixel_spacing_mm=1.5, source_to_detector_mm=1000.0)


def camera(pose: CArmPose | None = None) -> Camera:
    return ARM.camera((pose or CArmPose(20, -15, 10, 5, -8, 30)).world_to_camera(np.zeros(3)))


def cloud(count: int = 14, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-90, 90, (count, 3))


def asymmetric_bone() -> Specimen:
    """Ellipsoids of bone, one hollow, no two alike, in water."""
    shape = (56, 56, 56)
    matrix = affine(shape, 3.0)
    grid = world_grid(shape, matrix)
    hu = np.where((grid**2).sum(-1) < 78**2, 0.0, -1000.0)
    rotation = Rotation.from_euler("xyz", [20, 35, 50], degrees=True).as_matrix()
    for center, axes, value in (
        ((-30, 10, 20), (34, 14, 20), 900),
        ((28, -12, 30), (16, 25, 12), 1100),
        ((5, 22, -35), (12, 14, 32), 800),
        ((30, 20, -20), (9, 9, 9), 1300),
        ((-32, -20, -25), (18, 8, 25), 700),
    ):
        offset = (grid - center) @ rotation
        hu[((offset / axes) ** 2).sum(-1) < 1] = value
        hu[((offset / (np.array(axes) * 0.6)) ** 2).sum(-1) < 1] = 300
    return make_specimen("bone", hu, matrix, {"bone": hu > 250}, ["bone"])


@pytest.mark.parametrize("seed", range(5))
def test_clean_landmarks_give_the_pose_exactly(seed: int) -> None:
    points, view = cloud(4 + seed, seed), camera()
    found = pose_from_landmarks(points, view.project(points)[0], view.intrinsics)
    np.testing.assert_allclose(found.world_to_camera, view.world_to_camera, atol=1e-5)
    assert found.inliers.all() and found.errors_px.max() < 1e-5


@pytest.mark.parametrize("seed", range(5))
def test_a_third_of_the_landmarks_may_be_wrong(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, view = cloud(14, seed), camera()
    pixels = view.project(points)[0]
    wrong = rng.choice(14, 4, replace=False)
    pixels[wrong] += rng.choice([-1, 1], (4, 2)) * rng.uniform(25, 80, (4, 2))
    pixels[rng.choice(np.setdiff1d(np.arange(14), wrong))] = np.nan
    found = pose_from_landmarks(points, pixels, view.intrinsics)
    np.testing.assert_allclose(found.world_to_camera, view.world_to_camera, atol=1e-5)
    assert not found.inliers[wrong].any() and found.inliers.sum() == 9


def test_coplanar_landmarks_serve() -> None:
    points, view = cloud(8) * [1, 1, 0], camera()
    found = pose_from_landmarks(points, view.project(points)[0], view.intrinsics)
    np.testing.assert_allclose(found.world_to_camera, view.world_to_camera, atol=1e-4)


def test_three_points_have_the_true_pose_among_their_four() -> None:
    points, view = cloud(3, 7), camera()
    seen = points @ view.world_to_camera[:3, :3].T + view.world_to_camera[:3, 3]
    poses = three_point_poses(points, seen / np.linalg.norm(seen, axis=1, keepdims=True))
    assert min(np.abs(pose - view.world_to_camera).max() for pose in poses) < 1e-6
    assert 1 <= len(poses) <= 4


def test_too_few_landmarks_are_told() -> None:
    points, view = cloud(5), camera()
    pixels = view.project(points)[0]
    pixels[:2] = np.nan
    with pytest.raises(SyntheXError, match="at least 4"):
        pose_from_landmarks(points, pixels, view.intrinsics)
    with pytest.raises(SyntheXError, match="No pose explains 4"):
        pose_from_landmarks(points, np.random.default_rng(1).uniform(0, 190, (5, 2)), view.intrinsics, 0.5)


def smooth_image(seed: int = 3) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    image = gaussian_filter(np.random.default_rng(seed).normal(size=(96, 100)), 4)
    return (image - image.min()) / np.ptp(image)


@pytest.mark.parametrize("patch", [None, 16])
def test_similarity_does_not_see_a_linear_map_and_turns_its_sign_with_it(patch: int | None) -> None:
    image, other = smooth_image(), smooth_image(4)
    alike = GradientSimilarity(image, None, patch)
    assert alike(image) == pytest.approx(1, abs=2e-3) and alike(-image) == pytest.approx(-1, abs=2e-3)
    assert alike(3 * other + 5) == pytest.approx(alike(other), abs=1e-5)
    assert alike(-0.2 * other + 1) == pytest.approx(-alike(other), abs=1e-5)
    assert GradientSimilarity(-7 * image + 2, None, patch)(other) == pytest.approx(-alike(other), abs=1e-5)
    assert abs(alike(other)) < 0.2


def test_patches_hardly_see_the_logarithm() -> None:
    image = smooth_image()
    signal = np.exp(-4 * image)  # attenuation 0 to 4, bone dark
    whole, patches = (GradientSimilarity(image, None, patch)(signal) for patch in (None, 8))
    assert patches < -0.87
    assert patches < whole - 0.05


def test_what_the_mask_leaves_out_does_not_count() -> None:
    image, other = smooth_image(), smooth_image(4)
    mask = np.ones(image.shape, bool)
    mask[30:60, 20:90] = False
    spoilt = np.where(mask, other, 50 * np.random.default_rng(0).normal(size=image.shape))
    for patch in (None, 16):
        alike = GradientSimilarity(image, mask, patch)
        assert alike(spoilt) == pytest.approx(alike(other), abs=1e-6)


def test_motions_are_six_numbers_and_back() -> None:
    space = MotionSpace(np.array([10.0, -20.0, 30.0]), camera().world_to_camera)
    numbers = np.array([5.0, -7.0, 11.0, 3.0, -4.0, 2.0])
    motion = space.motion(numbers)
    np.testing.assert_allclose(space.numbers(motion), numbers, atol=1e-9)
    assert angle_deg(np.eye(4), motion) == pytest.approx(np.linalg.norm(numbers[:3]))
    np.testing.assert_allclose(space.motion(np.zeros(6)), np.eye(4), atol=1e-12)
    # Depth alone leaves the centre where it is in the image.
    deeper = replace(camera(), world_to_camera=camera().world_to_camera @ space.motion(np.array([0, 0, 0, 0, 0, 4.0])))
    np.testing.assert_allclose(deeper.project(space.center[None])[0], camera().project(space.center[None])[0], atol=1e-9)
    assert (deeper.world_to_camera @ [*space.center, 1])[2] - (camera().world_to_camera @ [*space.center, 1])[2] == pytest.approx(
        4 * DEPTH_MM
    )


def test_cma_es_finds_the_lowest_of_many_valleys() -> None:
    goal = np.array([1.0, -0.5, 0.7])

    def rastrigin(x: np.ndarray) -> float:
        z = 3 * (x - goal)
        return float((z**2 - np.cos(2 * np.pi * z) + 1).sum())

    found = cma_es(rastrigin, np.zeros(3), np.ones(3), 60, 80, 1)
    np.testing.assert_allclose(found.numbers, goal, atol=0.02)


@pytest.mark.parametrize(
    "collimator", [Collimator(width_mm=180, height_mm=220, rotation_deg=12, center_x_mm=10), Collimator(iris_mm=230), None]
)
@pytest.mark.parametrize("as_log", [True, False])
def test_the_border_of_the_collimator_is_found(collimator: Collimator | None, as_log: bool) -> None:
    view = camera()
    anatomy = np.exp(-1.5 - 1.5 * np.pad(smooth_image(), ((48, 48), (46, 46)), mode="reflect"))
    x, y = view.detector_axes_mm()
    opening = np.ones(view.shape) if collimator is None else collimator.opening(x[None], y[:, None], 2.0)
    signal = anatomy * (0.01 + 0.99 * opening)
    noisy = np.random.default_rng(0).poisson(signal * 5000) / 5000
    image = -np.log(np.maximum(noisy, 1e-4)) if as_log else noisy
    mask = open_view(image, view).mask
    inside = opening > 0.5
    assert not (mask & ~inside).any()
    assert (mask & inside).sum() > 0.85 * inside.sum()
    if collimator is None:
        assert mask.all()


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_a_reoriented_view_keeps_its_rays(name: str) -> None:
    intrinsics = camera().intrinsics.copy()
    intrinsics[:2, 2] = [80.0, 101.0]
    image = np.arange(192 * 192, dtype=np.float32).reshape(192, 192)
    view = View(image, replace(camera(), intrinsics=intrinsics), np.ones((192, 192), bool))
    turned = reoriented(view, name)
    row, column = 30, 50
    place = reoriented_pixels(np.array([[column, row]]), view.image.shape, name)[0].astype(int)
    assert turned.image[place[1], place[0]] == view.image[row, column]
    again = reoriented(turned, name)
    np.testing.assert_array_equal(again.image, view.image)
    np.testing.assert_allclose(again.camera.intrinsics, intrinsics)
    distance = np.abs(np.array([column, row]) - intrinsics[:2, 2])
    np.testing.assert_allclose(np.abs(place - turned.camera.intrinsics[:2, 2]), distance)


def test_a_binned_view_projects_to_the_same_places() -> None:
    view = View(np.zeros((192, 192), np.float32), camera(), np.ones((192, 192), bool)).at(64)
    assert view.image.shape == (64, 64)
    np.testing.assert_allclose(3 * view.camera.project(cloud())[0] + 1, camera().project(cloud())[0])


@pytest.mark.parametrize("dark", [False, True])
def test_a_phantom_is_found_again_from_ten_degrees_and_twenty_millimetres(dark: bool) -> None:
    specimen = asymmetric_bone()
    caster = BoneCaster(specimen)
    view = camera()
    attenuation = 0.04 * caster.image(view)
    signal = np.random.default_rng(2).poisson(np.exp(-0.5 - attenuation) * 3000) / 3000
    image = (signal if dark else -np.log(np.maximum(signal, 1e-4))).astype(np.float32)
    space = MotionSpace(np.zeros(3), view.world_to_camera)
    off = space.motion(np.array([6.0, -6.0, 5.3, 14.0, -14.0, 2.0]))
    start = View(image, replace(view, world_to_camera=view.world_to_camera @ off), np.ones(view.shape, bool))
    found = register(caster, [start], np.zeros(3), uncertainty=Uncertainty(8, 15, 20))
    pose = start.moved(found.motion).camera.world_to_camera
    points = cloud()
    error = np.linalg.norm(points @ (pose - view.world_to_camera)[:3, :3].T + (pose - view.world_to_camera)[:3, 3], axis=1)
    assert error.mean() < 2.0 and angle_deg(pose, view.world_to_camera) < 0.5
    assert found.polarity == (-1 if dark else 1) and found.agreeing >= 2
    assert found.similarity == pytest.approx(found.polarity * similarity_at(caster, [start], found.motion), abs=1e-6)
    assert found.similarity > 0.4
