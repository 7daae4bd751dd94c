"""Completing a case: segments chosen by hand, landmarks placed and estimated, a segmentation made by a child process."""

import os
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from SyntheXHomeLib.command import Command
from SyntheXHomeLib.nodes import ijkToWorld, pointsInWorld
from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.poses import rotation_about
from SyntheXLib.segmentation.totalsegmentator import VARIABLE
from SyntheXLib.tasks.task import load_task
from SyntheXSimulateLib.landmarks import (
    ESTIMATED,
    confirmLandmark,
    jumpToLandmark,
    matchLandmarks,
    newLandmarks,
    placeLandmark,
    whyNoEstimate,
)
from SyntheXSimulateLib.logic import SyntheXSimulateLogic
from SyntheXSimulateLib.segment import whyNoSegmentation
from SyntheXSimulateLib.structures import chooseSegments, forgetChoices, matchStructures, structureMasks

HIP = load_task("hip")
SHAPE = (20, 22, 24)
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = rotation_about(0, 10) @ rotation_about(2, 30) @ np.diag([-1.5, 2.0, 2.5])
OBLIQUE[:3, 3] = (-5, 40, -100)


def segmentation(scene: Any, slicer: ModuleType, *names: str) -> tuple[Any, Any, list[str]]:
    """A CT, and a segmentation with a slab for each name; the slabs do not touch."""
    volume = slicer.util.addVolumeFromArray(np.zeros(SHAPE, np.int16), OBLIQUE, "case")
    node, keys = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "bones"), []
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for place, name in enumerate(names):
        mask = np.zeros(SHAPE, np.uint8)
        mask[3 * place + 1 : 3 * place + 3, 4:10, 5:12] = 1
        keys.append(node.GetSegmentation().AddEmptySegment("", name))
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, keys[-1], volume)
    return volume, node, keys


def found(node: Any) -> dict[str, tuple[str, ...]]:
    return {match.name: match.keys for match in matchStructures(node, HIP) if match.keys}


def test_a_choice_by_hand_outdoes_the_names(scene: Any, slicer_core: ModuleType) -> None:
    volume, node, (left, other, lumbar) = segmentation(scene, slicer_core, "hip_left", "mystery", "vertebrae_L4")
    assert found(node) == {"left_hemipelvis": (left,), "lumbar_vertebrae": (lumbar,)}
    before = SyntheXSimulateLogic().version(node)
    chooseSegments(node, HIP, "left_hemipelvis", [other])
    chooseSegments(node, HIP, "right_femur", [left])
    assert found(node) == {"left_hemipelvis": (other,), "right_femur": (left,), "lumbar_vertebrae": (lumbar,)}
    assert SyntheXSimulateLogic().version(node) != before  # who has made a specimen of it makes it anew
    chooseSegments(node, HIP, "lumbar_vertebrae", [lumbar, other])
    assert found(node) == {"right_femur": (left,), "lumbar_vertebrae": (other, lumbar)} or found(node)["lumbar_vertebrae"] == (
        lumbar,
        other,
    )
    masks = structureMasks(node, volume, HIP)
    assert masks["right_femur"][1:3, 4:10, 5:12].all() and masks["lumbar_vertebrae"].sum() == 2 * masks["right_femur"].sum()
    chooseSegments(node, HIP, "lumbar_vertebrae", [])
    assert "lumbar_vertebrae" not in found(node)
    forgetChoices(node, HIP)
    assert found(node) == {"left_hemipelvis": (left,), "lumbar_vertebrae": (lumbar,)}


def test_the_terminology_of_slicers_totalsegmentator_is_known_for_every_bone(scene: Any, slicer_core: ModuleType) -> None:
    left, right, none = "SCT^7771000^Left", "SCT^24028007^Right", "^^"
    types = {
        "left_hemipelvis": [("29836001", "Hip", left)],
        "right_hemipelvis": [("29836001", "Hip", right)],
        "lumbar_vertebrae": [("66794005", "L1 vertebra", none), ("49668003", "L5 vertebra", none)],
        "left_femur": [("71341001", "Femur", left)],
        "right_femur": [("71341001", "Femur", right)],
    }
    node, expected = scene.AddNewNodeByClass("vtkMRMLSegmentationNode"), {}
    for structure, entries in types.items():
        for code, meaning, modifier in entries:
            key = node.GetSegmentation().AddEmptySegment("", f"Segment {code}")
            entry = f"Segmentation category and type - Total Segmentator~SCT^123037004^Anatomical Structure~SCT^{code}^{meaning}~{modifier}"
            entry += "~Anatomic codes - DICOM master list~^^~^^"
            node.GetSegmentation().GetSegment(key).SetTag(slicer_core.vtkSegment.GetTerminologyEntryTagName(), entry)
            expected[structure] = (*expected.get(structure, ()), key)
    assert found(node) == expected


