"""The Train panel under the stand-in for Slicer's application: settings, data sets, pictures, a training, what comes after it."""

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from standin.window import picture
from train_run import page, run_folder


def test_the_command_follows_the_choices_and_is_copied(train: SimpleNamespace, squares: Path) -> None:
    from PySide6.QtGui import QGuiApplication

    ui = train.ui
    ui.datasetPath.currentPath = str(squares)
    assert ui.commandText.plainText == ""
    assert not ui.copyButton.enabled and not ui.startButton.enabled
    assert ui.startButton.toolTip == "Needs an output folder."
    ui.outputPath.currentPath = "/runs/1"
    ui.epochsBox.value = 7
    command = ui.commandText.plainText
    assert f"train {squares} --out /runs/1 --preset ours --randomization regular --epochs 7 --device auto" in command
    ui.sizeBox.setCurrentIndex(2)
    assert "--size medium" in ui.commandText.plainText
    ui.copyButton.click()
    assert QGuiApplication.clipboard().text() == ui.commandText.plainText


def test_a_full_network_needs_a_file_or_a_random_start(train: SimpleNamespace, squares: Path, scene: Any) -> None:
    ui = train.ui
    ui.datasetPath.currentPath, ui.outputPath.currentPath = str(squares), "/runs/1"
    assert not ui.randomStartCheckBox.enabled and "--random-start" not in ui.commandText.plainText
    for box, index in ((ui.sizeBox, 3), (ui.presetBox, 1)):  # the preset of the paper's text is of that size
        ui.sizeBox.setCurrentIndex(0)
        box.setCurrentIndex(index)
        assert ui.startButton.toolTip == "The size full needs a pretrained file or a random start, see Advanced."
        assert not ui.startButton.enabled and ui.commandText.plainText == ""
        ui.randomStartCheckBox.checked = True
        assert ui.startButton.enabled and "--random-start" in ui.commandText.plainText
        ui.pretrainedPath.currentPath = "/weights/R50+ViT-B_16.npz"
        assert not ui.randomStartCheckBox.enabled and "--random-start" not in ui.commandText.plainText
        assert "--pretrained /weights/R50+ViT-B_16.npz" in ui.commandText.plainText
        ui.randomStartCheckBox.checked, ui.pretrainedPath.currentPath = False, ""
    ui.advancedSection.collapsed = False
    ui.randomizationPresetBox.setCurrentIndex(2)
    ui.pretrainedPath.currentPath = "/weights/a.pt"
    assert "--randomization-preset paper-text" in ui.commandText.plainText
    picture(train.panel, "SyntheXTrain_advanced")
    p = train.widget.parameters
    assert (p.randomizationPreset, p.pretrained, p.randomStart) == ("paper-text", "/weights/a.pt", False)
    scene.Clear(0)
    assert ui.pretrainedPath.currentPath == "" and ui.randomizationPresetBox.currentIndex == 0


def test_physics_in_the_loop_needs_stored_area_densities(train: SimpleNamespace, squares: Path, tmp_path: Path) -> None:
    import json
    import shutil

    ui, dense = train.ui, tmp_path / "dense"
    shutil.copytree(squares, dense)
    header = json.loads((dense / "dataset.json").read_text(encoding="utf-8"))
    header["configuration"]["materials"] = ["soft tissue", "cortical bone"]
    (dense / "dataset.json").write_text(json.dumps(header), encoding="utf-8")
    ui.outputPath.currentPath = "/runs/1"
    assert ui.physicsCheckBox.toolTip == "Needs a data set."
    ui.datasetPath.currentPath = str(dense)
    assert ui.physicsCheckBox.enabled and "--physics-in-the-loop" not in ui.commandText.plainText
    ui.physicsCheckBox.checked = True
    assert "--physics-in-the-loop" in ui.commandText.plainText and train.widget.parameters.physicsInTheLoop
    ui.datasetPath.currentPath = str(squares)
    assert not ui.physicsCheckBox.enabled and "stores images alone" in ui.physicsCheckBox.toolTip
    assert "--physics-in-the-loop" not in ui.commandText.plainText


