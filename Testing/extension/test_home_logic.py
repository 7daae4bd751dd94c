"""Samples in the scene, and what is installed."""

import os
import re
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from SyntheXHomeLib.handover import giveSample, lastSample, removeLastSample
from SyntheXHomeLib.library_command import LibraryCommand
from SyntheXHomeLib.logic import SyntheXLogic
from SyntheXHomeLib.nodes import ijkToWorld, labelNames, pointsInWorld
from SyntheXLib.datasets import sample
from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import CaseFiles, itk_image, load_specimen
from SyntheXLib.scene.landmarks import write_markups
from SyntheXLib.tasks.task import load_task
from SyntheXSimulateLib.logic import SyntheXSimulateLogic

MATRIX = np.array([[0, -2.0, 0, 50], [1.5, 0, 0, -60], [0, 0, 3.0, 70], [0, 0, 0, 1]])
POINT = np.array([46.0, -55.5, 76.0])


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sample.SampleCase:
    """A small case in files, which `fetch_sample` is made to give."""
    hu = np.random.default_rng(0).integers(-1000, 1500, (6, 7, 8)).astype(np.int16)
    labels = np.zeros(hu.shape, np.uint8)
    labels[1:3, 1:3, 1:4], labels[3:5, 4:6, 5:7] = 2, 1
    case = sample.SampleCase(
        "pelvis", tmp_path / "ct.nii.gz", tmp_path / "labels.nii.gz", tmp_path / "points.mrk.json", tmp_path / "names.csv", "own"
    )
    sitk.WriteImage(itk_image(hu, MATRIX), str(case.ct))
    sitk.WriteImage(itk_image(labels, MATRIX), str(case.labels))
    assert case.landmarks is not None
    write_markups(case.landmarks, {"FH-l": POINT})
    lines = ["LabelValue,Name,Color_R,Color_G,Color_B,Color_A", "1,hip_right,250,10,20,255", "2,hip_left,30,240,40,255"]
    case.label_names.write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.setattr(sample, "fetch_sample", lambda name, progress: case)
    return case


def test_a_sample_comes_into_the_scene_with_geometry_names_and_landmarks(
    case: sample.SampleCase, scene: Any, slicer_core: ModuleType
) -> None:
    volume, labelmap, markups = SyntheXLogic().loadSample("pelvis")
    assert volume.GetName() == "pelvis"
    np.testing.assert_allclose(ijkToWorld(volume), MATRIX, atol=1e-5)
    np.testing.assert_allclose(ijkToWorld(labelmap), MATRIX, atol=1e-5)
    np.testing.assert_array_equal(slicer_core.util.arrayFromVolume(volume), sitk.GetArrayFromImage(sitk.ReadImage(str(case.ct))))
    assert labelNames(labelmap) == {1: "hip_right", 2: "hip_left"}
    assert list(pointsInWorld(markups)) == ["FH-l"]
    np.testing.assert_allclose(pointsInWorld(markups)["FH-l"], POINT, atol=1e-5)


def test_a_sample_makes_the_same_specimen_by_way_of_the_scene_and_from_its_files(case: sample.SampleCase, scene: Any) -> None:
    by_scene = SyntheXSimulateLogic().specimen(*SyntheXLogic().loadSample("pelvis"), "hip")
    from_files = load_specimen(CaseFiles(case.ct, case.labels, case.landmarks, case.label_names, "pelvis"), load_task("hip"))
    np.testing.assert_array_equal(by_scene.hu, from_files.hu)
    np.testing.assert_array_equal(by_scene.labels, from_files.labels)
    np.testing.assert_allclose(by_scene.ijk_to_ras, from_files.ijk_to_ras, atol=1e-5)
    np.testing.assert_allclose(by_scene.landmarks["FH-l"], from_files.landmarks["FH-l"], atol=1e-5)
    assert by_scene.warnings == from_files.warnings


def test_a_sample_without_landmarks_gives_none(case: sample.SampleCase, scene: Any) -> None:
    object.__setattr__(case, "landmarks", None)
    assert SyntheXLogic().loadSample("pelvis")[2] is None


def test_a_file_that_slicer_cannot_load_is_named(case: sample.SampleCase, scene: Any) -> None:
    import vtk

    vtk.vtkOutputWindow.SetInstance(vtk.vtkStringOutputWindow())  # VTK's errors are meant here
    case.ct.write_bytes(b"no image")
    with pytest.raises(SyntheXError, match=re.escape(f"cannot load {case.ct}")):
        SyntheXLogic().loadSample("pelvis")


def test_a_file_that_cannot_be_loaded_leaves_the_scene_as_it_was(case: sample.SampleCase, scene: Any) -> None:
    import vtk

    vtk.vtkOutputWindow.SetInstance(vtk.vtkStringOutputWindow())  # VTK's errors are meant here
    case.labels.write_bytes(b"no image")
    before = scene.GetNumberOfNodes()
    with pytest.raises(SyntheXError, match=re.escape(f"cannot load {case.labels}")):
        SyntheXLogic().loadSample("pelvis")
    assert scene.GetFirstNodeByName("pelvis") is None
    assert scene.GetNumberOfNodes() - before <= 2  # display nodes, which the scene tidies up


