"""The panels, set up and used under the stand-in for Slicer's application."""

import os
import unittest
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

MODULES = ("SyntheX", "SyntheXSimulate", "SyntheXTrain", "SyntheXInfer")


def picture(panel: Any, name: str) -> None:
    """Save a picture of the panel, 400 pixels wide, where SYNTHEX_SCREENSHOTS names a folder."""
    folder = os.environ.get("SYNTHEX_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        panel.show()
        panel.resize(400, panel.layout().heightForWidth(400))
        assert panel.grab().save(str(Path(folder, f"{name}.png")))


@pytest.mark.parametrize("name", MODULES)
def test_the_panel_is_set_up_and_fits_a_column_of_400_pixels(load: Any, name: str) -> None:
    _, _, panel = load(name)
    panel.resize(400, panel.sizeHint().height())
    panel.show()
    assert panel.minimumSizeHint().width() <= 400
    picture(panel, name)


@pytest.mark.parametrize("name", MODULES)
def test_the_modules_own_tests_pass(load: Any, name: str) -> None:
    module, _, _ = load(name)
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(getattr(module, f"{name}Test"))
    result = unittest.TestResult()
    suite.run(result)
    assert result.testsRun > 0
    assert not result.errors + result.failures, result.errors + result.failures


class FakePreview:
    """Renders into an empty node."""

    def __init__(self, scene: Any) -> None:
        self.specimen = SimpleNamespace(name="case", warnings=("Landmarks of case: FH-r not known.",))
        self.node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "case X-ray")
        self.node.SetAttribute("SyntheX.Geometry", "{}")
        self.beam = self.last = None
        self.views: list[tuple[Any, str]] = []

    def render(self, pose: Any, quality: str) -> Any:
        self.views.append((pose, quality))
        self.last = SimpleNamespace()
        return self.node


