"""The Train panel's settings live in the scene: saved, loaded, closed, and there after the module was reloaded."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from train_run import run_folder

CHOSEN = {
    "dataset": "/data/a",
    "datasets": ["/data/b", "/data/c"],
    "validation": "/data/v",
    "export": "/models/x.pt",
    "preset": "paper-text",
    "size": "full",
    "randomization": "none",
    "epochs": 77,
    "device": "cpu",
    "chart": "landmark error",
    "picture": "best validation",
}


def choose(train: SimpleNamespace, folder: Path, slicer: ModuleType) -> None:
    """Change every setting in the panel, and make the nodes that it makes."""
    ui = train.ui
    for path in CHOSEN["datasets"]:
        ui.datasetPath.currentPath = path
        ui.addDatasetButton.click()
    ui.datasetPath.currentPath, ui.validationPath.currentPath = CHOSEN["dataset"], CHOSEN["validation"]
    ui.outputPath.currentPath, ui.exportPath.currentPath = str(folder), CHOSEN["export"]
    ui.epochsBox.value = CHOSEN["epochs"]
    for name in ("preset", "size", "randomization", "device", "chart", "picture"):
        box = getattr(ui, f"{name}Box")
        box.setCurrentIndex(box.findText(CHOSEN[name]))
    slicer.modules.plots = SimpleNamespace(logic=Mock())
    ui.plotButton.click()
    ui.sliceViewButton.click()


def check(widget: Any, folder: Path) -> None:
    """The settings are those that were chosen, in the panel too, and the nodes are known."""
    p, ui = widget.parameters, widget.ui
    assert {name: list(p.datasets) if name == "datasets" else getattr(p, name) for name in CHOSEN} == CHOSEN
    assert p.output == ui.outputPath.currentPath == str(folder)
    assert [ui.datasetList.item(n).text() for n in range(ui.datasetList.count)] == CHOSEN["datasets"]
    assert (ui.sizeBox.currentText, ui.epochsBox.value, ui.pictureBox.currentText) == ("full", 77, "best validation")
    assert p.table.GetNumberOfRows() == 2
    assert [chart.GetTitle() for chart in p.charts] == ["run: loss", "run: Dice", "run: landmark error"]
    assert p.pictureVolume.GetImageData().GetDimensions() == (60, 40, 1)
    assert widget._curves() is not None  # they go on following the training


@pytest.fixture
def archive(scene: Any, slicer_core: ModuleType, tmp_path: Path) -> Iterator[Path]:
    """A path for an .mrb file, and what its writing needs beyond the scene."""
    remote, manager = slicer_core.vtkMRMLRemoteIOLogic(), slicer_core.vtkDataIOManagerLogic()
    remote.SetMRMLScene(scene)
    remote.SetMRMLApplicationLogic(slicer_core.modules.application)
    remote.GetCacheManager().SetRemoteCacheDirectory(str(tmp_path))
    manager.SetMRMLApplicationLogic(slicer_core.modules.application)
    manager.SetAndObserveDataIOManager(remote.GetDataIOManager())
    remote.AddDataIOToScene()
    yield tmp_path / "scene.mrb"
    remote.RemoveDataIOFromScene()


def test_a_saved_scene_brings_everything_back(
    train: SimpleNamespace,
    scene: Any,
    slicer_gui: ModuleType,
    archive: Path,
    tmp_path: Path,
) -> None:
    folder = run_folder(tmp_path / "run")
    choose(train, folder, slicer_gui)
    check(train.widget, folder)
    assert scene.WriteToMRB(str(archive))
    scene.Clear(0)
    assert train.ui.epochsBox.value == 20 and train.ui.datasetPath.currentPath == "" and train.ui.datasetList.count == 0
    assert train.widget._curves() is None
    assert scene.ReadFromMRB(str(archive), 1)
    check(train.widget, folder)


def test_a_reloaded_module_finds_its_settings_and_asks_once(
    train: SimpleNamespace,
    load: Any,
    slicer_gui: ModuleType,
    tmp_path: Path,
) -> None:
    folder = run_folder(tmp_path / "run")
    choose(train, folder, slicer_gui)
    train.widget.cleanup()
    _, again, _ = load("SyntheXTrain")
    assert again is not train.widget
    check(again, folder)
    again.ui.epochsBox.value = 5
    assert train.ui.epochsBox.value == 77  # the old panel is let go
    again.cleanup()


def test_the_panel_can_be_used_after_the_scene_was_closed(
    train: SimpleNamespace, scene: Any, slicer_gui: ModuleType, tmp_path: Path
) -> None:
    folder = run_folder(tmp_path / "run")
    choose(train, folder, slicer_gui)
    for _ in range(2):
        scene.Clear(0)
        assert train.widget.parameters.output == ""
        choose(train, folder, slicer_gui)
        check(train.widget, folder)