def test_every_choice_is_one_of_the_librarys(train: SimpleNamespace) -> None:
    pytest.importorskip("torch", reason="torch is not installed; training needs it")
    from SyntheXLib.training.config import PRESETS, TrainingConfig
    from SyntheXTrainLib.parameters import FULL_PRESETS

    def texts(box: Any) -> list[str]:
        return [box.itemText(n) for n in range(box.count)]

    ui = train.ui
    assert texts(ui.presetBox) == list(PRESETS)
    assert [name for name in PRESETS if PRESETS[name].get("size") == "full"] == list(FULL_PRESETS)
    for preset in texts(ui.randomizationPresetBox)[1:]:
        TrainingConfig(("data",), "run", randomization_preset=preset)
    for size in texts(ui.sizeBox)[1:]:
        for randomization in texts(ui.randomizationBox):
            TrainingConfig(("data",), "run", size=size, randomization=randomization)


def test_several_data_sets_are_listed_summarised_and_checked(train: SimpleNamespace, squares: Path, tmp_path: Path) -> None:
    import json
    import shutil

    ui, other, strange = train.ui, tmp_path / "other", tmp_path / "strange"
    for folder in (other, strange):
        shutil.copytree(squares, folder)
    header = json.loads((strange / "dataset.json").read_text())
    header["task"]["name"] = "hand"
    (strange / "dataset.json").write_text(json.dumps(header))
    assert ui.addDatasetButton.toolTip == "Needs a folder."
    ui.datasetPath.currentPath = str(squares)
    assert ui.summaryLabel.text.endswith("6 structures, 14 landmarks. 12 images of 32 px, specimens: 1 (squares).")
    ui.addDatasetButton.click()
    assert (ui.datasetPath.currentPath, ui.datasetList.count) == ("", 1)
    ui.datasetPath.currentPath = str(squares)
    assert ui.addDatasetButton.toolTip == "It is in the list."
    ui.datasetPath.currentPath = str(other)
    assert "24 images" in ui.summaryLabel.text
    assert train.widget.config()["datasets"] == [str(squares), str(other)]
    ui.addDatasetButton.click()
    ui.outputPath.currentPath = str(tmp_path / "run")
    assert ui.startButton.enabled
    picture(train.panel, "SyntheXTrain_datasets")
    ui.datasetPath.currentPath = str(strange)
    assert f"Data sets {squares} and {strange} must have the same task, found 'hip' and 'hand'." == ui.summaryLabel.text
    assert ui.startButton.toolTip == ui.summaryLabel.text and not ui.samplesButton.enabled
    ui.datasetPath.currentPath = ""
    ui.validationPath.currentPath = str(strange)
    assert "must have the same task" in ui.startButton.toolTip
    ui.validationPath.currentPath = ""
    ui.datasetList.setCurrentRow(0)
    ui.removeDatasetButton.click()
    assert train.widget.config()["datasets"] == [str(other)]
    ui.removeDatasetButton.click()
    assert not ui.startButton.enabled and squares.exists()
    ui.datasetPath.currentPath = str(tmp_path / "nothing")
    assert "nothing is not a data set" in ui.summaryLabel.text