def test_a_version_changes_with_whatever_a_specimen_is_made_of(scene: Any, slicer_core: ModuleType) -> None:
    volume, node, (key,) = segmentation(scene, slicer_core, "mystery")
    markups, transform = newLandmarks("case"), scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    markups.AddControlPoint((1.0, 2.0, 3.0), "FH-l")
    mask = np.ones(SHAPE, np.uint8)
    changes: list[tuple[Any, Any]] = [
        (volume, lambda: slicer_core.util.updateVolumeFromArray(volume, mask.astype(np.int16))),
        (node, lambda: slicer_core.util.updateSegmentBinaryLabelmapFromArray(mask, node, key, volume)),
        (node, lambda: node.GetSegmentation().GetSegment(key).SetName("femur_left")),
        (node, lambda: chooseSegments(node, HIP, "right_femur", [key])),
        (node, lambda: node.GetSegmentation().RemoveSegment(key)),
        (markups, lambda: markups.SetNthControlPointPosition(0, 1.0, 2.0, 4.0)),
        (markups, lambda: markups.SetNthControlPointLabel(0, "FH-r")),
        (markups, lambda: markups.UnsetNthControlPointPosition(0)),
        (markups, lambda: markups.RemoveAllControlPoints()),
        *((moved, lambda moved=moved: moved.SetAndObserveTransformNodeID(transform.GetID())) for moved in (volume, node, markups)),
    ]
    version = SyntheXSimulateLogic().version
    for place, (changed, change) in enumerate(changes):
        before = version(changed)
        assert version(changed) == before
        change()
        assert version(changed) != before, place


def test_choices_are_saved_with_the_segmentation(scene: Any, slicer_core: ModuleType, tmp_path: Path) -> None:
    _, node, (key,) = segmentation(scene, slicer_core, "mystery")
    chooseSegments(node, HIP, "left_femur", [key])
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(tmp_path / "bones.seg.nrrd"))
    assert storage.WriteData(node)
    again = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "again")
    assert storage.ReadData(again)
    assert list(found(again)) == ["left_femur"]


def test_a_missing_landmark_is_placed_by_the_next_click(scene: Any, slicer_core: ModuleType) -> None:
    node, interaction = newLandmarks("case"), slicer_core.modules.application.GetInteractionNode()
    node.AddControlPoint((1.0, 2.0, 3.0), "FH-l")
    placeLandmark(node, "ASIS-r")
    assert interaction.GetCurrentInteractionMode() == interaction.Place and not interaction.GetPlaceModePersistence()
    assert slicer_core.modules.application.GetSelectionNode().GetActivePlaceNodeID() == node.GetID()
    index = node.GetControlPointPlacementStartIndex()
    assert node.GetNthControlPointLabel(index) == "ASIS-r"
    assert [match.name for match in matchLandmarks(node, HIP) if match.parts] == ["FH-l"]  # there is no click yet
    placeLandmark(node, "ASIS-r")  # again, as after Escape: no second point
    assert node.GetNumberOfControlPoints() == 2
    node.SetNthControlPointPositionWorld(index, 4.0, 5.0, 6.0)  # the click
    assert [match.name for match in matchLandmarks(node, HIP) if match.parts] == ["FH-l", "ASIS-r"]
    with pytest.raises(SyntheXError, match=r"FH-l.*is placed"):
        placeLandmark(node, "FH-l")


def test_slices_jump_to_a_landmark(scene: Any, slicer_core: ModuleType) -> None:
    view = scene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
    view.SetLayoutName("Red")
    node = newLandmarks("case")
    node.AddControlPoint((11.0, -22.0, 33.0), "FH-l")
    jumpToLandmark(node, "FH-r")
    before = view.GetSliceToRAS().GetElement(2, 3)
    jumpToLandmark(node, "FH-l")
    matrix = view.GetSliceToRAS()
    assert [matrix.GetElement(row, 3) for row in range(3)] == [11, -22, 33] and before == 0
    scene.RemoveNode(view)  # clearing the scene would leave it


