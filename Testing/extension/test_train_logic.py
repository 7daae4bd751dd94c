"""From the choices of the panel to a command line that `synthex train` takes."""

import argparse
import subprocess
from pathlib import Path

import pytest

from SyntheXLib.commands import train
from SyntheXTrainLib.logic import SyntheXTrainLogic


def test_the_command_line_means_what_was_asked_for() -> None:
    asked = {"datasets": ["one set", "two"], "out": "run 1", "epochs": 3, "learning_rate": 0.02, "seed": None, "restart": True}
    command = SyntheXTrainLogic().trainingCommand(asked)
    parser = argparse.ArgumentParser()
    train.add(parser.add_subparsers())
    understood = parser.parse_args(command[command.index("train") :])
    assert understood.datasets == ["one set", "two"]
    assert understood.out == Path("run 1")
    assert (understood.epochs, understood.learning_rate, understood.seed, understood.restart) == (3, 0.02, None, True)


def test_the_command_runs_and_names_what_is_wrong(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed; training needs it")
    command = SyntheXTrainLogic().trainingCommand({"datasets": [tmp_path / "missing"], "out": tmp_path / "run", "epochs": 1})
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"{tmp_path / 'missing'}" in done.stderr
