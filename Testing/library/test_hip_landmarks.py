"""The landmark procedure on shapes whose landmarks are known, and on the sample pelvis."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.bone_surface import BoneField, Frame
from SyntheXLib.scene.case_files import ijk_to_ras, itk_image
from SyntheXLib.scene.hip_landmarks import NAMES, border_distance_mm, derive_hip_landmarks, extremal_point, main, mirror_distances
from SyntheXLib.scene.landmarks import read_markups
from SyntheXLib.scene.sphere import fit_sphere, robust_sphere


def rotation(axis, degrees):
    angle = np.radians(degrees)
    matrix = np.eye(3)
    i, j = [n for n in range(3) if n != axis]
    matrix[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
    return matrix


def cap(centre, radius, count=400, seed=0):
    """Points on a third of a sphere."""
    generator = np.random.default_rng(seed)
    direction = generator.normal(size=(5 * count, 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    return np.asarray(centre) + radius * direction[direction[:, 2] > 0.3][:count]


# Spheres and surfaces -------------------------------------------------------------------------------------------------


def test_the_sphere_through_a_cap_is_exact():
    centre, radius = fit_sphere(cap((-83.0, 142.0, 1270.0), 24.0))
    np.testing.assert_allclose(centre, (-83.0, 142.0, 1270.0), atol=1e-8)
    assert radius == pytest.approx(24.0, abs=1e-8)


def test_a_third_of_strays_does_not_move_the_robust_sphere():
    strays = np.random.default_rng(1).uniform(-60, 60, (200, 3))
    centre, radius = robust_sphere(np.concatenate([cap((5, -3, 8), 24), strays]), (15, 35), 1.5)
    np.testing.assert_allclose(centre, (5, -3, 8), atol=0.1)
    assert radius == pytest.approx(24, abs=0.1)


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.random.default_rng(2).uniform(-60, 60, (300, 3)), cap((0, 0, 0), 50)])
def test_where_there_is_no_head_none_is_made_up(points):
    with pytest.raises(SyntheXError, match="15 to 35 mm"):
        robust_sphere(points, (15, 35), 1.5)


@pytest.mark.parametrize(("spacing", "flip"), [((3, 3, 3), 1), ((1, 1, 3), -1)])
def test_a_ball_of_voxels_has_its_centre_within_a_tenth_of_a_millimetre(spacing, flip):
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(0, 12) @ rotation(2, 20) @ np.diag([spacing[0], flip * spacing[1], spacing[2]])
    matrix[:3, 3] = 40, -70, 900
    shape = tuple(int(90 / s) for s in reversed(spacing))
    k, j, i = np.indices(shape)
    ras = np.stack([i, j, k], axis=-1) @ matrix[:3, :3].T + matrix[:3, 3]
    centre = matrix[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2 + (0.3, -0.2, 0.4)) + matrix[:3, 3]
    labels = np.where(np.linalg.norm(ras - centre, axis=-1) <= 24, 75, 0).astype(np.uint8)
    labels[0, 0, 0] = 75  # a stray voxel
    found, radius = fit_sphere(BoneField(labels, matrix, 75).surface())
    np.testing.assert_allclose(found, centre, atol=0.1)
    assert radius == pytest.approx(24, abs=0.3)


def test_a_frame_goes_there_and_back():
    frame = Frame(np.array([1.0, 2.0, 3.0]), rotation(1, 30) @ rotation(2, 10))
    points = np.random.default_rng(3).normal(size=(10, 3))
    np.testing.assert_allclose(frame.to_ras(frame.to_frame(points)), points, atol=1e-12)
    np.testing.assert_allclose(frame.to_frame(frame.origin + frame.axes[2]), (0, 0, 1), atol=1e-12)


def test_the_extremal_point_of_a_flat_end_is_its_middle():
    x, y = np.meshgrid(np.arange(-5.0, 6.0), np.arange(-3.0, 4.0))
    plate = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    block = np.concatenate([plate - (0, 0, 10), plate])
    np.testing.assert_allclose(extremal_point(block, np.array([0.0, 0.0, 1.0])), (0, 0, 0))


def test_the_distance_to_the_border_is_measured_from_the_voxels_faces():
    matrix = np.diag([2.0, 3.0, 4.0, 1.0])
    assert border_distance_mm(np.array([10.0, 15.0, 0.0]), (20, 20, 20), matrix) == pytest.approx(2.0)
    assert border_distance_mm(np.array([38.0, 30.0, 40.0]), (20, 20, 20), matrix) == pytest.approx(1.0)


# A pelvis of boxes ----------------------------------------------------------------------------------------------------
# Its right half in mm (right, anterior, superior) from the middle of the femoral heads; the left is its mirror image.

EXPECTED = {  # None: any
    "FH": (85, 0, 0),
    "ASIS": (96, 60, 80),
    "GSN": (None, -40, 69),
    "MOF": (25, None, -40),
    "IOF": (42, None, -55),
    "SPS": (3, 60, -10),
    "IPS": (3, 35, -60),
}


STRAIGHT = np.eye(3)


def inside(points, low, high):
    return np.all((points >= low) & (points <= high), axis=-1)


def pelvis(turn=STRAIGHT, grid=STRAIGHT, shape=(90, 96, 104), spacing=2.5, origin=(-130.0, -110.0, -80.0)):
    """Label map and matrix of the box pelvis, the body turned by `turn`, on a grid whose axes are the columns of `grid`."""
    matrix = np.eye(4)
    matrix[:3, :3] = grid * spacing
    middle = np.array(origin) + spacing * (np.array(shape[::-1]) - 1) / 2
    matrix[:3, 3] = middle - matrix[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    k, j, i = np.indices(shape)
    patient = (np.stack([i, j, k], axis=-1) @ matrix[:3, :3].T + matrix[:3, 3]) @ turn
    labels = np.zeros(shape, np.uint8)
    for sign, hip, femur in ((-1, 77, 75), (1, 78, 76)):
        p = patient * (sign, 1, 1)
        wing = inside(p, (88, -90, 70), (104, 60, 140)) | inside(p, (88, -40, 60), (104, 60, 70))
        wing &= p[..., 1] <= 60 - 0.5 * np.abs(p[..., 2] - 80)
        joint = inside(p, (60, -40, -25), (104, 50, 65)) & (np.linalg.norm(p - (85, 0, 0), axis=-1) > 27)
        ischium = inside(p, (60, -40, -70), (85, -15, 0))
        body = inside(p, (3, 35, -60), (40, 60, -10)) & (p[..., 0] <= 25 + 0.3 * np.abs(p[..., 2] + 40))
        lower = inside(p, (20, -40, -70), (85, 60, -45)) & (p[..., 2] <= -55 + 0.3 * np.abs(p[..., 0] - 42))
        pubis = body | lower | inside(p, (3, 35, -25), (75, 60, -10))
        labels[wing | joint | ischium | pubis] = hip
        shaft = inside(p, (85, -12, -75), (109, 12, 0)) & (np.linalg.norm(p - (85, 0, 0), axis=-1) > 20)
        labels[(np.linalg.norm(p - (85, 0, 0), axis=-1) <= 24) | (shaft & (labels == 0))] = femur
    return labels, matrix


def check(found, turn=STRAIGHT, tolerance=4.0):  # voxels of 2.5 mm; smoothing rounds the corners of the boxes
    for name, expected in EXPECTED.items():
        for side, sign in (("l", -1), ("r", 1)):
            point = found.points[f"{name}-{side}"] @ turn * (sign, 1, 1)
            for axis, value in enumerate(expected):
                limit = 0.5 if name == "FH" else tolerance
                assert value is None or abs(point[axis] - value) <= limit, f"{name}-{side}: {point.round(1)}, expected {expected}"


@pytest.fixture(scope="module")
def straight():
    labels, matrix = pelvis()
    return derive_hip_landmarks(labels, matrix)


def test_the_landmarks_of_the_box_pelvis_are_where_it_was_built_to_have_them(straight):
    check(straight)
    assert list(straight.points) == [f"{name}-{side}" for name in NAMES for side in "lr"]
    assert straight.notes == {}
    assert straight.head_radius_mm == pytest.approx({"l": 24, "r": 24}, abs=0.5)
    assert max(mirror_distances(straight).values()) <= 2.5


def test_an_oblique_mirrored_grid_gives_the_same_points():
    grid = rotation(0, 15) @ rotation(1, -10) @ rotation(2, 20) @ np.diag([-1, 1, -1])
    labels, matrix = pelvis(grid=grid, shape=(120, 120, 128))
    check(derive_hip_landmarks(labels, matrix))


def test_the_order_and_direction_of_the_arrays_axes_do_not_matter(straight):
    labels, matrix = pelvis()
    turned = np.zeros((4, 4))
    turned[3, 3] = 1
    # New axes (i, j, k) = old (k, -i, j).
    turned[:3, 0], turned[:3, 1], turned[:3, 2] = matrix[:3, 2], -matrix[:3, 0], matrix[:3, 1]
    turned[:3, 3] = matrix[:3, 3] + matrix[:3, 0] * (labels.shape[2] - 1)
    found = derive_hip_landmarks(labels[:, :, ::-1].transpose(1, 2, 0), turned)
    for name, point in straight.points.items():
        np.testing.assert_allclose(found.points[name], point, atol=0.1, err_msg=name)


@pytest.mark.parametrize(("axis", "degrees"), [(0, 15), (0, -15), (2, 10), (1, 8)])
def test_a_tilted_or_turned_patient_carries_the_landmarks_along(axis, degrees):
    turn = rotation(axis, degrees)
    labels, matrix = pelvis(turn=turn, shape=(112, 112, 112), origin=(-140, -135, -110))
    check(derive_hip_landmarks(labels, matrix), turn)


def test_where_the_image_ends_a_landmark_is_unknown_or_has_a_note():
    labels, matrix = pelvis()
    cut = 13  # lower face at -48.75 mm: through the obturator foramina and the symphysis
    matrix[2, 3] += 2.5 * cut
    found = derive_hip_landmarks(labels[cut:], matrix)
    for side, sign in (("l", -1), ("r", 1)):
        assert np.isnan(found.points[f"IOF-{side}"]).all() and "does not hold" in found.notes[f"IOF-{side}"]
        assert "cuts the bone" in found.notes[f"IPS-{side}"]
        np.testing.assert_allclose(found.points[f"IPS-{side}"], (3 * sign, 35, -48), atol=3.5)
        np.testing.assert_allclose(found.points[f"ASIS-{side}"], (96 * sign, 60, 80), atol=3)
        np.testing.assert_allclose(found.points[f"SPS-{side}"], (3 * sign, 60, -10), atol=3)


def test_an_image_that_ends_above_the_pubis_has_neither_symphysis_nor_foramen():
    labels, matrix = pelvis()
    cut = 30  # lower face at -6.25 mm
    matrix[2, 3] += 2.5 * cut
    found = derive_hip_landmarks(labels[cut:], matrix)
    unknown = {name for name, point in found.points.items() if np.isnan(point).any()}
    assert unknown == {f"{name}-{side}" for name in ("SPS", "IPS", "MOF", "IOF") for side in "lr"}
    for side, sign in (("l", -1), ("r", 1)):
        np.testing.assert_allclose(found.points[f"ASIS-{side}"], (96 * sign, 60, 80), atol=3)


def test_a_missing_femur_costs_its_head_only_and_a_missing_hip_bone_is_told():
    labels, matrix = pelvis()
    found = derive_hip_landmarks(np.where(labels == 75, 0, labels), matrix)
    assert np.isnan(found.points["FH-l"]).all() and "75" in found.notes["FH-l"]
    np.testing.assert_allclose(found.points["FH-r"], (85, 0, 0), atol=0.5)
    np.testing.assert_allclose(found.points["ASIS-l"], (-96, 60, 80), atol=3)
    with pytest.raises(SyntheXError, match="77"):
        derive_hip_landmarks(np.where(labels == 77, 0, labels), matrix)


def test_the_command_writes_the_file_and_refuses_a_ct_of_another_grid(tmp_path, capsys, straight):
    labels, matrix = pelvis()
    image = itk_image(labels, matrix)
    np.testing.assert_allclose(ijk_to_ras(image), matrix, atol=1e-9)
    sitk.WriteImage(image, str(tmp_path / "labels.nii.gz"))
    sitk.WriteImage(sitk.Cast(image, sitk.sitkInt16), str(tmp_path / "ct.nii.gz"))
    sitk.WriteImage(sitk.Cast(image[:, :, 1:], sitk.sitkInt16), str(tmp_path / "short.nii.gz"))
    out = tmp_path / "hip.mrk.json"
    assert main([str(tmp_path / "short.nii.gz"), str(tmp_path / "labels.nii.gz"), str(out)]) == 2
    assert "the grid of" in capsys.readouterr().err and not out.exists()
    assert main([str(tmp_path / "ct.nii.gz"), str(tmp_path / "labels.nii.gz"), str(out)]) == 0
    for name, point in read_markups(out).items():
        np.testing.assert_allclose(point, straight.points[name], atol=0.01)


@pytest.mark.slow
def test_the_shipped_landmarks_of_the_sample_pelvis_come_out_again(tmp_path):
    from SyntheXLib.datasets.sample import SAMPLES, sample_folder

    pelvis_files = [sample_folder() / "pelvis" / name for name in ("ct.nii.gz", "labels.nii.gz")]
    if not all(path.exists() for path in pelvis_files):
        pytest.skip("the sample pelvis is not in the cache: synthex sample pelvis")
    out = tmp_path / "pelvis.mrk.json"
    pictures = tmp_path / "pictures"
    pytest.importorskip("matplotlib")
    assert main([*map(str, pelvis_files), str(out), "--pictures", str(pictures)]) == 0
    shipped = SAMPLES["pelvis"].landmarks
    for name, point in read_markups(shipped).items():
        np.testing.assert_allclose(read_markups(out)[name], point, atol=0.05)
    descriptions = [
        [p["description"] for p in json.loads(path.read_text(encoding="utf-8"))["markups"][0]["controlPoints"]] for path in (out, shipped)
    ]
    assert descriptions[0] == descriptions[1]
    assert all((pictures / name).stat().st_size < 200_000 for name in ("landmarks_bones.png", "landmarks_ct.png"))
