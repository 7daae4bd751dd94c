"""The panels, set up and used under the stand-in for Slicer's application."""

import os
import unittest
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("SyntheX", "SyntheXSimulate", "SyntheXTrain", "SyntheXInfer")


@pytest.fixture
def load(slicer_gui: ModuleType, scene: Any) -> Any:
    """Load a module by name: (Python module, widget, panel)."""
    from standin.application import load_module

    return lambda name: load_module(ROOT / name / f"{name}.py")


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
def test_the_tests_in_the_module_file_pass(load: Any, name: str) -> None:
    module, _, _ = load(name)
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(getattr(module, f"{name}Test"))
    result = unittest.TestResult()
    suite.run(result)
    assert result.testsRun > 0
    assert not result.errors + result.failures, result.errors + result.failures


def test_the_home_panel_opens_the_other_modules(load: Any, slicer_gui: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    _, widget, _ = load("SyntheX")
    opened: list[str] = []
    monkeypatch.setattr(slicer_gui.util, "selectModule", opened.append)
    for button in (widget.ui.simulateButton, widget.ui.trainButton, widget.ui.inferButton):
        button.click()
    assert opened == ["SyntheXSimulate", "SyntheXTrain", "SyntheXInfer"]


def test_the_home_panel_loads_and_removes_samples_and_lists_packages(load: Any, scene: Any) -> None:
    _, widget, _ = load("SyntheX")
    assert "torch" in widget.ui.packageLabel.text
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "pelvis")
    widget.logic.loadSample = Mock(return_value=(volume, None, None))
    widget.logic.removeSamples = Mock(return_value=25_000_000)
    widget.ui.sampleBox.setCurrentIndex(widget.ui.sampleBox.findText("pelvis"))
    widget.ui.loadButton.click()
    widget.logic.loadSample.assert_called_once_with("pelvis")
    assert widget.ui.statusLabel.text == "Loaded pelvis."
    widget.ui.removeButton.click()
    widget.logic.removeSamples.assert_called_once_with()
    assert "25.0 MB" in widget.ui.statusLabel.text


def test_the_simulate_panel_renders_once_ct_and_labels_are_chosen(load: Any, scene: Any) -> None:
    _, widget, _ = load("SyntheXSimulate")
    assert not widget.ui.renderButton.enabled
    nodes = [scene.AddNewNodeByClass(f"vtkMRML{kind}Node", kind) for kind in ("ScalarVolume", "LabelMapVolume", "MarkupsFiducial")]
    widget.ui.markupsSelector.setCurrentNode(nodes[2])
    assert widget.ui.volumeSelector.currentNode() is nodes[0]  # a label map is no CT, though it is a volume
    assert widget.ui.renderButton.enabled
    specimen = SimpleNamespace(name="case", warnings=("Landmarks of case: FH-r not known.",))
    widget.logic.specimen = Mock(return_value=specimen)
    widget.logic.renderXray = Mock(return_value=scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "case X-ray"))
    widget.ui.laoRaoBox.value, widget.ui.cranCaudBox.value = 20, -10
    widget.ui.renderButton.click()
    widget.logic.specimen.assert_called_once_with(*nodes, "hip")
    widget.logic.renderXray.assert_called_once_with(specimen, "hip", 20, -10)
    assert widget.ui.statusLabel.text == "Rendered case X-ray.\nLandmarks of case: FH-r not known."
    scene.RemoveNode(nodes[1])
    assert not widget.ui.renderButton.enabled


def test_the_train_panel_writes_and_copies_the_command(load: Any) -> None:
    from PySide6.QtGui import QGuiApplication

    _, widget, _ = load("SyntheXTrain")
    ui = widget.ui
    ui.datasetPath.currentPath = "/data/my set"
    assert ui.commandText.plainText == ""
    assert not ui.copyButton.enabled and not ui.startButton.enabled
    assert ui.startButton.toolTip == "Needs an output folder."
    ui.outputPath.currentPath = "/runs/1"
    ui.epochsBox.value = 7
    command = ui.commandText.plainText
    assert "train '/data/my set' --out /runs/1 --preset ours --randomization regular --epochs 7 --device auto" in command
    ui.sizeBox.setCurrentIndex(2)
    assert "--size medium" in ui.commandText.plainText
    ui.copyButton.click()
    assert QGuiApplication.clipboard().text() == ui.commandText.plainText