@pytest.fixture
def simulate(load: Any, scene: Any) -> Iterator[SimpleNamespace]:
    """The panel with CT, label map and landmarks in the scene, and a stand-in for what renders."""
    module, widget, _ = load("SyntheXSimulate")
    ui, logic = widget.ui, widget.logic
    assert not ui.renderButton.enabled
    assert ui.renderButton.toolTip == "Choose a CT first."
    assert not ui.liveCheckBox.enabled
    nodes = [scene.AddNewNodeByClass(f"vtkMRML{kind}Node", kind) for kind in ("ScalarVolume", "LabelMapVolume", "MarkupsFiducial")]
    ui.markupsSelector.setCurrentNode(nodes[2])
    ui.volumeSelector.setCurrentNode(nodes[0])
    preview = FakePreview(scene)
    logic.specimen, logic.preview = Mock(return_value=preview.specimen), Mock(return_value=preview)
    logic.showMasks = Mock(side_effect=lambda preview, node: node or scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "masks"))
    logic.showLandmarks = Mock(side_effect=lambda preview, node: node or scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points"))
    widget._view.cArm = Mock(beam=None, detector=None)
    yield SimpleNamespace(module=module, widget=widget, ui=ui, logic=logic, nodes=nodes, preview=preview)
    widget.cleanup()


def work(milliseconds: int) -> None:
    """Let Qt work for a while."""
    from PySide6.QtCore import QDeadlineTimer
    from PySide6.QtWidgets import QApplication

    end = QDeadlineTimer(milliseconds)
    while not end.hasExpired():
        QApplication.processEvents()


def test_the_simulate_panel_renders_once_ct_and_labels_are_chosen(simulate: SimpleNamespace, scene: Any) -> None:
    ui, preview = simulate.ui, simulate.preview
    assert ui.volumeSelector.currentNode() is simulate.nodes[0]  # a label map is no CT, though it is a volume
    assert ui.renderButton.enabled
    ui.laoRaoSlider.value, ui.cranCaudSlider.value = 20, -10
    work(10)
    assert preview.views == []  # not live
    ui.renderButton.click()
    simulate.logic.specimen.assert_called_once_with(*simulate.nodes, "hip")
    ((pose, quality),) = preview.views
    assert (pose.lao_rao_deg, pose.cran_caud_deg, pose.source_to_isocenter_mm, quality) == (20, -10, 700, "full")
    assert (preview.beam.level, preview.beam.kvp) == ("realistic", 90)
    assert ui.statusLabel.text == "Rendered case X-ray.\nLandmarks of case: FH-r not known."
    assert simulate.widget._view.cArm.show.call_count >= 1
    scene.RemoveNode(simulate.nodes[1])
    assert not ui.renderButton.enabled
    assert ui.renderButton.toolTip == "Choose a segmentation or label map first."


def test_the_simulate_panel_shows_previews_while_dragged_and_the_full_view_at_rest(simulate: SimpleNamespace) -> None:
    ui, views = simulate.ui, simulate.preview.views
    ui.liveCheckBox.checked = True
    work(400)
    assert [quality for _, quality in views] == ["preview", "full"]
    del views[:]
    for angle in range(1, 6):
        ui.laoRaoSlider.value = angle
        work(20)
    assert [(pose.lao_rao_deg, quality) for pose, quality in views] == [(angle, "preview") for angle in range(1, 6)]
    work(400)
    assert [(pose.lao_rao_deg, quality) for pose, quality in views[5:]] == [(5, "full")]
    assert simulate.logic.specimen.call_count == 1  # the patient is kept
    ui.levelBox.setCurrentIndex(0)
    work(20)
    assert simulate.preview.beam.level == "naive"


def test_an_error_while_live_ends_it_with_one_sentence(simulate: SimpleNamespace) -> None:
    from SyntheXLib.errors import SyntheXError

    simulate.logic.specimen.side_effect = SyntheXError("The CT has no bones.")
    simulate.ui.liveCheckBox.checked = True
    work(400)
    assert simulate.ui.statusLabel.text == "The CT has no bones."
    assert not simulate.ui.liveCheckBox.checked
    assert simulate.logic.specimen.call_count == 1


def test_masks_and_landmarks_are_shown_when_asked_for(simulate: SimpleNamespace) -> None:
    simulate.ui.renderButton.click()
    simulate.logic.showMasks.assert_not_called()
    simulate.ui.masksCheckBox.checked = simulate.ui.landmarksCheckBox.checked = True
    assert simulate.widget.parameters.masks.GetName() == "masks"
    assert simulate.widget.parameters.points.GetName() == "points"


def test_the_simulate_panel_says_why_export_and_the_3d_view_are_not_there(simulate: SimpleNamespace, tmp_path: Path) -> None:
    ui = simulate.ui
    assert (ui.exportButton.enabled, ui.exportButton.toolTip) == (False, "Render an X-ray first.")
    assert (ui.fromViewButton.enabled, ui.fromViewButton.toolTip) == (False, "There is no 3D view.")
    assert not ui.toViewButton.enabled
    ui.renderButton.click()
    assert ui.exportButton.toolTip == "Name a file first."
    ui.exportPath.currentPath = str(tmp_path / "xray.png")
    assert ui.exportButton.enabled
    simulate.logic.export = Mock(return_value=tmp_path / "xray.png")
    ui.exportButton.click()
    simulate.logic.export.assert_called_once_with(simulate.preview.node, str(tmp_path / "xray.png"))


def test_the_angles_of_the_3d_view_are_taken_in_one_render(simulate: SimpleNamespace, scene: Any) -> None:
    simulate.widget._view.camera = lambda: camera
    camera = scene.AddNewNodeByClass("vtkMRMLCameraNode")
    camera.SetPosition(500, 0, 0)  # from the patient's right, superior up: the detector is on the left
    camera.SetFocalPoint(0, 0, 0)
    camera.SetViewUp(0, 0, 1)
    simulate.widget.updateState()
    assert simulate.ui.fromViewButton.enabled
    simulate.ui.liveCheckBox.checked = True
    work(400)
    del simulate.preview.views[:]
    simulate.ui.fromViewButton.click()
    work(20)
    assert [quality for _, quality in simulate.preview.views] == ["preview"]
    assert (simulate.ui.laoRaoSlider.value, simulate.ui.cranCaudSlider.value, simulate.ui.rollSlider.value) == (90, 0, 0)


def test_the_table_lists_structures_and_landmarks_and_what_is_missing(simulate: SimpleNamespace, slicer_gui: ModuleType) -> None:

    labels = np.full((2, 2, 2), 77, np.uint8)
    slicer_gui.util.updateVolumeFromArray(simulate.nodes[1], labels)
    simulate.nodes[2].AddControlPoint((0.0, 0.0, 0.0), "FH-l")
    simulate.widget.updateState()
    table = simulate.ui.matchTable
    rows = {table.item(row, 0).text(): table.item(row, 1).text() for row in range(table.rowCount)}
    assert (rows["left_hemipelvis"], rows["right_hemipelvis"], rows["FH-l"], rows["FH-r"]) == ("label 77", "missing", "FH-l", "missing")
    assert simulate.ui.matchLabel.text == "Structures: 1 of 6 found; landmarks: 1 of 14."


def test_a_data_set_is_started_followed_and_cancelled(simulate: SimpleNamespace, tmp_path: Path) -> None:
    from SyntheXSimulateLib.generate import GenerateSettings, Progress
    from SyntheXSimulateLib.preview import Beam

    ui, button = simulate.ui, simulate.ui.generateButton
    assert (button.enabled, button.toolTip) == (False, "Name a folder first.")
    ui.generateFolder.currentPath = str(tmp_path)
    ui.countBox.value, ui.workersBox.value, ui.levelBox.currentIndex = 40, 2, 1
    run = Mock(folder=tmp_path)
    run.finished.return_value, run.progress.return_value, run.message.return_value = False, Progress(10, 40, 2.0, 75.0), "Done."
    simulate.logic.generate = Mock(return_value=run)
    button.click()
    simulate.logic.generate.assert_called_once_with(
        *simulate.nodes, "hip", GenerateSettings(40, tmp_path, 2, 0, Beam("heuristic"), device="cios-fusion")
    )
    assert button.text == "Cancel"
    assert not ui.countBox.enabled
    work(500)
    assert ui.generateLabel.text == "10 of 40 images, 2.0 a second, 1:15 left"
    assert (ui.generateBar.value, ui.generateBar.maximum) == (10, 40)
    button.click()
    run.cancel.assert_called_once_with()
    assert not button.enabled
    run.finished.return_value = True
    work(500)
    assert (ui.generateLabel.text, button.text, button.enabled, ui.countBox.enabled) == ("Done.", "Generate data set", True, True)


def test_the_simulate_panel_survives_the_scenes_close(simulate: SimpleNamespace, scene: Any) -> None:
    simulate.ui.liveCheckBox.checked = True
    simulate.ui.laoRaoSlider.value = 30
    scene.Clear(0)
    work(300)
    assert simulate.preview.views == []
    assert simulate.widget.parameters.laoRao == 0
    assert simulate.ui.laoRaoSlider.value == 0
    assert not simulate.ui.renderButton.enabled


def test_the_simulate_panel_comes_back_with_a_loaded_scene(simulate: SimpleNamespace, scene: Any) -> None:
    simulate.ui.laoRaoSlider.value, simulate.ui.countBox.value = 30, 7
    simulate.ui.renderButton.click()
    scene.SetSaveToXMLString(1)
    scene.Commit()
    text = scene.GetSceneXMLString()
    scene.Clear(0)
    assert simulate.ui.countBox.value == 100
    scene.SetLoadFromXMLString(1)
    scene.SetSceneXMLString(text)
    scene.Import()
    scene.SetLoadFromXMLString(0)
    scene.SetSaveToXMLString(0)
    assert (simulate.ui.laoRaoSlider.value, simulate.ui.countBox.value) == (30, 7)
    assert simulate.ui.volumeSelector.currentNode().GetName() == "ScalarVolume"
    assert simulate.widget.parameters.xray.GetName() == "case X-ray"
