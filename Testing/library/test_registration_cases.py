"""Registration of a case from file to file: bones on their own, synthex register and match."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from SyntheXLib.cli import main
from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.registration.attenuation import BoneCaster
from SyntheXLib.registration.bones import movable_structures, register_bones
from SyntheXLib.registration.estimate import Estimate
from SyntheXLib.registration.intensity import Registration
from SyntheXLib.registration.motion import MotionSpace, angle_deg
from SyntheXLib.registration.pose_file import FORMAT, camera_of, pose_record, read_pose, write_pose
from SyntheXLib.registration.similarity import GradientSimilarity
from SyntheXLib.registration.views import View
from SyntheXLib.scene.c_arm import CArm, task_camera
from SyntheXLib.scene.case_files import CaseFiles, load_specimen
from SyntheXLib.scene.given_views import read_views
from SyntheXLib.scene.moved_structures import move_structures
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.simulation.twins import in_frame
from SyntheXLib.tasks.task import load_task


def test_a_femur_that_turned_is_found(hip_phantom: CaseFiles) -> None:
    task = load_task("hip")
    specimen = load_specimen(hip_phantom, task)
    assert movable_structures(task, specimen) == ("left_femur", "right_femur")
    camera = task_camera(task.c_arm, CArmPose(10, 5, 0, 60, 30).world_to_camera(np.zeros(3)), 240)
    head = specimen.landmarks["FH-l"]
    turn = MotionSpace(head, camera.world_to_camera).motion(np.array([3.0, 2.0, 6.0, 6.0, -5.0, 0.2]))
    moved = move_structures(specimen, {"left_femur": turn}, task)
    np.testing.assert_allclose(moved.landmarks["FH-l"], turn[:3, :3] @ head + turn[:3, 3])
    np.testing.assert_allclose(moved.landmarks["FH-r"], specimen.landmarks["FH-r"])
    view = View(BoneCaster(moved).image(camera), camera, np.ones(camera.shape, bool))
    found = register_bones(specimen, [view], ("left_femur",), {"left_femur": head})
    motion = found.bones["left_femur"].motion
    middle = specimen.structure_centroid(["left_femur"])
    seen = camera.project(np.array([turn[:3, :3] @ middle + turn[:3, 3], motion[:3, :3] @ middle + motion[:3, 3], middle]))[0]
    assert np.linalg.norm(seen[1] - seen[0]) < 0.7  # px of 1.2 mm on the detector
    assert np.linalg.norm(seen[2] - seen[0]) > 2.0
    assert angle_deg(np.eye(4), found.fixed.motion) < 0.5


def test_another_detector_with_the_same_source_shows_the_same_rays() -> None:
    pose = CArmPose(5, 5, 5).world_to_camera(np.zeros(3))
    wide, frame = CArm(300, 320, 1.0, 1000.0).camera(pose), CArm(100, 100, 2.0, 900.0).camera(pose)
    # An image that is linear in the tangents of the rays.
    rays = wide.rays()
    shown = in_frame(3 * rays[..., 0] - rays[..., 1], wide, frame, np.nan)
    np.testing.assert_allclose(shown, 3 * frame.rays()[..., 0] - frame.rays()[..., 1], atol=2e-3)
    narrow = in_frame(np.ones((50, 50), np.float32), CArm(50, 50, 2.0, 900.0).camera(pose), frame, -1.0)
    assert narrow[50, 50] == 1 and narrow[0, 0] == -1 and (narrow == 1).mean() == pytest.approx(0.25, abs=0.02)


def test_a_pose_file_is_a_view_to_simulate_with_the_bones_where_they_stood(tmp_path: Path) -> None:
    camera = CArm(100, 100, 2.0, 900.0).camera(CArmPose(5, 5, 5).world_to_camera(np.zeros(3)))
    turn = MotionSpace(np.array([1.0, 2, 3]), camera.world_to_camera).motion(np.array([3.0, 2.0, 6.0, 6.0, -5.0, 0.2]))
    found = Estimate(camera, "as-stored", Registration(np.eye(4), 0.5, 1, 1, 1, np.full(6, np.nan), True, 10), {"left_femur": turn})
    write_pose(tmp_path / "pose.json", pose_record(found, "xray.dcm", "patient"))
    (view,) = read_views(tmp_path / "pose.json")
    assert (view.specimen, view.name, dict(view.structures).keys()) == ("patient", "xray.dcm", {"left_femur"})
    np.testing.assert_allclose(view.world_to_camera, camera.world_to_camera)
    np.testing.assert_allclose(dict(view.structures)["left_femur"], turn)


@pytest.fixture(scope="module")
def xray(hip_phantom: CaseFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one X-ray of the phantom and its landmarks."""
    folder: Path = tmp_path_factory.mktemp("xrays")
    task = load_task("hip")
    specimen = load_specimen(hip_phantom, task)
    camera = task_camera(task.c_arm, CArmPose(8, -6, 4, 5, 3, 10).world_to_camera(np.zeros(3)), 200)
    np.save(folder / "pose.npy", camera.world_to_camera)
    image = sitk.GetImageFromArray(BoneCaster(specimen).image(camera))
    sitk.WriteImage(image, str(folder / "one.nrrd"))
    pixels, _ = camera.project(specimen.landmark_array(["FH-l", "FH-r", "ASIS-l", "ASIS-r"]))
    rows = [f"{name},{x:.2f},{y:.2f}" for name, (x, y) in zip(("FH-l", "FH-r", "ASIS-l", "ASIS-r"), pixels + [2.0, -2.0], strict=True)]
    (folder / "one.csv").write_text("\n".join(["landmark,column,row", *rows]), encoding="utf-8")
    return folder