def test_a_training_is_started_watched_stopped_and_resumed(
    train: SimpleNamespace, scene: Any, slicer_gui: ModuleType, squares: Path, tmp_path: Path
) -> None:
    from SyntheXTrainLib.logic import TrainingState

    widget, ui = train.widget, train.ui
    logic = widget.logic
    folder = run_folder(tmp_path / "pelvis")
    logic.state = Mock(return_value=TrainingState("none"))
    logic.start, logic.stop, logic.resume = Mock(), Mock(), Mock()
    ui.datasetPath.currentPath, ui.outputPath.currentPath = str(squares), str(folder)
    ui.epochsBox.value = 3
    assert (ui.startButton.enabled, ui.stopButton.enabled, ui.resumeButton.enabled) == (True, False, False)
    logic.state.return_value = TrainingState("running", 2, 3, 0.4, 0.6, 31.0, 125.0)
    ui.startButton.click()
    config = logic.start.call_args.args[0]
    assert (config["datasets"], config["out"], config["epochs"], config["size"]) == ([str(squares)], str(folder), 3, None)
    assert train.remembered["SyntheX/LastTraining"] == str(folder)
    assert (ui.startButton.enabled, ui.stopButton.enabled, ui.resumeButton.enabled) == (False, True, False)
    assert ui.startButton.toolTip == ui.deleteButton.toolTip == "A training runs in the output folder."
    assert ui.progressBar.value == 400
    assert "epoch 2 of 3" in ui.statusLabel.text and "2 min 5 s left" in ui.statusLabel.text
    assert widget.timer.active
    assert ui.modelEdit.text == str(folder / "best.pt")
    slicer_gui.modules.plots = SimpleNamespace(logic=Mock())
    ui.chartBox.setCurrentIndex(1)
    ui.plotButton.click()
    (chart,) = slicer_gui.modules.plots.logic().ShowChartInLayout.call_args.args
    assert chart.GetTitle() == "pelvis: Dice"
    ui.plotButton.click()
    assert scene.GetNumberOfNodesByClass("vtkMRMLPlotChartNode") == 3  # the same again
    run_folder(folder, done=3, epochs=4)
    widget.updatePanel()
    assert widget.parameters.table.GetNumberOfRows() == 3  # the curves follow
    logic.state.return_value = TrainingState("stopped", 2, 3, 0.4)
    ui.stopButton.click()
    logic.stop.assert_called_once_with(str(folder))
    assert (ui.startButton.enabled, ui.stopButton.enabled, ui.resumeButton.enabled) == (True, False, True)
    assert not widget.timer.active
    ui.resumeButton.click()
    logic.resume.assert_called_once_with(str(folder))
    logic.state.return_value = TrainingState("failed", message="Data set /data does not exist.")
    widget.updatePanel()
    assert ui.statusLabel.text == "Failed: Data set /data does not exist."
    assert "SyntheX/LastModel" not in train.remembered
    logic.state.return_value = TrainingState("running", 3, 3, 0.9)
    widget.updatePanel()
    logic.state.return_value = TrainingState("finished", 3, 3, 1.0)
    widget.updatePanel()
    assert train.remembered["SyntheX/LastModel"] == str(folder / "best.pt")
    scene.Clear(0)
    widget.updatePanel()  # the nodes of the curves are gone


def wait_for(happened: Callable[[], Any], seconds: float = 60.0) -> None:
    """Let Qt work until it is true."""
    import time

    from PySide6.QtWidgets import QApplication

    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, f"did not happen within {seconds} s"
        QApplication.processEvents()
        time.sleep(0.02)


