"""The panels, set up and used under the stand-in for Slicer's application."""

import os
import unittest
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("SyntheX", "SyntheXSimulate", "SyntheXTrain", "SyntheXInfer")


@pytest.fixture
def load(slicer_gui: ModuleType, scene: Any) -> Any:
    """Load a module by name: (Python module, widget, panel)."""
    from standin.application import load_module

    return lambda name: load_module(ROOT / name / f"{name}.py")


@pytest.mark.parametrize("name", MODULES)
def test_the_panel_is_set_up_and_fits_a_column_of_400_pixels(load: Any, name: str) -> None:
    _, _, panel = load(name)
    panel.resize(400, panel.sizeHint().height())
    panel.show()
    assert panel.minimumSizeHint().width() <= 400
    folder = os.environ.get("SYNTHEX_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        panel.resize(400, panel.layout().heightForWidth(400))
        assert panel.grab().save(str(Path(folder, f"{name}.png")))


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
    widget.ui.datasetPath.currentPath = "/data/my set"
    assert widget.ui.commandText.plainText == ""
    assert not widget.ui.copyButton.enabled
    widget.ui.outputPath.currentPath = "/runs/1"
    widget.ui.epochsBox.value = 7
    command = widget.ui.commandText.plainText
    assert "train '/data/my set' --out /runs/1 --epochs 7" in command
    widget.ui.copyButton.click()
    assert QGuiApplication.clipboard().text() == command


def test_the_infer_panel_predicts_once_image_and_model_are_chosen(load: Any, scene: Any) -> None:
    _, widget, _ = load("SyntheXInfer")
    image = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "X-ray")
    assert not widget.ui.predictButton.enabled
    widget.ui.modelPath.currentPath = "/runs/1/model.pt"
    assert widget.ui.predictButton.enabled
    markups = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "landmarks")
    for index in range(3):
        markups.AddControlPoint((index, 0, 0), str(index))
    markups.SetNthControlPointPositionMissing(1)
    widget.logic.predict = Mock(return_value=(scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode"), markups))
    widget.ui.predictButton.click()
    widget.logic.predict.assert_called_once_with(image, "/runs/1/model.pt")
    assert widget.ui.statusLabel.text == "2 of 3 landmarks found."