def test_a_loaded_sample_knows_no_file_into_which_an_edit_could_be_saved(case: sample.SampleCase, scene: Any) -> None:
    nodes = SyntheXLogic().loadSample("pelvis")
    assert [node.GetStorageNode() for node in nodes] == [None, None, None]
    assert nodes[1].GetDisplayNode().GetColorNode().GetStorageNode() is None


def test_a_sample_is_taken_out_of_the_scene_with_its_colours_and_folder(
    case: sample.SampleCase, scene: Any, slicer_core: ModuleType
) -> None:
    before = scene.GetNumberOfNodesByClass("vtkMRMLColorNode")
    nodes = SyntheXLogic().loadSample("pelvis")
    assert scene.GetNumberOfNodesByClass("vtkMRMLColorNode") > before
    hierarchy = slicer_core.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = hierarchy.GetItemChildWithName(hierarchy.GetItemChildWithName(hierarchy.GetSceneItemID(), "SyntheX samples"), "pelvis")
    assert [hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in nodes] == [folder] * 3
    removeLastSample()
    assert hierarchy.GetNumberOfItems() == 0
    assert [node.GetScene() for node in nodes] == [None, None, None]
    assert scene.GetFirstNodeByName("pelvis label names") is None
    removeLastSample()  # nothing left is no error


def test_the_last_sample_is_found_again_after_the_scene_was_saved_and_loaded(
    case: sample.SampleCase, scene: Any, slicer_core: ModuleType
) -> None:
    assert lastSample() is None
    giveSample()  # nothing to give is no error
    SyntheXLogic().loadSample("pelvis")
    second = SyntheXLogic().loadSample("pelvis")
    assert lastSample() == second
    giveSample()
    parameters = SyntheXSimulateLogic().parameterNode()
    assert tuple(parameters.GetNodeReference(role) for role in ("volume", "labels", "markups")) == second
    scene.SetSaveToXMLString(1)
    scene.Commit()
    text = scene.GetSceneXMLString()
    scene.Clear(0)
    scene.SetLoadFromXMLString(1)
    scene.SetSceneXMLString(text)
    scene.Import()
    scene.SetLoadFromXMLString(0)
    scene.SetSaveToXMLString(0)
    volume, labels, markups = lastSample()
    assert (volume.GetName(), labels.GetClassName(), markups.GetClassName()) == (
        second[0].GetName(), "vtkMRMLLabelMapVolumeNode", "vtkMRMLMarkupsFiducialNode",
    )  # fmt: skip


def test_the_data_folder_is_that_of_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHEX_CACHE", str(tmp_path))
    kept = sample.sample_folder() / "pelvis" / "ct.nii.gz"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"12345")
    logic = SyntheXLogic()
    assert (logic.dataFolder(), logic.dataSizes()["samples"], logic.sampleSizes()["pelvis"]) == (tmp_path, 5, 5)
    assert logic.emptyData(["samples"]) == 5
    assert not kept.exists()


def ended(command: LibraryCommand) -> LibraryCommand:
    until = time.monotonic() + 60
    while not command.finished():
        assert time.monotonic() < until
        time.sleep(0.05)
    return command


def test_a_command_of_the_library_runs_in_a_child_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHEX_CACHE", str(tmp_path))
    done = ended(LibraryCommand("sample"))
    assert (done.status, done.output().splitlines()[0], done.cancelled) == (0, f"cache: {tmp_path / 'samples'}", False)
    done.close()
    failed = ended(LibraryCommand("sample", "no-such-sample"))
    assert failed.status == 2 and "no-such-sample" in failed.message()
    failed.close()


@pytest.mark.skipif(os.name == "nt", reason="there nothing can be asked to tidy up: the next install does")
@pytest.mark.parametrize("how", ["cancel", "close"])
def test_a_cancelled_or_closed_command_tidies_up(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of DeepDRR, of which a first part is there when it is cancelled."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, text in (
        ("nvidia-smi", "echo 'CUDA Version: 12.4'"),
        ("python3.12", 'mkdir -p "$4"; touch "$4/pyvenv.cfg"; sleep 100'),
    ):  # the latter for 3.13
        (bin_folder / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (bin_folder / name).chmod(0o755)
    monkeypatch.setenv("SYNTHEX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}{os.environ['PATH']}")
    command = SyntheXLogic().installDeepDrr()
    part = tmp_path / "cache" / "deepdrr" / ".environment.part"
    until = time.monotonic() + 60
    while not (part / "python" / "pyvenv.cfg").exists():  # its child is at work
        assert not command.finished() and time.monotonic() < until, command.message()
        time.sleep(0.05)
    assert command.message().startswith("making an environment with")
    getattr(command, how)()
    ended(command)
    assert (command.status, command.cancelled) == (130, True)
    assert not part.exists()
    command.close()
