"""Principal point and distance that are not known: exact where the landmarks are, held by the prior where they are not."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from test_registration import asymmetric_bone, camera, cloud

from SyntheXLib.errors import SyntheXError
from SyntheXLib.registration.attenuation import BoneCaster
from SyntheXLib.registration.geometry import OpenGeometry, camera_from_landmarks, changed_camera, refine_geometry
from SyntheXLib.registration.intensity import Uncertainty, register
from SyntheXLib.registration.intrinsics import dicom_camera, read_intrinsics
from SyntheXLib.registration.motion import angle_deg
from SyntheXLib.registration.pnp import pose_from_landmarks
from SyntheXLib.registration.views import View
from SyntheXLib.scene.c_arm import Camera, CArm

CENTER = np.array([4.0, -6.0, 10.0])


def test_another_principal_point_turns_the_camera_about_its_source() -> None:
    view = camera()
    other = changed_camera(view, CENTER, np.array([12.0, -9.0, 0.0]))
    np.testing.assert_allclose(other.project(CENTER[None])[0], view.project(CENTER[None])[0], atol=1e-9)
    np.testing.assert_allclose(other.source, view.source, atol=1e-9)
    np.testing.assert_allclose((other.intrinsics - view.intrinsics)[:2, 2], [12 / 1.5, -9 / 1.5])
    # A shift of 15 mm on a detector at 1000 mm: the middle of the image turns by atan(15 / 1000).
    assert angle_deg(other.world_to_camera, view.world_to_camera) == pytest.approx(np.degrees(np.arctan(0.015)), rel=0.02)
    # What an image can tell of it is the keystone alone, d u^2 / f^2.
    points = cloud(200)
    off = np.linalg.norm(other.project(points)[0] - view.project(points)[0], axis=1) * 1.5
    assert 0.0 < off.max() < 15 * 200**2 / 1000**2


def test_another_distance_keeps_the_magnification_of_the_centre() -> None:
    view = camera()
    other = changed_camera(view, CENTER, np.array([0.0, 0.0, np.log(1.1)]))
    assert other.source_to_detector_mm == pytest.approx(1100) and other.pixel_spacing_mm == pytest.approx(view.pixel_spacing_mm)
    np.testing.assert_allclose(other.project(CENTER[None])[0], view.project(CENTER[None])[0], atol=1e-9)
    depth, far = (np.linalg.norm(one.world_to_camera[:3, :3] @ CENTER + one.world_to_camera[:3, 3]) for one in (view, other))
    assert far / depth == pytest.approx(1.1)
    across = CENTER + 1e-3 * view.world_to_camera[0, :3]
    first, second = ((one.project(across[None])[0] - one.project(CENTER[None])[0])[0, 0] for one in (view, other))
    assert second == pytest.approx(first, rel=1e-3)


@pytest.mark.parametrize("geometry", [OpenGeometry(1000, 0), OpenGeometry(0, 1), OpenGeometry(1000, 1)])
def test_exact_landmarks_give_pose_and_geometry_exactly(geometry: OpenGeometry) -> None:
    true, change = camera(), np.array([14.0, -11.0, np.log(1.07)]) * (geometry.deviations > 0)
    points = cloud(12)
    pixels = true.project(points)[0]
    pixels[3] = [5.0, 180.0]  # one is wrong
    assumed = changed_camera(true, points.mean(0), -change)
    found = camera_from_landmarks(points, pixels, assumed, geometry, tolerance_mm=8, noise_mm=0.001)
    assert not found.inliers[3] and found.inliers.sum() == 11
    np.testing.assert_allclose(found.camera.intrinsics, true.intrinsics, atol=2e-2)
    np.testing.assert_allclose(found.camera.world_to_camera, true.world_to_camera, atol=2e-2)
    np.testing.assert_allclose(found.change, change, atol=2e-2)
    # Without it the pose takes the error: 17.8 mm on 1000 mm are 1.0 degree, and 7 % of the distance 7 % of the depth.
    blind = pose_from_landmarks(points, pixels, assumed.intrinsics, 8 / 1.5).world_to_camera
    assert angle_deg(blind, true.world_to_camera) > 0.3 or np.abs(blind - true.world_to_camera)[2, 3] > 20


def test_the_deviation_is_that_of_repeated_measurements_and_the_prior_holds_the_rest() -> None:
    rng, view, points, noise = np.random.default_rng(0), camera(), cloud(8), 0.2
    seen = [view.project(points)[0] + rng.normal(0, noise / 1.5, (8, 2)) for _ in range(30)]
    wide = [camera_from_landmarks(points, pixels, view, OpenGeometry(1000), noise_mm=noise) for pixels in seen]
    narrow = [camera_from_landmarks(points, pixels, view, OpenGeometry(1.0), noise_mm=noise) for pixels in seen[:5]]
    spread = np.std([one.change for one in wide], 0)[:2]
    np.testing.assert_allclose(spread, np.mean([one.deviation for one in wide], 0)[:2], rtol=0.35)
    # A fifth of a millimetre in the landmarks is several in the principal point: this is what cannot be known.
    assert (spread > 10 * noise).all()
    assert np.abs([one.change for one in narrow]).max() < 3 and max(one.deviation.max() for one in narrow) <= 1.0


def test_an_image_gives_the_principal_point_where_perspective_is_strong() -> None:
    specimen, change = asymmetric_bone(), np.array([14.0, -11.0, 0.0])
    caster = BoneCaster(specimen)
    pose = camera().world_to_camera.copy()
    pose[2, 3] = 260.0  # near the source, so that the bone's depth counts
    true = CArm(rows=192, columns=192, pixel_spacing_mm=1.5, source_to_detector_mm=400.0).camera(pose)
    view = View(caster.image(true), changed_camera(true, caster.center, -change), np.ones(true.shape, bool))
    first = register(caster, [view], None, None, Uncertainty(3, 5, 10), 1, most_starts=1)
    found = refine_geometry(caster, view.moved(first.motion), OpenGeometry(15))
    assert found.similarity > found.before + 0.002
    left = found.change - change
    assert np.abs(left[:2]).max() < 2.5 and left[2] == 0
    before, after = (angle_deg(one.world_to_camera, true.world_to_camera) for one in (view.moved(first.motion).camera, found.camera))
    assert before > 1.5 and after < 0.4


def test_without_anything_open_there_is_nothing_to_find() -> None:
    for numbers in ((0, 0), (-1, 0.1)):
        with pytest.raises(SyntheXError, match="above 0"):
            OpenGeometry(*numbers)


def test_a_missing_principal_point_is_taken_to_be_in_the_middle(tmp_path: Path) -> None:
    def read(values: dict) -> Camera:
        path = tmp_path / "camera.json"
        path.write_text(json.dumps(values), encoding="utf-8")
        return read_intrinsics(path, (100, 201))

    found = read({"pixel_spacing_mm": 0.5, "source_to_detector_mm": 1000})
    np.testing.assert_allclose(found.intrinsics, [[2000, 0, 100], [0, 2000, 49.5], [0, 0, 1]])
    found = read({"pixel_spacing_mm": [0.4, 0.5], "source_to_detector_mm": 1000, "principal_point": [90, 40]})
    np.testing.assert_allclose(found.intrinsics, [[2000, 0, 90], [0, 2500, 40], [0, 0, 1]])
    assert found.pixel_spacing_mm == pytest.approx((0.4, 0.5))
    np.testing.assert_allclose(read({"intrinsics": found.intrinsics.tolist(), "source_to_detector_mm": 1000}).intrinsics, found.intrinsics)
    for wrong in ({"pixel_spacing_mm": 0.5}, {"pixel_spacing_mm": 0, "source_to_detector_mm": 9}, {"source_to_detector_mm": 9}, [1]):
        with pytest.raises(SyntheXError, match="expected JSON with 'intrinsics'"):
            read(wrong)

    image = sitk.GetImageFromArray(np.zeros((1, 100, 201), np.uint16))
    image.SetSpacing((0.5, 0.4, 1.0))  # the writer makes Imager Pixel Spacing of it
    for tag, value in (("0018|1110", "1000"), ("0008|0060", "XA")):
        image.SetMetaData(tag, value)
    sitk.WriteImage(image, str(tmp_path / "image.dcm"))
    np.testing.assert_allclose(dicom_camera(tmp_path / "image.dcm", (100, 201)).intrinsics, [[2000, 0, 100], [0, 2500, 49.5], [0, 0, 1]])