def test_register_and_match_go_from_files_to_data_sets(xray: Path, hip_phantom: CaseFiles, tmp_path: Path) -> None:
    case = ["--ct", str(hip_phantom.ct), "--labels", str(hip_phantom.labels), "--landmarks-3d", str(hip_phantom.landmarks)]
    out = tmp_path / "matched" / "poses" / "one.json"
    done = main(
        ["register", *case, "--image", str(xray / "one.nrrd"), "--landmarks-2d", str(xray / "one.csv"), "--out", str(out), "--no-bones"]
    )
    assert done == 0
    record, true = read_pose(out), np.load(xray / "pose.npy")
    assert record["format"] == FORMAT and record["trusted"] and record["bone"] == "bright"
    assert sorted(record["landmarks"]) == ["ASIS-l", "ASIS-r", "FH-l", "FH-r"]
    assert camera_of(record).shape == (200, 200)
    found = np.array(record["world_to_camera"])
    assert angle_deg(found, true) < 0.5 and np.abs(found[:2, 3] - true[:2, 3]).max() < 1.0
    assert out.with_name("one_overlay.png").is_file() and out.with_name("one_checkerboard.png").is_file()

    images = tmp_path / "images"
    images.mkdir()
    (images / "one.nrrd").write_bytes((xray / "one.nrrd").read_bytes())
    assert main(["match", *case, "--images", str(images), "--out", str(tmp_path / "matched"), "--image-size", "96"]) == 0
    sets = {level: XrayDataset(tmp_path / "matched" / level)[0] for level in ("real", "naive", "heuristic", "realistic")}
    for sample in sets.values():
        np.testing.assert_array_equal(sample.mask, sets["real"].mask)
        np.testing.assert_allclose(sample.world_to_camera, found)
        assert sample.image.shape == (96, 96) and 0 < sample.image.min() < sample.image.max() < 2
    # The twins show the same bones in the same places as the real image.
    real = GradientSimilarity(-np.log(sets["real"].image), patch=16)
    assert real(-np.log(sets["naive"].image)) > 0.5


def test_wrong_input_is_told(xray: Path, hip_phantom: CaseFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = ["register", "--ct", str(hip_phantom.ct), "--labels", str(hip_phantom.labels), "--out", str(tmp_path / "pose.json")]
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps({"intrinsics": [1, 2]}), encoding="utf-8")
    for more, told in (
        (["--image", str(xray / "one.nrrd"), "--intrinsics", str(bad)], "expected JSON with 'intrinsics'"),
        (["--image", str(xray / "one.nrrd"), "--dicom"], "Distance Source to Detector"),
        (["--image", str(xray / "none.png")], "does not exist"),
        (["--image", str(xray / "one.nrrd"), "--orientation", "sideways"], "Unknown orientation"),
        (["--image", str(xray / "one.nrrd"), "--landmarks-2d", str(bad)], "landmark, column and row"),
    ):
        assert main([*case, *more]) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "pose.json").exists()
    with pytest.raises(SyntheXError, match="expected a pose file"):
        read_pose(bad)


def test_bone_casters_see_what_they_are_told(hip_phantom: CaseFiles) -> None:
    task = load_task("hip")
    specimen = load_specimen(hip_phantom, task)
    camera = task_camera(task.c_arm, CArmPose().world_to_camera(np.zeros(3)), 96)
    both = BoneCaster(specimen, ["left_femur", "right_femur"]).image(camera)
    rest = BoneCaster(specimen, without=["left_femur", "right_femur"]).image(camera)
    np.testing.assert_allclose(both + rest, BoneCaster(specimen).image(camera), atol=2.0)
    assert both.max() > 10 and rest.max() > 10
    with pytest.raises(SyntheXError, match="not among"):
        BoneCaster(specimen, ["skull"])
    with pytest.raises(SyntheXError, match="above 150 HU"):
        BoneCaster(replace(specimen, hu=np.zeros_like(specimen.hu)))