def pelvis(slicer: ModuleType) -> tuple[Any, Any, dict[str, np.ndarray]]:
    """CT and labels, two blocks as hip bones with balls in their sockets as femoral heads, under a transform; centres in the world."""
    shape, matrix = (60, 50, 80), np.diag([3.0, 3.0, 3.0, 1.0])
    matrix[:3, 3] = (-118.5, -73.5, -88.5)
    k, j, i = np.indices(shape)
    points = np.stack([i, j, k], -1) * 3.0 + matrix[:3, 3]
    labels = np.zeros(shape, np.uint8)
    for side, hip, femur in ((-1, 77, 75), (1, 78, 76)):
        mirrored = points * (side, 1, 1)
        away = np.linalg.norm(mirrored - (75.0, 0, 0), axis=-1)
        labels[np.all((mirrored > (10, -40, -60)) & (mirrored < (75, 60, 80)), -1) & (away > 26)] = hip
        labels[away < 22] = femur
    ct = slicer.util.addVolumeFromArray(np.where(labels > 0, 700, 0).astype(np.int16), matrix, "pelvis")
    node = slicer.util.addVolumeFromArray(labels, matrix, "labels", "vtkMRMLLabelMapVolumeNode")
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    moved = np.eye(4)
    moved[:3, :3], moved[:3, 3] = rotation_about(2, 8), (7, -5, 300)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(moved))
    for volume in (ct, node):
        volume.SetAndObserveTransformNodeID(transform.GetID())
    return ct, node, {f"FH-{name}": moved[:3, :3] @ (75.0 * side, 0, 0) + moved[:3, 3] for name, side in (("l", -1), ("r", 1))}


def test_landmarks_are_estimated_and_marked_as_such(scene: Any, slicer_core: ModuleType) -> None:
    ct, labels, centers = pelvis(slicer_core)
    markups = newLandmarks("pelvis")
    markups.AddControlPoint((1.0, 2.0, 3.0), "ASIS-l")  # placed by hand: stays
    node, placed = SyntheXSimulateLogic().estimateLandmarks(ct, labels, markups, "hip")
    assert node is markups and "ASIS-l" not in placed and "FH-l" in placed
    points = pointsInWorld(node)
    assert set(points) == {*placed, "ASIS-l"}
    np.testing.assert_array_equal(points["ASIS-l"], (1, 2, 3))
    for name, center in centers.items():
        np.testing.assert_allclose(points[name], center, atol=0.7)
    matches = {match.name: match for match in matchLandmarks(node, HIP) if match.parts}
    assert matches["FH-l"].note.startswith(ESTIMATED) and not matches["ASIS-l"].note
    assert SyntheXSimulateLogic().estimateLandmarks(ct, labels, markups, "hip")[1] == []
    confirmLandmark(node, node.GetControlPointIndexByLabel("FH-l"))
    assert not next(match.note for match in matchLandmarks(node, HIP) if match.name == "FH-l")


def test_no_landmark_is_estimated_without_both_hip_bones(scene: Any, slicer_core: ModuleType) -> None:
    ct, labels, _ = pelvis(slicer_core)
    slicer_core.util.arrayFromVolume(labels)[slicer_core.util.arrayFromVolume(labels) == 78] = 0
    with pytest.raises(SyntheXError, match="Needs right_hemipelvis"):
        SyntheXSimulateLogic().estimateLandmarks(ct, labels, None, "hip")
    assert whyNoEstimate(HIP, set(HIP.structure_names)) == ""


# Making a segmentation

