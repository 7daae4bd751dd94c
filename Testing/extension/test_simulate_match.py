"""Real X-rays registered from nodes, whose true pose is known; where the simulated X-ray lies over them; files of the poses."""

import json
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
pytest.importorskip("cmaes", reason="cmaes is not installed")

from match_phantom import DEVICE, LANDMARKS, TRUE, Phantom, make_phantom, place_image

from SyntheXHomeLib.image_nodes import asSequence, browserOf
from SyntheXHomeLib.library_command import LibraryCommand, Progress
from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.predictions import Prediction
from SyntheXLib.registration.motion import angle_deg
from SyntheXLib.registration.orientation import ORIENTATIONS
from SyntheXLib.registration.pose_file import read_pose
from SyntheXLib.registration.similarity import GradientSimilarity
from SyntheXLib.scene.given_views import read_views
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.view_angles import pose_of_camera
from SyntheXLib.tasks.task import load_task
from SyntheXSimulateLib.logic import SyntheXSimulateLogic
from SyntheXSimulateLib.match import Matched, MatchRun, MatchSettings, check
from SyntheXSimulateLib.match_poses import addPose, imageOf, newPoses, poseCount, poseOf, recordOf
from SyntheXSimulateLib.match_view import withMovedBones
from SyntheXSimulateLib.preview import Beam
from SyntheXSimulateLib.real_images import imageCamera, meaningOf, placeOnImage, realFrame, realImages, showsBright, xraysOfScene

HIP = load_task("hip")
OFF = CArmPose(14.0, -10.0, 1.0, 2.0, 2.0, 0.0, 700.0)  # a rough pose


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a run keeps its files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def phantom(scene: Any, slicer_core: ModuleType) -> Phantom:
    return make_phantom(scene, slicer_core)


def finish(run: MatchRun, seconds: float = 240) -> list[Matched]:
    deadline = time.monotonic() + seconds
    while not run.finished():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return run.done


def settings(phantom: Phantom, **more: Any) -> MatchSettings:
    return replace(MatchSettings("arm", OFF.world_to_camera(phantom.isocenter), device=DEVICE, bones=False), **more)


def test_a_pose_and_its_camera_are_the_same_thing() -> None:
    centre = np.array([3.0, -50.0, 20.0])
    for pose in (TRUE, OFF, CArmPose(-80, 40, 100, 30, -20, 0, 900)):
        found = pose_of_camera(pose.world_to_camera(centre), centre)
        assert found.to_dict() == pytest.approx(pose.to_dict(), abs=1e-9)
    # A shift along AP does what the distance does.
    shifted = replace(TRUE, translation_ap_mm=15.0)
    found = pose_of_camera(shifted.world_to_camera(centre), centre)
    assert found.translation_ap_mm == 0 and found.source_to_isocenter_mm == pytest.approx(TRUE.source_to_isocenter_mm - 15)
    np.testing.assert_allclose(found.world_to_camera(centre), shifted.world_to_camera(centre), atol=1e-9)
    with pytest.raises(SyntheXError, match="determinant -1"):
        pose_of_camera(np.diag([-1.0, 1, 1, 1]) @ TRUE.world_to_camera(centre), centre)


def test_the_camera_follows_from_what_the_image_says(scene: Any, slicer_core: ModuleType) -> None:
    image = place_image(slicer_core, np.random.default_rng(0).random((128, 144)), "image")
    camera, source = imageCamera(image, "cios-fusion", 1100.0)
    assert (source, camera.shape, camera.source_to_detector_mm) == ("image", (128, 144), 1100)
    np.testing.assert_allclose(camera.pixel_spacing_mm, 2.0)
    np.testing.assert_allclose(camera.intrinsics[:2, 2], [71.5, 63.5])
    plain = place_image(slicer_core, np.random.default_rng(0).random((1536, 1536)), "plain", 1.0)  # 1 mm: Slicer's word for unknown
    camera, source = imageCamera(plain, "cios-fusion")
    assert source == "device" and camera.source_to_detector_mm == 1020
    np.testing.assert_allclose(camera.pixel_spacing_mm, 0.194)
    image.SetSpacing(2.0, 3.0, 1.0)
    with pytest.raises(SyntheXError, match="square pixels"):
        imageCamera(image, "cios-fusion")


