"""The live X-ray, what lies over it, the C-arm in 3D, and the files."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.images import read_image
from SyntheXLib.scene.poses import CArmPose, rotation_about
from SyntheXLib.scene.specimen import Specimen, make_specimen
from SyntheXLib.scene.view_angles import positioner_angles
from SyntheXLib.tasks.task import load_task
from SyntheXSimulateLib.c_arm_display import detectorCorners, sourcePositions
from SyntheXSimulateLib.logic import SyntheXSimulateLogic
from SyntheXSimulateLib.preview import Beam, XrayPreview

HIP = load_task("hip")
POSE = CArmPose(lao_rao_deg=20, cran_caud_deg=-10, roll_deg=5, source_to_isocenter_mm=700)


def specimen() -> Specimen:
    """Two oblique boxes of bone in air, a landmark in each."""
    hu = np.full((40, 40, 40), -1000, np.int16)
    left, right = np.zeros(hu.shape, bool), np.zeros(hu.shape, bool)
    left[12:28, 12:28, 5:15], right[12:28, 12:28, 25:35] = True, True
    hu[left | right] = 1200
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_about(0, 10) @ rotation_about(2, 30) @ np.diag([-4.0, 4.0, 4.0])
    matrix[:3, 3] = (30, -60, 90)
    points = {"FH-l": matrix[:3] @ [10, 20, 20, 1], "FH-r": matrix[:3] @ [30, 20, 20, 1]}
    masks = {"left_hemipelvis": left, "right_hemipelvis": right}
    return make_specimen("boxes", hu, matrix, masks, HIP.structure_names, points, HIP.landmark_names)


@pytest.fixture
def preview(scene: Any) -> XrayPreview:
    return SyntheXSimulateLogic().preview(specimen(), "hip", Beam("heuristic"))


def test_all_views_are_rendered_into_one_node_whose_frame_keeps_its_place(preview: XrayPreview, scene: Any) -> None:
    bounds, node = [], None
    for quality, size in (("preview", 256), ("full", 360)):
        made = preview.render(POSE, quality)
        assert node is None or made is node
        node = made
        assert node.GetImageData().GetDimensions() == (size, size, 1)
        box = [0.0] * 6
        node.GetRASBounds(box)
        bounds.append(box[:4])
    np.testing.assert_allclose(*bounds, atol=1e-9)
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1


def test_a_node_that_left_the_scene_is_made_anew(preview: XrayPreview, scene: Any) -> None:
    scene.RemoveNode(preview.render(POSE, "preview"))
    assert scene.IsNodePresent(preview.render(POSE, "preview"))


def test_the_preview_shows_what_the_full_image_shows(preview: XrayPreview, slicer_core: ModuleType) -> None:
    images = []
    for quality in ("preview", "full"):
        images.append(np.array(slicer_core.util.arrayFromVolume(preview.render(POSE, quality))[0]))
    rows = ((np.arange(256) + 0.5) * 360 / 256).astype(int)
    difference = np.abs(images[0] - images[1][np.ix_(rows, rows)])
    assert np.median(difference) < 1e-3
    assert difference.mean() < 0.02


def test_the_realistic_level_follows_the_exposure(scene: Any, slicer_core: ModuleType) -> None:
    preview = SyntheXSimulateLogic().preview(specimen(), "hip")
    means = []
    for kvp in (60.0, 120.0):
        preview.beam.kvp = kvp
        means.append(slicer_core.util.arrayFromVolume(preview.render(POSE, "preview")).min())
    assert means[0] < means[1]  # harder radiation passes the bone


def test_masks_and_landmarks_lie_over_the_bones_of_the_xray(preview: XrayPreview, slicer_core: ModuleType) -> None:
    logic = SyntheXSimulateLogic()
    image = preview.render(POSE)
    masks = logic.showMasks(preview)
    labels = slicer_core.util.arrayFromVolume(masks)[0]
    assert set(np.unique(labels)) == {0, 1, 2}
    signal = slicer_core.util.arrayFromVolume(image)[0]
    assert signal[labels > 0].mean() < 0.5 < 0.99 < signal[labels == 0].mean()
    points = logic.showLandmarks(preview)
    for name, label in (("FH-l", 1), ("FH-r", 2)):
        index = HIP.landmark_names.index(name)
        position = np.array([*points.GetNthControlPointPositionWorld(index), 1.0])
        toIndex = slicer_core.util.vtkMatrixFromArray(np.eye(4))
        masks.GetRASToIJKMatrix(toIndex)
        column, row = np.rint(slicer_core.util.arrayFromVTKMatrix(toIndex) @ position)[:2].astype(int)
        assert labels[row, column] == label
    unknown = HIP.landmark_names.index("ASIS-r")
    assert points.GetNthControlPointPositionStatus(unknown) == slicer_core.vtkMRMLMarkupsNode.PositionUndefined
    preview.render(CArmPose(source_to_isocenter_mm=700, translation_lr_mm=500), "preview")
    assert logic.showMasks(preview, masks) is masks
    assert logic.showLandmarks(preview, points) is points
    assert points.GetNumberOfControlPoints() == len(HIP.landmarks)
    assert points.GetNumberOfDefinedControlPoints() == 0


def test_beam_and_detector_lie_where_the_camera_is_and_carry_the_picture(preview: XrayPreview, slicer_core: ModuleType) -> None:
    display = SyntheXSimulateLogic().cArmDisplay()
    preview.render(POSE, "preview")
    assert preview.last is not None
    display.show(preview.last)
    camera, beam = preview.last.camera, display.beam
    np.testing.assert_allclose(slicer_core.util.arrayFromModelPoints(beam)[0], camera.source, atol=1e-9)
    corners = slicer_core.util.arrayFromModelPoints(display.detector)
    pixels, _ = camera.project(corners)
    np.testing.assert_allclose(pixels, [[-0.5, -0.5], [255.5, -0.5], [255.5, 255.5], [-0.5, 255.5]], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(corners[1] - corners[0]), 1436 * 0.194)
    port = display.detector.GetDisplayNode().GetTextureImageDataConnection()
    picture = port.GetProducer().GetOutputDataObject(0)
    assert picture.GetDimensions() == (256, 256, 1)
    display.setVisible(False)
    assert not display.detector.GetDisplayNode().GetVisibility()
    preview.render(CArmPose(source_to_isocenter_mm=700), "preview")
    display.show(preview.last)
    assert display.beam is beam
    np.testing.assert_allclose(slicer_core.util.arrayFromModelPoints(beam)[0], preview.isocenter + [0, 700, 0], atol=1e-9)
    np.testing.assert_allclose(detectorCorners(preview.last.camera)[:, 1], preview.isocenter[1] + 700 - 1020)


def test_the_cloud_holds_the_sources_of_the_tasks_poses(preview: XrayPreview, slicer_core: ModuleType) -> None:
    node = SyntheXSimulateLogic().showPoseCloud(preview, 50)
    points = slicer_core.util.arrayFromModelPoints(node)
    assert points.shape == (50, 3)
    np.testing.assert_allclose(points, sourcePositions(HIP.poses, preview.isocenter, 50))
    distance = np.linalg.norm(points - preview.isocenter, axis=1)
    shift = np.linalg.norm([50, 20, 100])
    assert distance.min() > 700 - shift
    assert distance.max() < 700 + shift
    assert SyntheXSimulateLogic().showPoseCloud(preview, 20, node) is node


@pytest.mark.parametrize("angles", [(0, 0, 0), (20, -10, 5), (-45, 45, -45), (100, 60, 170)])
def test_a_camera_put_into_the_source_gives_the_angles_back(preview: XrayPreview, scene: Any, angles: tuple[float, float, float]) -> None:
    logic, camera = SyntheXSimulateLogic(), scene.AddNewNodeByClass("vtkMRMLCameraNode")
    pose = CArmPose(*angles, source_to_isocenter_mm=650)
    logic.lookAsSource(camera, preview, pose)
    np.testing.assert_allclose(camera.GetPosition(), preview.camera(pose).source, atol=1e-9)
    found = logic.poseOfCamera(camera, 650)
    np.testing.assert_allclose([found.lao_rao_deg, found.cran_caud_deg, found.roll_deg], angles, atol=1e-6)


def test_dicoms_angles_count_from_a_detector_in_front_of_the_patient() -> None:
    for lao, cran, primary, secondary in ((0, 0, 180, 0), (90, 0, 90, 0), (-90, 0, -90, 0), (180, 0, 0, 0), (0, 30, 180, 30)):
        found = positioner_angles(CArmPose(lao_rao_deg=lao, cran_caud_deg=cran).world_to_camera(np.zeros(3)))
        np.testing.assert_allclose(np.mod(found[0] - primary + 180, 360) - 180, 0, atol=1e-9)
        np.testing.assert_allclose(found[1], secondary, atol=1e-9)


def test_picture_and_geometry_are_written(preview: XrayPreview, tmp_path: Path) -> None:
    import SimpleITK as sitk

    logic, node = SyntheXSimulateLogic(), preview.render(POSE)
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(logic.export(node, tmp_path / "xray.png"))))
    assert picture.shape == (360, 360)
    assert picture[0, 0] < picture.max()  # air is dark
    geometry = json.loads(logic.export(node, tmp_path / "pose.json").read_text(encoding="utf-8"))
    assert CArmPose(**geometry["pose"]) == POSE
    assert preview.last is not None
    np.testing.assert_allclose(geometry["world_to_camera"], preview.last.camera.world_to_camera)
    assert geometry["pixel_spacing_mm"] == pytest.approx([1436 * 0.194 / 360] * 2)


def test_dicom_carries_the_geometry(preview: XrayPreview, tmp_path: Path, slicer_core: ModuleType) -> None:
    pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")
    node = preview.render(POSE)
    dicom = pydicom.dcmread(SyntheXSimulateLogic().export(node, tmp_path / "xray.dcm"))
    assert dicom.Modality == "XA"
    assert float(dicom.DistanceSourceToDetector) == 1020
    assert float(dicom.DistanceSourceToPatient) == 700
    assert [float(value) for value in dicom.ImagerPixelSpacing] == pytest.approx([1436 * 0.194 / 360] * 2, abs=1e-6)
    assert float(dicom.PositionerSecondaryAngle) == pytest.approx(-10, abs=1e-3)
    assert json.loads(dicom.ImageComments)["pose"]["roll_deg"] == 5
    image = slicer_core.util.arrayFromVolume(node)[0]
    np.testing.assert_allclose(dicom.pixel_array / 65535 * max(1, image.max()), image, atol=1e-5)
    read = read_image(tmp_path / "xray.dcm", polarity="bone-dark", intensity="linear")
    assert read.pixel_spacing_mm == pytest.approx((1436 * 0.194 / 360,) * 2, abs=1e-6)


def test_other_names_and_other_volumes_are_refused(preview: XrayPreview, tmp_path: Path, scene: Any) -> None:
    with pytest.raises(SyntheXError, match=r"\.png, \.json, \.dcm"):
        SyntheXSimulateLogic().export(preview.render(POSE, "preview"), tmp_path / "xray.gif")
    other = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    with pytest.raises(SyntheXError, match="no geometry"):
        SyntheXSimulateLogic().export(other, tmp_path / "pose.json")
    assert not list(tmp_path.iterdir())
