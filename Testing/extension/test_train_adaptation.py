"""The Train panel's further options, adaptation and studies, under the stand-in for Slicer's application."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from standin.window import picture
from train_run import run_folder

from SyntheXTrainLib.logic import SyntheXTrainLogic, TrainingState
from SyntheXTrainLib.study import StudyState


def wait_for(happened: Callable[[], Any], seconds: float = 240.0) -> None:
    """Let Qt work until it is true."""
    from PySide6.QtWidgets import QApplication

    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, f"did not happen within {seconds} s"
        QApplication.processEvents()
        time.sleep(0.05)


def test_every_further_option_stands_in_the_command(train: SimpleNamespace, squares: Path, scene: Any) -> None:
    ui = train.ui
    ui.datasetPath.currentPath, ui.outputPath.currentPath = str(squares), "/runs/1"
    plain = ui.commandText.plainText
    ui.advancedSection.collapsed = False
    ui.landmarkHeadBox.setCurrentIndex(1)
    ui.presenceCheckBox.checked = True
    ui.optimizerBox.setCurrentIndex(2)
    ui.scheduleBox.setCurrentIndex(1)
    ui.batchBox.value, ui.accumulationBox.value, ui.averageBox.value = 5, 4, 0.999
    ui.precisionBox.setCurrentIndex(1)
    ui.foldEdit.text = "2/5"
    ui.moreEdit.text = "--learning-rate 0.0003 --compile"
    command = ui.commandText.plainText
    for option in (
        """--network-options '{"landmark_head": "deep", "presence": true}'""",
        "--optimizer sgd --schedule cosine --batch 5 --accumulation 4 --average 0.999 --precision bfloat16 --fold 2/5",
        "--learning-rate 0.0003 --compile",
    ):
        assert option in command and option not in plain
    picture(train.panel, "SyntheXTrain_options")
    picture(train.panel, "SyntheXTrain_options_dark", dark=True)
    ui.networkBox.setCurrentIndex(1)
    assert "--network monai:SwinUNETR" in ui.commandText.plainText and "landmark_head" not in ui.commandText.plainText
    assert ui.landmarkHeadBox.toolTip == "The networks of MONAI have heads of their own."
    ui.moreEdit.text = "--pretrained 'a b"
    assert ui.startButton.toolTip == "The further options in Advanced cannot be read: a quotation mark is missing."
    scene.Clear(0)
    assert (ui.foldEdit.text, ui.moreEdit.text, ui.networkBox.currentIndex, ui.batchBox.value) == ("", "", 0, 0)


def test_the_options_of_the_panel_are_understood_by_the_command(train: SimpleNamespace, squares: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed; training needs it")
    import argparse

    from SyntheXLib.commands import train as command
    from SyntheXLib.training.config import TrainingConfig
    from SyntheXTrainLib.parameters import LANDMARK_HEADS, NETWORKS, OPTIMIZERS, PRECISIONS, SCHEDULES

    for name, values in (("optimizer", OPTIMIZERS[1:]), ("schedule", SCHEDULES[1:]), ("precision", PRECISIONS), ("network", NETWORKS)):
        for value in values:
            TrainingConfig(("data",), "run", **{name: value})
    from SyntheXLib.networks.heads import LANDMARK_HEADS as KNOWN

    assert list(KNOWN) == LANDMARK_HEADS
    ui = train.ui
    ui.livePath.currentPath, ui.outputPath.currentPath = "/cases.toml", "/runs/1"
    ui.liveImagesBox.value = 500
    assert ui.startButton.enabled and ui.physicsCheckBox.enabled
    ui.physicsCheckBox.checked = True
    words = SyntheXTrainLogic().trainingCommand(train.widget.config())
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    understood = parser.parse_args(words[words.index("train") :])
    assert (understood.live, understood.live_images, understood.physics_in_the_loop, understood.datasets) == ("/cases.toml", 500, True, [])
    ui.datasetPath.currentPath = str(squares)
    assert ui.startButton.toolTip == "Live cases take the place of data sets: remove one of the two."


def test_the_adaptation_says_what_it_needs_and_follows_its_run(train: SimpleNamespace, squares: Path, tmp_path: Path) -> None:
    ui, logic = train.ui, train.widget.logic
    assert ui.adaptStartButton.toolTip == "Needs a data set above and a target and an output folder."
    ui.datasetPath.currentPath, ui.targetPath.currentPath = str(squares), "/real"
    folder = tmp_path / "gan"
    ui.adaptOutputPath.currentPath = str(folder)
    assert ui.adaptStartButton.enabled and not ui.adaptModelPath.enabled
    assert ui.adaptModelPath.toolTip == "CycleGAN adapts images, not a network."
    ui.adaptPresetBox.setCurrentIndex(2)
    assert "no published code of the CycleGAN" in ui.adaptStartButton.toolTip
    ui.adaptMethodBox.setCurrentIndex(1)
    assert ui.adaptStartButton.toolTip == "Needs a model."
    ui.adaptModelPath.currentPath, ui.adaptTestPath.currentPath = "/run/model.pt", "/held out"
    ui.adaptRandomizationBox.setCurrentIndex(3)
    ui.adaptEpochsBox.value = 3
    logic.startAdaptation = Mock()
    ui.adaptStartButton.click()
    words = logic.adaptationCommand(logic.startAdaptation.call_args.args[0])
    expected = ["adda", str(squares), "--target", "/real", "--out", str(folder), "--model", "/run/model.pt", "--test", "/held out"]
    expected += ["--preset", "released-code", "--randomization", "strong", "--epochs", "3", "--device", "auto"]
    assert words[words.index("adapt") + 1 :] == expected
    logic.state = Mock(return_value=TrainingState("running", 2, 3, 0.5, 1.5, 4.0, 60.0))
    logic.stop, logic.resume = Mock(), Mock()
    ui.adaptationSection.collapsed = False
    train.widget.updatePanel()
    assert (ui.adaptStartButton.enabled, ui.adaptStopButton.enabled, ui.adaptProgressBar.value) == (False, True, 500)
    assert "epoch 2 of 3" in ui.adaptStatusLabel.text and train.widget.timer.active
    picture(train.panel, "SyntheXTrain_adaptation")
    picture(train.panel, "SyntheXTrain_adaptation_dark", dark=True)
    logic.state.return_value = TrainingState("stopped", 2, 3, 0.5)
    ui.adaptStopButton.click()
    logic.stop.assert_called_once_with(str(folder))
    assert ui.adaptResumeButton.enabled and not train.widget.timer.active
    ui.adaptResumeButton.click()
    logic.resume.assert_called_once_with(str(folder))
    run_folder(folder, 3, 3)
    logic.state.return_value = TrainingState("finished", 3, 3, 1.0)
    train.widget.updatePanel()
    assert ui.adaptStatusLabel.text == f"Finished: {folder / 'model.pt'}"
    assert ui.translateButton.toolTip == "Needs a finished CycleGAN and a folder."


def larger(squares: Path, folder: Path) -> Path:
    """The views of 64 pixels: a discriminator sees squares of 70."""
    from SyntheXLib.datasets.derived import write_dataset
    from SyntheXLib.datasets.reader import XrayDataset

    small = XrayDataset(squares)
    configuration = {**small.header.configuration, "image_size": 64, "pixel_spacing_mm": 4.0, "image_dtype": "float32"}

    def whole(place: int) -> Any:
        view = small[place]
        image, mask = (np.kron(part, np.ones((2, 2), part.dtype)) for part in (view.image, view.mask))
        return replace(view, image=image, mask=mask, landmarks=2 * view.landmarks + 0.5)

    write_dataset(folder, replace(small.header, configuration=configuration), (whole(place) for place in range(len(small))))
    return folder


def test_a_cyclegan_is_trained_from_the_panel_and_translates(train: SimpleNamespace, squares: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed; training needs it")
    from SyntheXLib.datasets.reader import XrayDataset

    ui, folder, squares = train.ui, tmp_path / "gan", larger(squares, tmp_path / "larger")
    ui.datasetPath.currentPath = ui.targetPath.currentPath = str(squares)
    ui.adaptOutputPath.currentPath, ui.translatedPath.currentPath = str(folder), str(tmp_path / "translated")
    ui.adaptEpochsBox.value = 1
    ui.deviceBox.setCurrentIndex(1)
    assert ui.translateButton.toolTip == "Needs a finished CycleGAN."
    ui.adaptStartButton.click()
    try:
        wait_for(lambda: not train.widget.logic.isRunning(folder))
    finally:
        train.widget.logic.stop(folder)
    train.widget.updatePanel()
    assert ui.adaptStatusLabel.text == f"Finished: {folder / 'translator.pt'}"
    ui.translateButton.click()
    assert ui.translateButton.toolTip == "It is being written."
    wait_for(lambda: ui.translateLabel.text.startswith("Wrote"))
    translated = XrayDataset(tmp_path / "translated")
    assert len(translated) == 12 and (translated[0].mask == XrayDataset(squares)[0].mask).all()
    assert train.remembered["SyntheX/LastDataset"] == str(tmp_path / "translated")
    train.widget.logic.deleteRun(folder)
    assert not folder.exists()


def test_what_hinders_an_adaptation_is_told(train: SimpleNamespace, squares: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed; training needs it")
    ui, folder = train.ui, tmp_path / "gan"
    ui.datasetPath.currentPath, ui.targetPath.currentPath = str(squares), str(tmp_path / "missing")
    ui.adaptOutputPath.currentPath = str(folder)
    ui.adaptStartButton.click()
    wait_for(lambda: not train.widget.logic.isRunning(folder))
    train.widget.updatePanel()
    assert ui.adaptStatusLabel.text.startswith("Failed: ") and str(tmp_path / "missing") in ui.adaptStatusLabel.text
    assert "synthex adapt" not in ui.adaptStatusLabel.text


TABLE = "| run | seeds | Dice | median error, mm |\n| --- | --- | --- | --- |\n| naive, none | 3 | 0.412 ± 0.031 | 22.10 ± 3.00 |\n"


def test_a_study_is_started_stopped_and_its_table_shown(train: SimpleNamespace, tmp_path: Path) -> None:
    ui, logic = train.ui, train.widget.logic
    assert ui.studyStartButton.toolTip == "Needs a study and an output folder."
    ui.studyPath.currentPath, ui.studyOutputPath.currentPath = "/study.toml", str(tmp_path)
    assert ui.studyStartButton.enabled and not ui.studyText.isVisibleTo(train.panel)
    logic.startStudy, logic.stop = Mock(), Mock()
    logic.studyState = Mock(return_value=StudyState("running", "train naive, none, seed 2", 5, 27))
    (tmp_path / "table.md").write_text(TABLE, encoding="utf-8")
    ui.studySection.collapsed = False
    ui.studyStartButton.click()
    logic.startStudy.assert_called_once_with("/study.toml", str(tmp_path), None)
    assert ui.studyStatusLabel.text == "Running, step 5 of 27: train naive, none, seed 2"
    assert (ui.studyStartButton.enabled, ui.studyStopButton.enabled, train.widget.timer.active) == (False, True, True)
    assert "0.412 ± 0.031" in ui.studyText.plainText and ui.studyText.isVisibleTo(train.panel)
    picture(train.panel, "SyntheXTrain_study")
    picture(train.panel, "SyntheXTrain_study_dark", dark=True)
    logic.studyState.return_value = StudyState("stopped")
    ui.studyStopButton.click()
    logic.stop.assert_called_once()
    assert ui.studyStatusLabel.text == "Stopped; Run goes on from there."


def test_where_a_study_stands_is_read_from_its_folder(tmp_path: Path, squares: Path) -> None:
    logic, out = SyntheXTrainLogic(), tmp_path / "out"
    assert logic.studyState(out).status == "none"
    study = tmp_path / "study.toml"
    # A set that takes no time, and no run: the whole way to a finished study.
    study.write_text('seeds = [1]\nsets = [{ name = "one", command = "merge" }]\nruns = []\n', encoding="utf-8")
    logic.startStudy(study, out)
    until = time.monotonic() + 120
    while logic.isRunning(out) and time.monotonic() < until:
        time.sleep(0.1)
    assert logic.studyState(out).status == "finished"
    assert logic.studyTable(out).startswith("| run |")
    study.write_text("seeds = 1\n", encoding="utf-8")
    logic.startStudy(study, out)
    while logic.isRunning(out) and time.monotonic() < until:
        time.sleep(0.1)
    state = logic.studyState(out)
    assert state.status == "failed" and str(study) in state.message
    (out / "output.log").write_text("[1/3] set one\n[2/3] train a, seed 1, some 4 min left\nepoch 1/2: loss 1\n", encoding="utf-8")
    record = json.loads((out / "process.json").read_text(encoding="utf-8"))
    (out / "process.json").write_text(json.dumps({**record, "pid": 1, "started": "long ago"}), encoding="utf-8")  # of another session
    (out / "table.md").unlink()
    assert logic.studyState(out) == StudyState("stopped", "train a, seed 1, some 4 min left", 2, 3)
