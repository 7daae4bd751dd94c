"""Tasks that see nothing of the CT, and what a data set takes from its task, from nodes."""

import json
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import CaseFiles
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.tasks.task import load_task
from SyntheXSimulateLib.case_writer import CaseNodes, writeCase
from SyntheXSimulateLib.generate import GenerateSettings, commandOptions
from SyntheXSimulateLib.logic import SyntheXSimulateLogic
from SyntheXSimulateLib.preview import Beam


@pytest.fixture
def volume(scene: Any, slicer_core: ModuleType) -> Any:
    """A block of soft tissue, 6 mm voxels."""
    matrix = np.diag([6.0, 6.0, 6.0, 1.0])
    matrix[:3, 3] = -70
    hu = np.full((24, 24, 24), -1000, np.int16)
    hu[2:22, 2:22, 2:22] = 40
    return slicer_core.util.addVolumeFromArray(hu, matrix, "block")


@pytest.mark.parametrize("name", ["tool", "tool-screw", "tool-k-wire"])
def test_a_tool_needs_no_labels_and_is_in_the_preview(volume: Any, name: str) -> None:
    logic = SyntheXSimulateLogic()
    assert name in logic.taskNames() and not logic.needsLabels(name)
    specimen = logic.specimen(volume, None, None, name)
    assert any("coarser" in warning for warning in specimen.warnings) and not specimen.labels.any()
    preview = logic.preview(specimen, name, Beam("naive"))
    preview.render(CArmPose(source_to_isocenter_mm=700.0), "preview")
    assert preview.last is not None and (preview.last.projection.label_bits & 1).any()
    _, inside = preview.last.camera.project(preview.scene.landmark_array(preview.task.landmark_names))
    assert inside.any()  # a wire is longer than the frame


def test_what_sees_the_ct_needs_labels(volume: Any) -> None:
    logic = SyntheXSimulateLogic()
    assert logic.needsLabels("hip") and logic.needsLabels("chest")
    with pytest.raises(SyntheXError, match="needs a label map"):
        logic.specimen(volume, None, None, "hip")


def test_a_case_without_labels_is_written_without(volume: Any, tmp_path: Path) -> None:
    case = writeCase(CaseNodes(volume, None), tmp_path, load_task("tool"))
    assert (case.labels, case.landmarks) == (None, None) and case.ct is not None and case.ct.exists()
    text = " ".join(commandOptions(case, "tool", GenerateSettings(3, tmp_path / "set")))
    assert "--labels" not in text and "--count 3" in text


def test_the_options_name_patients_rays_detector_and_given_views(tmp_path: Path) -> None:
    case = CaseFiles(tmp_path / "ct.nrrd", tmp_path / "labels.nrrd")
    settings = GenerateSettings(5, tmp_path, fullSize=True, imageSize=64, vary=3, oversample=2)
    text = " ".join(commandOptions(case, "hip", settings))
    for part in ("--image-size full", "--vary 3", "--oversample 2", "--count 5"):
        assert part in text
    text = " ".join(commandOptions(case, "hip", GenerateSettings(5, tmp_path, views=tmp_path / "views.json")))
    assert f"--matched {tmp_path / 'views.json'}" in text
    assert not {"--count", "--level", "--vary", "--oversample", "--resume"} & set(text.split())


def test_lesions_of_the_task_are_in_the_preview_and_its_masks(scene: Any, slicer_core: ModuleType) -> None:
    matrix = np.diag([6.0, 6.0, 6.0, 1.0])
    matrix[:3, 3] = -130
    hu, labels = np.full((44, 44, 44), -1000, np.int16), np.zeros((44, 44, 44), np.uint8)
    hu[2:42, 4:40, 2:42] = 40
    for number, side in ((10, slice(5, 19)), (12, slice(25, 39))):
        hu[6:38, 8:36, side], labels[6:38, 8:36, side] = -850, number
    ct = slicer_core.util.addVolumeFromArray(hu, matrix, "chest")
    lungs = slicer_core.util.addVolumeFromArray(labels, matrix, "lungs", "vtkMRMLLabelMapVolumeNode")
    logic = SyntheXSimulateLogic()
    specimen = logic.specimen(ct, lungs, None, "chest")
    bit = 1 << load_task("chest").structure_names.index("lesion")
    preview, again, other = (logic.preview(specimen, "chest", Beam("naive"), seed=seed) for seed in (1, 1, 2))
    preview.render(CArmPose(source_to_isocenter_mm=550.0), "preview")
    assert preview.last is not None and (preview.last.projection.label_bits & bit).any()
    assert not (specimen.labels & bit).any()
    np.testing.assert_array_equal(preview.specimen.hu, again.specimen.hu)
    assert (preview.specimen.hu != other.specimen.hu).any()


def test_given_views_of_a_tool_are_made_at_every_level_by_the_command(volume: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    view = {"world_to_camera": CArmPose(source_to_isocenter_mm=700.0).world_to_camera(np.zeros(3)).tolist()}
    (tmp_path / "views.json").write_text(json.dumps([view, view]), encoding="utf-8")
    settings = GenerateSettings(9, tmp_path / "set", 1, imageSize=32, views=tmp_path / "views.json")
    generation = SyntheXSimulateLogic().generate(volume, None, None, "tool", settings)
    deadline = time.monotonic() + 60
    while not generation.finished():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not generation.failed, generation.message()
    generation.close()
    naive, realistic = (XrayDataset(tmp_path / "set" / level) for level in ("naive", "realistic"))
    assert len(naive) == len(XrayDataset(tmp_path / "set/heuristic")) == len(realistic) == 2
    np.testing.assert_array_equal(naive[0].mask, realistic[0].mask)
    assert generation.dataset == realistic.folder
