"""A data set from nodes, made by a child process."""

import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import CaseFiles, load_specimen
from SyntheXLib.scene.poses import rotation_about
from SyntheXLib.simulation.view import ViewSettings
from SyntheXLib.tasks.task import load_task
from SyntheXSimulateLib.case_writer import CaseNodes, writeCase
from SyntheXSimulateLib.dataset import generate
from SyntheXSimulateLib.generate import GenerateSettings, Generation, commandOptions
from SyntheXSimulateLib.logic import SyntheXSimulateLogic
from SyntheXSimulateLib.preview import Beam

HIP = load_task("hip")
MATRIX = np.eye(4)
MATRIX[:3, :3], MATRIX[:3, 3] = rotation_about(0, 10) @ rotation_about(2, 30) @ np.diag([-4.0, 4.0, 4.0]), (30, -60, 90)
SHAPE = (24, 24, 24)


@pytest.fixture
def nodes(scene: Any, slicer_core: ModuleType) -> list[Any]:
    """An oblique CT under a transform, a segmentation of two bones of which one has two segments, and a landmark."""
    hu = np.full(SHAPE, -1000, np.int16)
    hu[4:20, 4:20, 4:20] = 1200
    volume = slicer_core.util.addVolumeFromArray(hu, MATRIX, "my case")
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "bones")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name, low, high in (("hip_left", 4, 8), ("vertebrae_L4", 10, 13), ("vertebrae_L5", 15, 19)):
        mask = np.zeros(SHAPE, np.uint8)
        mask[low:high, 6:12, 6:12] = 1
        key = segmentation.GetSegmentation().AddEmptySegment("", name)
        slicer_core.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, key, volume)
    markups = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "landmarks")
    markups.AddControlPoint(MATRIX[:3] @ [8, 8, 6, 1], "FH-l")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation_about(1, 25), (5, -6, 7)
    transform.SetMatrixTransformToParent(slicer_core.util.vtkMatrixFromArray(matrix))
    for node in (volume, segmentation, markups):
        node.SetAndObserveTransformNodeID(transform.GetID())
    return [volume, segmentation, markups]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run that is not closed leaves goes with the test."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))


def wait(generation: Generation) -> None:
    deadline = time.monotonic() + 120
    while not generation.finished():
        assert time.monotonic() < deadline
        generation.progress()
        time.sleep(0.1)


def test_the_files_give_the_specimen_that_the_nodes_give(nodes: list[Any], tmp_path: Path) -> None:
    files = writeCase(CaseNodes(*nodes), tmp_path, HIP)
    read = load_specimen(files, HIP)
    made = SyntheXSimulateLogic().specimen(*nodes, "hip")
    assert read.name == "my_case"
    np.testing.assert_array_equal(read.hu, made.hu)
    np.testing.assert_array_equal(read.labels, made.labels)
    np.testing.assert_allclose(read.ijk_to_ras, made.ijk_to_ras, atol=1e-6)
    np.testing.assert_allclose(read.landmarks["FH-l"], made.landmarks["FH-l"], atol=1e-4)
    writeCase(CaseNodes(*nodes), tmp_path / "again", HIP)
    for path in (files.ct, files.labels, files.landmarks, files.label_names):
        assert path is not None
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_overlapping_segments_are_refused(nodes: list[Any], tmp_path: Path, slicer_core: ModuleType) -> None:
    key = nodes[1].GetSegmentation().AddEmptySegment("", "femur_left")
    mask = np.zeros(SHAPE, np.uint8)
    mask[5:9, 6:12, 6:12] = 1
    slicer_core.util.updateSegmentBinaryLabelmapFromArray(mask, nodes[1], key, nodes[0])
    with pytest.raises(SyntheXError, match=r"femur_left.*overlaps"):
        writeCase(CaseNodes(*nodes), tmp_path, HIP)


def test_lesions_within_lungs_are_written_as_a_mask_of_their_own(scene: Any, slicer_core: ModuleType, tmp_path: Path) -> None:
    chest, hu = load_task("chest"), np.full(SHAPE, -1000, np.int16)
    hu[2:22, 2:22, 2:22] = 0
    boxes = {"lung_left": (slice(4, 20), slice(4, 20), slice(3, 11)), "lung_right": (slice(4, 20), slice(4, 20), slice(13, 21))}
    boxes |= {"lesion": (slice(8, 12), slice(8, 12), slice(5, 9)), "consolidation": (slice(10, 14), slice(10, 14), slice(6, 16))}
    for box in boxes.values():
        hu[box] = -800
    volume = slicer_core.util.addVolumeFromArray(hu, MATRIX, "chest")
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "lungs")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name, box in boxes.items():
        mask = np.zeros(SHAPE, np.uint8)
        mask[box] = 1
        key = segmentation.GetSegmentation().AddEmptySegment("", name)
        slicer_core.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, key, volume)
    files = writeCase(CaseNodes(volume, segmentation), tmp_path / "case", chest)
    assert files.lesions is not None and files.lesions.name == "lesions.nrrd"
    read, made = load_specimen(files, chest), SyntheXSimulateLogic().specimen(volume, segmentation, None, "chest")
    np.testing.assert_array_equal(read.labels, made.labels)
    lesion = read.labels >> chest.structure_names.index("lesion") & 1
    assert lesion.sum() == 4**3 + 4 * 4 * 10 - 2 * 2 * 3 and (read.labels[lesion > 0] & 3).any()  # in the lungs too
    options = commandOptions(files, "chest", GenerateSettings(2, tmp_path / "set", 1, beam=Beam("naive"), imageSize=32))
    assert options[options.index("--lesions") + 1] == str(files.lesions)
    generation = Generation(CaseNodes(volume, segmentation), chest, GenerateSettings(2, tmp_path / "set", 1, imageSize=32))
    wait(generation)
    assert not generation.failed, generation.message()
    assert (XrayDataset(tmp_path / "set")[0].mask >> chest.structure_names.index("lesion") & 1).any()