def test_samples_are_drawn_by_a_child_process_and_shown(train: SimpleNamespace, scene: Any, squares: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed; training needs it")
    ui = train.ui
    assert ui.samplesButton.toolTip == "Needs a data set."
    ui.datasetPath.currentPath, ui.outputPath.currentPath = str(squares), str(tmp_path / "run")
    ui.deviceBox.setCurrentIndex(1)
    assert ui.sliceViewButton.toolTip == "Press Show samples first."
    ui.samplesButton.click()
    assert ui.samplesLabel.text == "Drawing samples ..." and ui.samplesButton.toolTip == "The page is being drawn."
    wait_for(lambda: ui.samplesButton.enabled)
    assert ui.samplesLabel.text == ""
    assert ui.pictureLabel.isVisibleTo(train.panel)
    drawn = ui.pictureLabel.pixmap.toImage()
    assert drawn.height() / drawn.width() == pytest.approx(1024 / 768, abs=0.01)
    assert not (tmp_path / "run").exists()
    picture(train.panel, "SyntheXTrain_samples")
    picture(train.panel, "SyntheXTrain_samples_dark", dark=True)
    ui.sliceViewButton.click()
    node = train.widget.parameters.pictureVolume
    assert node.GetImageData().GetDimensions() == (768, 1024, 1)
    ui.sliceViewButton.click()
    assert scene.GetNumberOfNodesByClass("vtkMRMLVectorVolumeNode") == 1
    kept = train.widget._pictures._page.folder
    assert kept.is_dir()
    train.widget.cleanup()
    assert not kept.exists()


def test_what_hinders_the_samples_is_told(train: SimpleNamespace, squares: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed; training needs it")
    ui = train.ui
    ui.datasetPath.currentPath = str(squares)
    next(squares.glob("shards/*.h5")).rename(squares / "aside")
    try:
        ui.samplesButton.click()
        wait_for(lambda: ui.samplesLabel.text != "Drawing samples ...")
    finally:
        (squares / "aside").rename(squares / "shards" / "00000.h5")
    assert "shards" in ui.samplesLabel.text and "\n" not in ui.samplesLabel.text
    assert not ui.pictureLabel.isVisibleTo(train.panel)


def test_pictures_of_the_validation_follow_the_run(train: SimpleNamespace, tmp_path: Path) -> None:
    ui, folder = train.ui, run_folder(tmp_path / "run")

    def red() -> int:
        image = ui.pictureLabel.pixmap.toImage()
        return image.pixelColor(image.width() // 4, image.height() // 2).red()

    ui.outputPath.currentPath = str(folder)
    ui.pictureBox.setCurrentIndex(1)
    assert red() == pytest.approx(120, abs=2)
    page(folder / "validation" / "epoch_003.png", 180)
    train.widget.updatePanel()
    assert red() == pytest.approx(180, abs=2)
    ui.pictureBox.setCurrentIndex(2)
    assert red() == pytest.approx(200, abs=2)
    train.widget.updatePanel()
    ui.sliceViewButton.click()
    node = train.widget.parameters.pictureVolume
    assert node.GetName() == "run best"
    ui.outputPath.currentPath = str(tmp_path / "elsewhere")
    assert not ui.pictureLabel.isVisibleTo(train.panel)
    assert ui.sliceViewButton.toolTip == "No epoch is finished yet."


def test_the_model_is_copied_exported_used_and_deleted(
    train: SimpleNamespace, slicer_gui: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PySide6.QtGui import QGuiApplication

    ui, folder = train.ui, run_folder(tmp_path / "run", 2, 2)
    (folder / "notes.txt").write_text("mine")
    assert [button.toolTip for button in (ui.copyPathButton, ui.exportButton, ui.inferButton)] == ["There is no model yet."] * 3
    assert ui.deleteButton.toolTip == "There is no training in the output folder."
    ui.outputPath.currentPath = str(folder)
    assert ui.statusLabel.text == "Finished."
    ui.copyPathButton.click()
    assert QGuiApplication.clipboard().text() == str(folder / "best.pt")
    assert ui.exportButton.toolTip == "Needs a file."
    ui.exportPath.currentPath = str(tmp_path / "models" / "hip.pt")
    ui.exportButton.click()
    assert (tmp_path / "models" / "hip.pt").read_bytes() == b"the best"
    assert ui.exportLabel.text == f"Wrote {tmp_path / 'models' / 'hip.pt'}."
    picture(train.panel, "SyntheXTrain_result")
    opened: list[str] = []
    monkeypatch.setattr(slicer_gui.util, "selectModule", opened.append)
    ui.inferButton.click()
    assert (opened, train.remembered["SyntheX/LastModel"]) == (["SyntheXInfer"], str(folder / "best.pt"))
    monkeypatch.setattr(slicer_gui.util, "confirmYesNoDisplay", lambda text: False)
    ui.deleteButton.click()
    assert (folder / "best.pt").exists()
    monkeypatch.setattr(slicer_gui.util, "confirmYesNoDisplay", lambda text: True)
    ui.deleteButton.click()
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert not ui.deleteButton.enabled and ui.modelEdit.text == ""


def test_what_was_made_and_started_last_is_found_again(load: Any, remembered: dict[str, str], squares: Path, tmp_path: Path) -> None:
    import sys
    import time

    from SyntheXTrainLib import process

    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    record = process.start(command, tmp_path / "output.log", os.environ)
    try:
        folder = run_folder(tmp_path / "run", record={"pid": record.pid, "started": record.started, "command": command})
        remembered.update({"SyntheX/LastDataset": str(squares), "SyntheX/LastTraining": str(folder)})
        _, widget, _ = load("SyntheXTrain")
        assert (widget.ui.datasetPath.currentPath, widget.ui.outputPath.currentPath) == (str(squares), str(folder))
        assert widget.ui.stopButton.enabled and widget.timer.active
        widget.ui.stopButton.click()
        assert widget.ui.statusLabel.text.startswith("Stopped")
        widget.cleanup()
    finally:
        process.end_tree(record, 1.0)
    time.sleep(0)
    remembered.update({"SyntheX/LastDataset": str(tmp_path), "SyntheX/LastTraining": str(tmp_path / "gone")})
    from slicer import mrmlScene

    mrmlScene.Clear(0)
    _, widget, _ = load("SyntheXTrain")
    assert (widget.ui.datasetPath.currentPath, widget.ui.outputPath.currentPath) == ("", "")
    widget.cleanup()
