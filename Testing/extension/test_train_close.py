"""Closing Slicer while a training runs: leave it running, stop it, or stay."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from train_run import run_folder

from SyntheXTrainLib import process
from SyntheXTrainLib.process import ProcessRecord


@pytest.fixture
def closing(load: Any, remembered: Any, slicer_gui: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A main window, the panel watching a training that runs, and what the user answers."""
    from PySide6.QtWidgets import QMainWindow

    window = QMainWindow()
    monkeypatch.setattr(slicer_gui.util, "mainWindow", lambda: window)
    _, widget, _ = load("SyntheXTrain")
    from SyntheXTrainLib import close_question

    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    record: ProcessRecord = process.start(command, tmp_path / "output.log", os.environ)
    folder = run_folder(tmp_path / "run", record={"pid": record.pid, "started": record.started, "command": command})
    asked: list[list[str]] = []
    result = SimpleNamespace(window=window, widget=widget, record=record, folder=folder, asked=asked, answer="")
    monkeypatch.setattr(close_question, "ask", lambda folders: asked.append(folders) or result.answer)
    window.show()
    yield result
    process.end_tree(record, 1.0)
    widget.cleanup()


@pytest.mark.parametrize(("answer", "closes", "runs"), [("leave", True, True), ("stop", True, False), ("cancel", False, True)])
def test_closing_asks_while_a_training_runs(closing: SimpleNamespace, answer: str, closes: bool, runs: bool) -> None:
    closing.answer = answer
    closing.widget.ui.outputPath.currentPath = str(closing.folder)
    closing.widget.ui.outputPath.currentPath = "/elsewhere"  # it still runs
    assert closing.window.close() == closes
    assert closing.asked == [[str(closing.folder)]]
    assert closing.record.running == runs


def test_closing_does_not_ask_when_nothing_runs_or_the_module_is_unloaded(closing: SimpleNamespace) -> None:
    closing.answer = "cancel"
    assert closing.window.close()  # the panel knows of no training
    closing.window.show()
    closing.widget.ui.outputPath.currentPath = str(closing.folder)
    assert not closing.window.close()
    closing.widget.cleanup()
    assert closing.window.close()
    assert len(closing.asked) == 1


@pytest.mark.parametrize(("button", "answer"), [("Leave it running", "leave"), ("Stop it", "stop"), ("Keep Slicer open", "cancel")])
def test_the_question_has_three_answers(
    slicer_gui: ModuleType, load: Any, monkeypatch: pytest.MonkeyPatch, button: str, answer: str
) -> None:
    from PySide6.QtWidgets import QMessageBox

    load("SyntheXTrain")
    from SyntheXTrainLib.close_question import ask

    assert ask(["/runs/1"]) == "leave"  # in testing mode no window waits for an answer
    monkeypatch.setattr(slicer_gui.app, "testingEnabled", lambda: False)
    monkeypatch.setattr(slicer_gui.util, "mainWindow", lambda: None)

    def click(box: Any) -> int:
        folder = os.environ.get("SYNTHEX_SCREENSHOTS")
        if folder:
            box.show()
            box.grab().save(str(Path(folder, "SyntheXTrain_close.png")))
        assert "/runs/1" in box.text
        (wanted,) = [one for one in box.buttons() if one.text.replace("&", "") == button]
        wanted.click()
        return 0

    monkeypatch.setattr(QMessageBox, "exec", click)
    assert ask(["/runs/1"]) == answer
