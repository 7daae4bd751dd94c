"""From the choices of the panel to a training in a process of its own, and what is read of it while it runs."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from SyntheXLib.commands import train
from SyntheXLib.errors import SyntheXError
from SyntheXTrainLib import process
from SyntheXTrainLib.logic import RECORD, SyntheXTrainLogic
from SyntheXTrainLib.process import ProcessRecord

posix = pytest.mark.skipif(os.name == "nt", reason="taskkill ends the tree there")


def wait_for(happened: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What `happened` gives once it is true."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := happened():
            return value
        time.sleep(0.05)
    raise AssertionError(f"did not happen within {seconds} s")


def test_the_command_line_means_what_was_asked_for() -> None:
    asked = {"datasets": ["one set", "two"], "out": "run 1", "epochs": 3, "learning_rate": 0.02, "seed": None, "restart": True}
    command = SyntheXTrainLogic().trainingCommand(asked)
    parser = argparse.ArgumentParser()
    train.add(parser.add_subparsers())
    understood = parser.parse_args(command[command.index("train") :])
    assert understood.datasets == ["one set", "two"]
    assert understood.out == Path("run 1")
    assert (understood.epochs, understood.learning_rate, understood.seed, understood.restart) == (3, 0.02, None, True)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Folder of a run; whatever runs there is ended afterwards."""
    yield tmp_path / "run"
    SyntheXTrainLogic().stop(tmp_path / "run", 1.0)


@pytest.fixture
def settings(squares: Path, folder: Path) -> dict[str, Any]:
    pytest.importorskip("torch", reason="torch is not installed; training needs it")
    return {"datasets": [squares], "out": folder, "epochs": 2, "batch": 4, "threads": 1, "device": "cpu", "validation_fraction": 0.25}


def test_a_training_runs_to_its_end_and_tells_of_it(settings: dict[str, Any], folder: Path) -> None:
    logic = SyntheXTrainLogic()
    assert logic.state(folder).status == "none"
    logic.start(settings)
    assert logic.state(folder).status == "running"
    with pytest.raises(SyntheXError, match="A training runs in"):
        logic.start(settings)
    wait_for(lambda: not logic.isRunning(folder))
    state = logic.state(folder)
    assert (state.status, state.message) == ("finished", "")
    assert (state.epoch, state.epochs, state.share) == (2, 2, 1.0)
    assert [row["epoch"] for row in logic.history(folder)] == [1.0, 2.0]
    assert logic.modelPath(folder) == folder / "best.pt"
    assert logic.modelPath(folder, best=False) == folder / "model.pt"
    logic.start({**settings, "epochs": 3})
    wait_for(lambda: not logic.isRunning(folder))
    assert logic.state(folder).status == "failed"
    assert "its option 'epochs' was 2, now it is 3" in logic.state(folder).message
    logic.start(settings)
    wait_for(lambda: not logic.isRunning(folder))
    assert (logic.state(folder).status, logic.state(folder).share) == ("finished", 1.0)


def test_a_stopped_training_is_found_by_another_session_and_goes_on(settings: dict[str, Any], folder: Path, monkeypatch: Any) -> None:
    logic = SyntheXTrainLogic()
    logic.start({**settings, "epochs": 500})
    wait_for(lambda: len(logic.history(folder)) >= 1)
    children = dict(process._OWN)
    monkeypatch.setattr(process, "_OWN", {})  # a new session knows no children
    assert SyntheXTrainLogic().state(folder).status == "running"
    assert SyntheXTrainLogic().state(folder).epochs == 500
    SyntheXTrainLogic().stop(folder)
    monkeypatch.setattr(process, "_OWN", children)
    stopped = logic.state(folder)
    assert (stopped.status, stopped.message) == ("stopped", "")
    done = len(logic.history(folder))
    logic.resume(folder)
    wait_for(lambda: len(logic.history(folder)) > done)
    assert [row["epoch"] for row in logic.history(folder)][: done + 1] == [float(n + 1) for n in range(done + 1)]
    logic.stop(folder)
    assert not logic.isRunning(folder)


def test_what_is_wrong_is_told_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed; training needs it")
    logic = SyntheXTrainLogic()
    logic.start({"datasets": [tmp_path / "missing"], "out": folder})
    wait_for(lambda: not logic.isRunning(folder))
    state = logic.state(folder)
    assert state.status == "failed"
    assert str(tmp_path / "missing") in state.message
    assert "\n" not in state.message


def test_only_a_training_that_was_started_is_resumed(folder: Path) -> None:
    with pytest.raises(SyntheXError, match=r"expected a training that was started here, found no process\.json"):
        SyntheXTrainLogic().resume(folder)


TREE = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


@posix
@pytest.mark.parametrize("deaf", [True, False])
def test_ending_a_process_ends_its_children_even_if_it_does_not_listen(tmp_path: Path, deaf: bool) -> None:
    code = TREE if deaf else TREE.replace("SIG_IGN", "SIG_DFL")
    record = process.start([sys.executable, "-c", code], tmp_path / "output.log", os.environ)
    child = int(wait_for(lambda: (tmp_path / "output.log").read_text().strip()))
    assert record.running
    assert process.start_mark(child) != ""
    process.end_tree(record, 0.5)
    assert not record.running
    assert process.start_mark(child) == ""


def test_a_number_that_the_system_gave_to_another_process_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        mark = process.start_mark(sleeper.pid)
        same, other = (ProcessRecord(sleeper.pid, started, ["x"]) for started in (mark, "yesterday"))
        assert same.running and not other.running
        process.end_tree(other)
        assert sleeper.poll() is None
        other.write(tmp_path / RECORD)
        assert SyntheXTrainLogic().state(tmp_path).status == "stopped"
    finally:
        sleeper.kill()
        sleeper.wait()
    assert not same.running


def test_a_record_that_was_cut_off_counts_as_none(tmp_path: Path) -> None:
    record = ProcessRecord(1, "mark", ["a", "b"])
    record.write(tmp_path / RECORD)
    assert ProcessRecord.read(tmp_path / RECORD) == record
    (tmp_path / RECORD).write_text(json.dumps({"pid": 1}))
    assert ProcessRecord.read(tmp_path / RECORD) is None


def test_curves_follow_the_log(scene: Any, slicer_core: Any) -> None:
    from SyntheXTrainLib.curves import make_curves

    curves = make_curves("run")
    assert [chart.GetNumberOfPlotSeriesNodes() for chart in curves.charts] == [2, 1, 1]
    curves.update([{"epoch": 1.0, "loss": 0.5}, {"epoch": 2.0, "loss": 0.25, "validation_dice": 0.8}])
    series = slicer_core.mrmlScene.GetNodeByID(curves.charts[0].GetNthPlotSeriesNodeID(0))
    table = series.GetTableNode()
    np.testing.assert_array_equal(slicer_core.util.arrayFromTableColumn(table, series.GetXColumnName()), [1, 2])
    np.testing.assert_array_equal(slicer_core.util.arrayFromTableColumn(table, series.GetYColumnName()), [0.5, 0.25])
    np.testing.assert_array_equal(slicer_core.util.arrayFromTableColumn(table, "validation_dice"), [np.nan, 0.8])