PROGRAM = """#!{python}
import sys, time, numpy, SimpleITK
if sys.argv[1:] == ["--version"]:
    print("2.4.0")
    sys.exit()
print("Predicting part 1 of 2 ...", flush=True)
print("100%|##| 1/1", flush=True)
{then}
place = lambda name: sys.argv[sys.argv.index(name) + 1]
ct = SimpleITK.ReadImage(place("-i"))
hu = SimpleITK.GetArrayFromImage(ct)
image = SimpleITK.GetImageFromArray(numpy.where(hu > 800, 78, numpy.where(hu > 400, 77, 0)).astype(numpy.uint8))
image.CopyInformation(ct)
SimpleITK.WriteImage(image, place("-o"))
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, then: str = "") -> None:
    """A stand-in for TotalSegmentator that does something first."""
    if os.name != "posix":
        pytest.skip("the stand-in is a script with a shebang")
    path = folder / "TotalSegmentator"
    path.write_text(PROGRAM.format(python=sys.executable, then=then), encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(path))


def wait(run: Command) -> None:
    deadline = time.monotonic() + 60
    while not run.finished():
        assert time.monotonic() < deadline
        run.progress()
        time.sleep(0.05)


def bones(slicer: ModuleType) -> Any:
    """An oblique CT of two bones under a transform."""
    hu = np.zeros(SHAPE, np.int16)
    hu[2:8, 3:12, 4:9], hu[10:15, 3:12, 4:9] = 700, 900
    volume = slicer.util.addVolumeFromArray(hu, OBLIQUE, "case")
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation_about(1, 25), (5, -6, 7)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    return volume


def test_a_segmentation_is_made_named_and_lies_in_the_ct(
    scene: Any, slicer_core: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    volume = bones(slicer_core)
    run = SyntheXSimulateLogic().segment(volume, "hip", fast=True)
    wait(run)
    assert not run.failed(), run.message()
    assert run.progress() == (100, 100)
    nodes = scene.GetNumberOfNodes()
    node = run.result()
    run.close()
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    assert {match.name: match.parts for match in matchStructures(node, HIP) if match.parts} == {
        "left_hemipelvis": ("hip_left",),
        "right_hemipelvis": ("hip_right",),
    }
    assert not slicer_core.util.getNodesByClass("vtkMRMLLabelMapVolumeNode") and scene.GetNumberOfNodes() - nodes <= 4
    hu = slicer_core.util.arrayFromVolume(volume)
    masks = structureMasks(node, volume, HIP)
    np.testing.assert_array_equal(masks["left_hemipelvis"], hu == 700)
    np.testing.assert_array_equal(masks["right_hemipelvis"], hu == 900)
    specimen = SyntheXSimulateLogic().specimen(volume, node, None, "hip")
    np.testing.assert_allclose(specimen.ijk_to_ras, ijkToWorld(volume))


@pytest.mark.parametrize("politely", [True, False], ids=["cancelled", "closed"])
def test_a_run_that_is_ended_ends_the_program_and_leaves_no_file(
    scene: Any, slicer_core: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, politely: bool
) -> None:
    told = tmp_path / "pid"
    install(tmp_path, monkeypatch, f"import os; open({str(told)!r}, 'w').write(str(os.getpid()) + ' '); time.sleep(60)")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    run = SyntheXSimulateLogic().segment(bones(slicer_core), "hip")
    deadline = time.monotonic() + 60
    while not told.exists() or not told.read_text(encoding="utf-8").endswith(" "):
        assert time.monotonic() < deadline and not run.finished(), run.message()
        time.sleep(0.05)
    if politely:
        run.cancel()
        wait(run)
    run.close()
    assert run.cancelled() and not run.failed()
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(int(told.read_text(encoding="utf-8")), 0)
            time.sleep(0.05)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_why_no_segmentation_can_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slicer_core: ModuleType) -> None:
    install(tmp_path, monkeypatch)
    assert whyNoSegmentation("") == ""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nothing"))
    assert "found no program there" in whyNoSegmentation("")
    monkeypatch.setattr("SyntheXSimulateLib.segment.find_spec", lambda name: None)
    assert whyNoSegmentation(None) == "Needs the packages torch, monai, tqdm: install them in the SyntheX module."


def test_slicers_extension_is_asked_to_install_its_packages(
    scene: Any, slicer_core: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Logic:
        def setupPythonRequirements(self) -> None:
            install(tmp_path, monkeypatch)

    extension = ModuleType("TotalSegmentator")
    extension.TotalSegmentatorLogic = Logic  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "TotalSegmentator", extension)
    monkeypatch.setattr(slicer_core.modules, "totalsegmentator", object(), raising=False)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nothing"))
    assert whyNoSegmentation("") == ""
    run = SyntheXSimulateLogic().segment(bones(slicer_core), "hip")
    wait(run)
    assert not run.failed(), run.message()
    run.close()