def test_the_train_panel_starts_watches_stops_and_resumes(load: Any, scene: Any, slicer_gui: ModuleType, tmp_path: Path) -> None:
    from SyntheXTrainLib.logic import TrainingState

    _, widget, panel = load("SyntheXTrain")
    ui, logic = widget.ui, Mock(wraps=widget.logic)
    logic.state = Mock(return_value=TrainingState("none"))
    logic.start, logic.stop, logic.resume, logic.history = Mock(), Mock(), Mock(), Mock(return_value=[])
    widget.logic = logic
    ui.datasetPath.currentPath, ui.outputPath.currentPath = "/data", str(tmp_path)
    ui.epochsBox.value = 3
    assert (ui.startButton.enabled, ui.stopButton.enabled, ui.resumeButton.enabled) == (True, False, False)
    logic.state.return_value = TrainingState("running", 2, 3, 0.4, 0.6, 31.0, 125.0)
    logic.history.return_value = [{"epoch": 1.0, "loss": 0.8, "validation_dice": 0.5}]
    ui.startButton.click()
    config = logic.start.call_args.args[0]
    assert (config["datasets"], config["out"], config["epochs"], config["size"]) == (["/data"], str(tmp_path), 3, None)
    assert (ui.startButton.enabled, ui.stopButton.enabled, ui.resumeButton.enabled) == (False, True, False)
    assert ui.startButton.toolTip == "A training runs in the output folder."
    assert ui.progressBar.value == 400
    assert "epoch 2 of 3" in ui.statusLabel.text and "2 min 5 s left" in ui.statusLabel.text
    assert widget.timer.active
    ui.modelEdit.text = "/runs/pelvis/best.pt"
    picture(panel, "SyntheXTrain_running")
    slicer_gui.modules.plots = SimpleNamespace(logic=Mock())
    ui.chartBox.setCurrentIndex(1)
    ui.plotButton.click()
    (chart,) = slicer_gui.modules.plots.logic().ShowChartInLayout.call_args.args
    assert chart.GetTitle() == f"{tmp_path.name}: Dice"
    logic.state.return_value = TrainingState("stopped", 2, 3, 0.4)
    ui.stopButton.click()
    logic.stop.assert_called_once_with(str(tmp_path))
    assert (ui.startButton.enabled, ui.stopButton.enabled, ui.resumeButton.enabled) == (True, False, True)
    assert not widget.timer.active
    ui.resumeButton.click()
    logic.resume.assert_called_once_with(str(tmp_path))
    logic.state.return_value = TrainingState("failed", message="Data set /data does not exist.")
    widget.updatePanel()
    assert ui.statusLabel.text == "Failed: Data set /data does not exist."
    scene.Clear(0)
    widget.updatePanel()  # the nodes of the curves are gone
    widget.cleanup()


def points(scene: Any, count: int) -> Any:
    """Landmarks of which the second is uncertain."""
    markups = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "landmarks")
    for index in range(count):
        markups.AddControlPoint((index, 0, 0), str(index))
    markups.SetNthControlPointSelected(1, False)
    return markups


def test_the_infer_panel_predicts_evaluates_and_deletes(load: Any, scene: Any, slicer_gui: ModuleType) -> None:
    module, widget, panel = load("SyntheXInfer")
    ui = widget.ui
    image = slicer_gui.util.addVolumeFromArray(np.zeros((1, 4, 5), np.uint8), np.eye(4), "X-ray")
    assert not ui.predictButton.enabled
    assert ui.predictButton.toolTip == "Needs a model file."
    ui.modelPath.currentPath = "/runs/1/model.pt"
    assert ui.predictButton.enabled
    ui.polarityBox.setCurrentIndex(1)
    ui.thresholdBox.value = 0.8
    segmentation, markups = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "structures"), points(scene, 3)
    widget.logic.predict = Mock(return_value=module.FoundNodes(segmentation, (markups,)))
    assert not ui.deleteButton.enabled
    ui.predictButton.click()
    widget.logic.predict.assert_called_once_with(
        image, "/runs/1/model.pt", series=False, threshold=0.8, device="auto", polarity="bone-dark", intensity="log"
    )
    assert ui.statusLabel.text == "2 of 3 landmarks found; the others are shown grey."
    assert ui.evaluateButton.toolTip == "Needs a reference."
    truth = points(scene, 3)
    ui.referenceMarkupsSelector.setCurrentNode(truth)
    ui.evaluateButton.click()
    assert ui.statusLabel.text == "Table: X-ray evaluation"
    assert ui.resultTable.model().rowCount() == 3
    picture(panel, "SyntheXInfer_result")
    ui.deleteButton.click()
    assert segmentation.GetScene() is None and markups.GetScene() is None
    assert not ui.deleteButton.enabled
    scene.Clear(0)
    assert not ui.predictButton.enabled and not ui.evaluateButton.enabled


def test_the_infer_panel_takes_frames_and_asks_nothing_that_is_known(load: Any, scene: Any, slicer_gui: ModuleType) -> None:
    _, widget, _ = load("SyntheXInfer")
    run = slicer_gui.util.addVolumeFromArray(np.zeros((3, 4, 5), np.uint8), np.eye(4), "run")
    run.SetAttribute("SyntheX.Intensity", "linear")
    widget.updatePanel()
    assert widget.ui.predictButton.text == "Find them in 3 frames"
    assert not widget.ui.polarityBox.enabled
    assert widget.ui.polarityBox.toolTip == "Known: the image was made by SyntheX."
