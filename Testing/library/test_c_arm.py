import numpy as np
import pytest

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.c_arm import load_device, task_camera
from SyntheXLib.scene.poses import CArmPose, sample_pose
from SyntheXLib.tasks.task import load_task

CIOS = load_device("cios-fusion")


def test_the_standard_view_shows_the_patient_as_one_faces_him() -> None:
    camera = CIOS.camera(CArmPose().world_to_camera(np.zeros(3)))
    points = np.array([[0, 0, 0], [-50, 0, 0], [0, 0, 50], [0, 50, 0]], float)  # isocentre, patient's left, superior, anterior
    pixels, inside = camera.project(points)
    assert inside.all()
    assert np.allclose(pixels[0], 767.5)
    assert pixels[1, 0] > pixels[0, 0] and np.isclose(pixels[1, 1], 767.5)  # left on the image's right
    assert pixels[2, 1] < pixels[0, 1] and np.isclose(pixels[2, 0], 767.5)  # up
    assert np.allclose(camera.source, [0, 700, 0])  # in front of the patient


def test_magnification_is_exact() -> None:
    camera = CIOS.camera(CArmPose(source_to_isocenter_mm=640.0).world_to_camera(np.zeros(3)))
    pixels, _ = camera.project(np.array([[-10.0, 0, 0], [10.0, 0, 0]]))
    assert np.isclose((pixels[0, 0] - pixels[1, 0]) * 0.194, 20 * 1020 / 640, rtol=1e-12)


def test_positive_angles_move_the_detector_left_and_towards_the_head() -> None:
    for pose, axis, sign in ((CArmPose(lao_rao_deg=20), 0, -1), (CArmPose(cran_caud_deg=20), 2, 1)):
        source = CIOS.camera(pose.world_to_camera(np.zeros(3))).source
        assert np.isclose(np.linalg.norm(source), 700)
        assert np.sign(-source[axis]) == sign  # the detector stands opposite


def test_rotations_come_in_the_documented_order_then_the_shift() -> None:
    pose = CArmPose(lao_rao_deg=90, cran_caud_deg=90, translation_is_mm=7)
    isocenter = np.array([1.0, 2.0, 3.0])
    matrix = pose.world_to_camera(isocenter)
    # A point to the patient's right (+R) turns about S to +A, then about R to +S.
    point = isocenter + [10, 0, 0]
    camera = matrix[:3, :3] @ point + matrix[:3, 3]
    assert np.allclose(camera, [0, -(10 + 7), 700])  # y is down


def test_cropping_and_resizing_keep_the_rays() -> None:
    task = load_task("hip")
    pose = CArmPose(lao_rao_deg=10, roll_deg=5).world_to_camera(np.array([1.0, 2, 3]))
    point = np.array([[20.0, 30, -40]])
    full = CIOS.camera(pose).project(point)[0]
    small = task_camera(task.c_arm, pose).project(point)[0]
    assert np.allclose((small + 0.5) * 1436 / 360 - 0.5 + 50, full)
    assert np.isclose(task_camera(task.c_arm, pose).pixel_spacing_mm[0], 1436 * 0.194 / 360)
    region = CIOS.camera(pose).region(100, 40, (200, 300))
    assert np.allclose(region.project(point)[0], full - [40, 100])


def test_points_behind_the_source_or_unknown_are_nan_and_not_inside() -> None:
    camera = CIOS.camera(CArmPose().world_to_camera(np.zeros(3)))
    pixels, inside = camera.project(np.array([[0, 701.0, 0], [np.nan] * 3, [0, 0, 0]]))
    assert np.isnan(pixels[:2]).all() and not inside[:2].any() and inside[2]


def test_the_outermost_half_pixel_is_inside() -> None:
    camera = CIOS.camera(CArmPose().world_to_camera(np.zeros(3)))
    depth = 1020.0
    for column, expected in ((-0.49, True), (-0.51, False), (1535.49, True), (1535.51, False)):
        x = (column - 767.5) * 0.194
        world = np.linalg.inv(camera.world_to_camera) @ [x, 0, depth, 1]
        assert camera.project(world[:3][None])[1][0] == expected


def test_poses_fill_the_papers_ranges_uniformly() -> None:
    settings = load_task("hip").poses
    poses = [sample_pose(settings, np.random.default_rng(i)) for i in range(2000)]
    for name, limit in (("lao_rao_deg", 45), ("translation_ap_mm", 100), ("translation_is_mm", 20), ("translation_lr_mm", 50)):
        values = np.array([getattr(pose, name) for pose in poses])
        assert np.abs(values).max() <= limit and np.abs(values).max() > 0.98 * limit
        assert abs(values.mean()) < 4 * limit / np.sqrt(3 * 2000)  # four standard errors
        assert np.isclose(values.std(), limit / np.sqrt(3), rtol=0.06)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("cios-fusoin", "did you mean 'cios-fusion'"), ("10x0,1,1", "columns must be above 0"), ("a,b,c", "Unknown device")],
)
def test_a_wrong_device_is_told(name: str, expected: str) -> None:
    with pytest.raises(SyntheXError, match=expected):
        load_device(name)


def test_a_generic_device_from_numbers() -> None:
    device = load_device("1024x768,0.3,1100")
    assert (device.rows, device.columns, device.pixel_spacing_mm, device.source_to_detector_mm) == (1024, 768, 0.3, 1100)


def test_a_scaled_or_sheared_pose_is_refused() -> None:
    sheared = np.eye(4)
    sheared[0, 1] = 0.1
    for matrix in (np.diag([2.0, 2, 2, 1]), sheared):
        with pytest.raises(SyntheXError, match="rigid"):
            CIOS.camera(matrix)


def test_a_mirrored_pose_gives_the_picture_seen_from_the_detector() -> None:
    pose = CArmPose(20, -10, 5, source_to_isocenter_mm=700).world_to_camera(np.zeros(3))
    seen, mirrored = (CIOS.camera(matrix, shape=(64, 64)) for matrix in (pose, np.diag([-1.0, 1, 1, 1]) @ pose))
    points = np.array([[10.0, 40, -30], [-60, 5, 20]])
    (pixels, _), (other, inside) = seen.project(points), mirrored.project(points)
    assert np.allclose(other, [63, 0] + pixels * [-1, 1]) and inside.all() and np.allclose(seen.source, mirrored.source)