def test_an_exported_dicom_comes_back_with_its_camera(phantom: Phantom, slicer_core: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    logic = SyntheXSimulateLogic()
    preview = logic.preview(phantom.specimen, "hip", Beam("naive"))
    node = preview.render(TRUE, "preview")
    assert preview.last is not None
    back = logic.loadImage(logic.export(node, tmp_path / "xray.dcm"))
    for image, source in ((node, "simulated"), (back, "image")):
        camera, known = imageCamera(image, "800x800,0.37,1300")
        assert (known, camera.source_to_detector_mm) == (source, pytest.approx(1020))
        np.testing.assert_allclose(camera.intrinsics, preview.last.camera.intrinsics, rtol=1e-5)
    assert meaningOf(back, "auto") == meaningOf(node, "auto") == "linear"
    # Bone is dark in the numbers of both, and read as that; the panel's own X-ray is shown inverted.
    assert not showsBright(back, "bright", "auto", "auto") and showsBright(node, "bright", "auto", "auto")
    assert showsBright(back, "dark", "auto", "auto") and showsBright(back, "bright", "bone-bright", "auto")


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_simulated_xray_lies_over_the_real_one(phantom: Phantom, slicer_core: ModuleType, orientation: str) -> None:
    columns, rows = ORIENTATIONS[orientation]
    pixels = phantom.xray()[:: -1 if rows else 1, :: -1 if columns else 1]
    image = place_image(slicer_core, pixels, "image")
    preview = SyntheXSimulateLogic().preview(phantom.specimen, "hip", Beam("naive"))
    preview.frame = realFrame(image, DEVICE, 0, orientation)
    node = preview.render(TRUE)
    signal, toIndex = slicer_core.util.arrayFromVolume(node)[0], slicer_core.util.vtkMatrixFromArray(np.eye(4))
    image.GetRASToIJKMatrix(toIndex)
    assert preview.last is not None
    stored = slicer_core.util.arrayFromVTKMatrix(toIndex) @ preview.last.matrix  # index of the simulated to index of the real image
    row, column = np.indices(signal.shape)
    places = np.rint(stored @ np.stack([column.ravel(), row.ravel(), 0 * row.ravel(), np.ones(row.size)])).astype(int)
    there = pixels[places[1], places[0]].reshape(signal.shape)
    alike = GradientSimilarity(there)
    shifts = [(down, right) for down in (-2, 0, 2) for right in (-2, 0, 2)]
    values = {shift: alike(np.roll(-np.log(signal), shift, (0, 1))) for shift in shifts}
    assert max(values, key=lambda shift: values[shift]) == (0, 0) and values[0, 0] > 0.3
    box, other = [0.0] * 6, [0.0] * 6
    node.GetRASBounds(box)
    image.GetRASBounds(other)
    np.testing.assert_allclose(box, other, atol=1e-6)
    preview.render(TRUE, "preview")
    node.GetRASBounds(box)
    np.testing.assert_allclose(box, other, atol=1e-6)
    # Landmarks and masks lie with it.
    points = SyntheXSimulateLogic().showLandmarks(preview)
    index = points.GetControlPointIndexByLabel("ASIS-l")
    place = (slicer_core.util.arrayFromVTKMatrix(toIndex) @ [*points.GetNthControlPointPosition(index), 1])[:2]
    (seen,), _ = phantom.camera().project(np.array([LANDMARKS["ASIS-l"]]))
    np.testing.assert_allclose(place, [143 - seen[0] if columns else seen[0], 127 - seen[1] if rows else seen[1]], atol=1e-3)
    preview.frame = None
    assert preview.render(TRUE, "preview").GetImageData().GetDimensions() == (256, 256, 1)
    bright = node.GetDisplayNode().GetColorNodeID()
    preview.frame = realFrame(image, DEVICE, bright=False)
    preview.render(TRUE, "preview")
    assert bright == "vtkMRMLColorTableNodeInvertedGrey" and node.GetDisplayNode().GetColorNodeID() == "vtkMRMLColorTableNodeGrey"


def test_a_large_xray_is_rendered_smaller_in_the_same_place(scene: Any, slicer_core: ModuleType) -> None:
    frame = realFrame(place_image(slicer_core, np.random.default_rng(0).random((1200, 1440)), "large", 0.2), DEVICE)
    camera = frame.cameraAt(np.eye(4))
    assert camera.shape == (600, 720)
    for small, large in (([-0.5, -0.5], [-0.5, -0.5]), ([719.5, 599.5], [1439.5, 1199.5])):
        np.testing.assert_allclose(frame.matrixOf(camera) @ [*small, 0, 1], frame.matrix @ [*large, 0, 1])
        rays = [np.linalg.inv(one.intrinsics) @ [*at, 1] for one, at in ((camera, small), (frame.camera, large))]
        np.testing.assert_allclose(*rays)


def test_the_pose_is_found_from_a_rough_one_bone_dark(phantom: Phantom, slicer_core: ModuleType, temporary: Path) -> None:
    image = place_image(slicer_core, 5 - phantom.xray(), "real")
    run = MatchRun(phantom.nodes, HIP, realImages([image]), settings(phantom), "hip")
    shares = []
    deadline = time.monotonic() + 240
    while not run.finished():
        assert time.monotonic() < deadline
        shares.append(run.progress()[0])
        time.sleep(0.05)
    (matched,) = run.done
    assert matched.record is not None, matched.failure
    assert phantom.error_mm(OFF.world_to_camera(phantom.isocenter)) > 10
    assert phantom.error_mm(matched.record["world_to_camera"]) < 1.0
    assert angle_deg(np.array(matched.record["world_to_camera"]), phantom.camera().world_to_camera) < 1.0
    assert (matched.record["trusted"], matched.record["bone"], matched.record["name"]) == (True, "dark", "real")
    assert any(0 < share < 1 for share in shares) and shares == sorted(shares)
    assert any(temporary.iterdir())
    run.close()
    assert not any(temporary.iterdir())


def test_landmarks_clicked_on_a_mirrored_xray_are_a_start(phantom: Phantom, slicer_core: ModuleType, scene: Any) -> None:
    image = place_image(slicer_core, phantom.xray()[:, ::-1], "mirrored")
    marks = placeOnImage(None, image, HIP)
    assert marks.GetNumberOfControlPoints() == len(HIP.patient_landmarks) and marks.GetNumberOfDefinedControlPoints() == 0
    pixels, _ = phantom.camera().project(np.array(list(LANDMARKS.values()), float))
    (real,) = realImages([image])
    for name, (column, row) in zip(LANDMARKS, pixels + [1.5, -1.0], strict=True):
        index = marks.GetControlPointIndexByLabel(name)
        marks.SetNthControlPointPosition(index, *(real.matrix @ [143 - column, row, 0, 1])[:3])
    np.testing.assert_allclose(real.pixelsOf(marks)["FH-r"], [143 - pixels[1, 0] - 1.5, pixels[1, 1] - 1], atol=1e-6)
    chosen = settings(phantom, start="landmarks", pose=None, landmarks=real.pixelsOf(marks), orientation="mirrored")
    (matched,) = finish(run := MatchRun(phantom.nodes, HIP, [real], chosen))
    run.close()
    assert matched.record is not None, matched.failure
    assert len(matched.record["landmarks"]) >= 4 and matched.record["orientation"] == "mirrored"
    assert phantom.error_mm(matched.record["world_to_camera"]) < 1.0


@pytest.mark.slow
def test_the_images_of_a_run_start_from_the_last_and_one_that_fails_is_passed_over(
    phantom: Phantom, slicer_core: ModuleType, scene: Any, tmp_path: Path
) -> None:
    # The last is farther from the rough pose than a start may be.
    poses = [TRUE, replace(TRUE, lao_rao_deg=0.0), replace(TRUE, lao_rao_deg=-8.0), replace(TRUE, lao_rao_deg=-16.0)]
    frames = np.stack([phantom.xray(pose, seed) for seed, pose in enumerate(poses)])
    frames[1] = np.random.default_rng(9).normal(size=frames[1].shape)  # nothing to see
    matrix = np.diag([-2.0, -2.0, 1.0, 1.0])
    run_node = asSequence(slicer_core.util.addVolumeFromArray(frames, matrix, "run"))
    run = MatchRun(phantom.nodes, HIP, realImages([run_node]), settings(phantom))
    done = finish(run)
    run.close()
    sequence, table = nodes = newPoses("phantom")
    for matched in done:
        addPose(nodes, matched, phantom.isocenter)
    trusted = [bool(matched.record and matched.record["trusted"]) for matched in done]
    assert trusted == [True, False, True, True]
    for number in (0, 2, 3):
        record = recordOf(sequence, number)
        assert phantom.error_mm(record["world_to_camera"], poses[number]) < 1.0
        found = poseOf(record, phantom.isocenter)
        assert found is not None and found.lao_rao_deg == pytest.approx(poses[number].lao_rao_deg, abs=1.0)
        assert float(table.GetCellText(number, 1)) == pytest.approx(found.lao_rao_deg, abs=0.01)
    assert [table.GetCellText(row, 8) for row in range(4)] == ["yes", "no", "yes", "yes"]
    assert imageOf(sequence, 2) == (run_node, 2) and poseCount(sequence) == 4
    # The poses are browsed with the images, and are saved with the scene.
    browser = browserOf(run_node)
    browser.SetSelectedItemNumber(3)
    slicer_core.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    assert json.loads(browser.GetProxyNode(sequence).GetText())["name"] == "run run_0003"
    written = SyntheXSimulateLogic().exportPoses(sequence, tmp_path / "poses")
    assert [path.name for path in written] == [*(f"run run_{number:04d}.json" for number in range(4)), "views.json"]
    assert read_pose(written[2])["world_to_camera"] == recordOf(sequence, 2)["world_to_camera"]
    assert [view.name for view in read_views(written[-1])] == ["run run_0000", "run run_0002", "run run_0003"]


class Network:
    """In place of ``synthex infer``: it is ready at once."""

    failed = False

    def finished(self) -> bool:
        return True

    def message(self) -> str:
        return "The network is broken."

    def progress(self) -> Progress:
        return Progress()

    def cancel(self) -> None:
        """Nothing to end."""

    def close(self) -> None:
        """Nothing to remove."""


def test_a_networks_landmarks_are_a_start_and_too_few_are_not(
    phantom: Phantom, slicer_core: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    names, (pixels, _) = list(LANDMARKS), phantom.camera().project(np.array(list(LANDMARKS.values()), float))
    places, confidence = np.zeros((len(HIP.landmarks), 2), np.float32), np.full(len(HIP.landmarks), 0.2, np.float32)
    for name, place in zip(names, pixels + [-1.0, 2.0], strict=True):
        places[HIP.landmark_names.index(name)] = place
    sure = [HIP.landmark_names.index(name) for name in names]
    confidence[sure] = 0.95
    blank = np.zeros((128, 144), np.uint8)
    found = Prediction(blank, places, confidence, blank)

    def start(*arguments: str) -> Any:
        asked.append(arguments)
        return Network() if arguments[0] == "infer" else LibraryCommand(*arguments)

    monkeypatch.setattr("SyntheXSimulateLib.match.LibraryCommand", start)
    monkeypatch.setattr("SyntheXLib.inference.predict_images.read_image_predictions", lambda _folder: (HIP, [found]))
    model = tmp_path / "model.pt"
    model.touch()
    images = realImages([place_image(slicer_core, phantom.xray(), "real")])
    chosen = settings(phantom, start="network", pose=None, model=str(model))
    (matched,) = finish(run := MatchRun(phantom.nodes, HIP, images, chosen))
    run.close()
    assert asked[0][:2] == ("infer", str(model)) and [arguments[0] for arguments in asked] == ["infer", "register"]
    assert matched.record is not None, matched.failure
    assert set(matched.record["landmarks"]) <= set(names) and phantom.error_mm(matched.record["world_to_camera"]) < 1.0
    confidence[sure[:3]] = 0.1
    (matched,) = finish(run := MatchRun(phantom.nodes, HIP, images, chosen))
    run.close()
    assert matched.record is None and matched.failure == "The network found no 4 landmarks on any of the images."
    monkeypatch.setattr(Network, "failed", True)
    (matched,) = finish(run := MatchRun(phantom.nodes, HIP, images, chosen))
    run.close()
    assert matched.failure == "The network is broken."


def test_volumes_of_the_scene_follow_each_other_by_name(phantom: Phantom, slicer_core: ModuleType, scene: Any) -> None:
    images = [place_image(slicer_core, np.zeros((4, 4)) + number, name) for number, name in enumerate(("b", "c", "a"))]
    images[1].SetAttribute("SyntheX.Geometry", "{}")
    assert xraysOfScene(images[0]) == [images[0], images[2]]  # not the CT, not what was simulated
    poses = newPoses("phantom")
    for image in realImages(xraysOfScene(images[0])):
        addPose(poses, Matched(image, None, "It was too dark."), phantom.isocenter)
    assert [imageOf(poses[0], number) for number in (0, 1)] == [(images[0], 0), (images[2], 0)]
    assert poses[1].GetCellText(1, 0) == "a" and poses[1].GetCellText(1, 8) == "It was too dark."


def test_a_femur_that_was_moved_is_moved_in_the_view_and_in_the_files(phantom: Phantom, slicer_core: ModuleType, tmp_path: Path) -> None:
    motion = np.eye(4)
    motion[:3, 3] = 0, 5, 10
    moved = withMovedBones(phantom.specimen, json.dumps({"left_femur": motion.tolist()}), HIP)
    shift = moved.structure_centroid(["left_femur"]) - phantom.specimen.structure_centroid(["left_femur"])
    np.testing.assert_allclose(shift, [0, 5, 10], atol=0.5)
    np.testing.assert_allclose(moved.landmarks["FH-l"] - phantom.specimen.landmarks["FH-l"], [0, 5, 10])
    assert withMovedBones(phantom.specimen, "", HIP) is phantom.specimen
    image = place_image(slicer_core, phantom.xray(), "real")
    record = {
        "format": "synthex-pose-1",
        "name": "real",
        "trusted": True,
        "similarity": 0.4,
        "world_to_camera": phantom.camera().world_to_camera.tolist(),
        "structures": {"left_femur": motion.tolist()},
    }
    nodes = newPoses("phantom")
    addPose(nodes, Matched(realImages([image])[0], record), phantom.isocenter)
    path = SyntheXSimulateLogic().exportPoses(nodes[0], tmp_path)[-1]
    ((view),) = read_views(path)
    np.testing.assert_allclose(view.matrix, phantom.camera().world_to_camera)
    assert view.structures[0][0] == "left_femur"
    np.testing.assert_allclose(view.structures[0][1], motion)


def test_cancelling_keeps_what_is_done_and_leaves_nothing_behind(phantom: Phantom, slicer_core: ModuleType, temporary: Path) -> None:
    image = place_image(slicer_core, phantom.xray(), "real")
    run = MatchRun(phantom.nodes, HIP, realImages([image, image]), settings(phantom))
    time.sleep(1.0)
    run.cancel()
    assert finish(run, 30) == [] and run.cancelled
    run.close()
    assert not any(temporary.iterdir())


def test_an_error_of_the_command_is_told_for_its_image(phantom: Phantom, slicer_core: ModuleType) -> None:
    image = place_image(slicer_core, np.full((128, 144), 3.0), "flat")
    run = MatchRun(phantom.nodes, HIP, realImages([image]), settings(phantom))
    (matched,) = finish(run)
    run.close()
    assert matched.record is None and "same value 3 everywhere" in matched.failure


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"start": "north"}, "must be one of arm"),
        ({"pose": None}, "needs its pose"),
        ({"start": "network", "model": "no.pt"}, "does not exist"),
        ({"start": "landmarks", "landmarks": {"FH-l": np.zeros(2), "nose": np.zeros(2)}}, "at least 4 landmarks .* found FH-l"),
        ({"start": "landmarks", "landmarks": dict.fromkeys(LANDMARKS, np.zeros(2)), "orientation": "detect"}, "name the orientation"),
    ],
)
def test_settings_that_do_not_fit_are_refused(more: dict[str, Any], told: str) -> None:
    with pytest.raises(SyntheXError, match=told):
        check(replace(MatchSettings(pose=np.eye(4)), **more), HIP)