def test_a_data_set_is_made_cancelled_and_continued(nodes: list[Any], tmp_path: Path) -> None:
    settings = GenerateSettings(120, tmp_path / "set", workers=1, seed=3, beam=Beam("naive"))
    generation = Generation(CaseNodes(*nodes), HIP, settings)
    deadline = time.monotonic() + 60
    while generation.progress().done < 1 and not generation.finished():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    generation.cancel()
    wait(generation)
    assert not generation.failed
    assert not list(settings.folder.rglob("*.claim"))
    generation = Generation(CaseNodes(*nodes), HIP, settings)
    wait(generation)
    assert not generation.failed, generation.message()
    assert "images rendered" in generation.message()
    progress = generation.progress()
    assert (progress.done, progress.total) == (120, 120)
    assert len(XrayDataset(settings.folder)) == 120
    assert generation.folder.exists()
    generation.close()
    assert not generation.folder.exists()


def test_an_error_of_the_command_is_told_in_its_words(nodes: list[Any], tmp_path: Path) -> None:
    generation = Generation(CaseNodes(*nodes), HIP, GenerateSettings(2, tmp_path / "set", beam=Beam(kvp=900)))
    wait(generation)
    assert generation.failed
    assert "900" in generation.message()


def test_what_is_drawn_is_not_named_and_the_rest_is(tmp_path: Path) -> None:
    case = CaseFiles(tmp_path / "ct.nrrd", tmp_path / "labels.nrrd")
    beam = Beam(kvp=77, copper_mm=0.2, anode_angle_deg=9, grid=False)
    settings = GenerateSettings(5, tmp_path, 2, 3, beam, 128, False, "own.toml", "cpu", ("a.toml", "b.toml"))
    text = " ".join(commandOptions(case, "hip", settings))
    for part in ("--kvp 77", "--copper 0.2", "--anode-angle 9", "--no-grid", "--image-size 128", "--device own.toml", "--renderer cpu"):
        assert part in text
    assert "--tool a.toml --tool b.toml" in text and "--workers 2" in text and "--landmarks" not in text and "--resume" not in text
    drawn = " ".join(commandOptions(case, "hip", replace(settings, randomizeExposure=True)))
    assert "--randomize-exposure" in drawn and "--kvp" not in drawn and "--copper" not in drawn


def test_tools_device_size_and_drawn_exposure_reach_the_data_set(nodes: list[Any], tmp_path: Path) -> None:
    tool = tmp_path / "wire.toml"
    origin = (MATRIX @ [12, 12, 12, 1])[:3]
    tool.write_text(f'kind = "k_wire"\norigin_mm = {origin.tolist()}\n', encoding="utf-8")
    settings = GenerateSettings(2, tmp_path / "set", 1, 3, Beam(), 32, True, "800x800,0.37,1100", "auto", (str(tool),))
    generation = Generation(CaseNodes(*nodes), HIP, settings)
    wait(generation)
    assert not generation.failed, generation.message()
    dataset = XrayDataset(settings.folder)
    assert dataset.image_shape == (32, 32) and dataset.source_to_detector_mm == 1100
    assert [file["file"] for file in dataset.header.configuration["tool_files"]] == ["wire.toml"]
    assert dataset.header.configuration["exposure_ranges"] == {}  # a device of numbers has none


def test_a_command_and_nodes_give_the_same_bytes(nodes: list[Any], tmp_path: Path) -> None:
    settings = GenerateSettings(3, tmp_path / "panel", 1, 3, Beam(), 32)
    generation = Generation(CaseNodes(*nodes), HIP, settings)
    wait(generation)
    assert not generation.failed, generation.message()
    exposure = Beam().exposure(HIP.c_arm.device)
    generate(tmp_path / "nodes", [CaseNodes(*nodes)], "hip", 3, 3, ViewSettings(exposure=exposure, image_size=32))
    for ours, theirs in zip(XrayDataset(tmp_path / "panel"), XrayDataset(tmp_path / "nodes"), strict=True):
        assert ours.image.tobytes() == theirs.image.tobytes() and ours.mask.tobytes() == theirs.mask.tobytes()
