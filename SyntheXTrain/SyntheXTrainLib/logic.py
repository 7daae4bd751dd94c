"""What the Train module does, without Qt."""

from __future__ import annotations

import csv
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SyntheXLib
from SyntheXLib.errors import SyntheXError
from SyntheXTrainLib import process
from SyntheXTrainLib.process import ProcessRecord

RECORD, PROGRESS, OUTPUT = "process.json", "progress.jsonl", "output.log"
_TAIL_BYTES = 8192  # several lines of progress


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands.

    Attributes
    ----------
    status
        ``running``; ``finished`` with its last epoch; ``stopped``, and `SyntheXTrainLogic.resume` goes on; ``failed``; ``none`` when there
        is no training in the folder.
    epoch, epochs
        The current one, from 1, and all; 0 before the first batch.
    share
        Of all images that it has seen, 0 to 1.
    loss
        Mean over the epoch so far.
    images_per_second, seconds_left
        Of the epoch so far, and what follows from it.
    message
        What went wrong, one sentence; empty otherwise.
    """

    status: str
    epoch: int = 0
    epochs: int = 0
    share: float = 0.0
    loss: float = 0.0
    images_per_second: float = 0.0
    seconds_left: float = 0.0
    message: str = ""


class SyntheXTrainLogic:
    """Runs a training in a process of its own, which goes on when Slicer is closed and is found again by its folder."""

    def trainingCommand(self, config: Mapping[str, Any]) -> list[str]:
        """The command line of a training.

        Parameters
        ----------
        config
            Options of ``synthex train`` by name, with underscores: ``datasets`` (several) and ``out`` must be among them, None leaves one
            out, True stands for a switch.

        Returns
        -------
        list of str
            Program and arguments, for `subprocess` or a terminal.
        """
        # In Slicer that is PythonSlicer, its plain Python, which knows the paths of installed extensions.
        command = [sys.executable, "-m", "SyntheXLib.cli", "train"]
        options = dict(config)
        command += [str(folder) for folder in options.pop("datasets")]
        for name, value in options.items():
            if value is not None and value is not False:
                option = "--" + name.replace("_", "-")
                command += [option] if value is True else [option, str(value)]
        return command

    def terminalCommand(self, config: Mapping[str, Any]) -> str:
        """`trainingCommand` as one line for a terminal of this computer."""
        command = self.trainingCommand(config)
        return subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)

    def start(self, config: Mapping[str, Any]) -> None:
        """Start a training, or go on with the one that was interrupted in its folder.

        Parameters
        ----------
        config
            As `trainingCommand` takes it.

        Raises
        ------
        SyntheXError
            When a training runs in the folder, or the folder cannot be written. What is wrong with data or options the process tells, see
            `state`.
        """
        folder = Path(config["out"])
        self._launch(folder, self.trainingCommand({**config, "progress": folder / PROGRESS}))

    def resume(self, folder: Path | str) -> None:
        """Go on with a training that was stopped, from its last whole epoch, with the settings that it had.

        Raises
        ------
        SyntheXError
            When there is none in the folder, or it runs.
        """
        record = ProcessRecord.read(Path(folder) / RECORD)
        if record is None:
            raise SyntheXError(f"Folder {folder}: expected a training that was started here, found no {RECORD}.")
        arguments = [argument for argument in record.command[1:] if argument != "--restart"]
        self._launch(Path(folder), [sys.executable, *arguments])

    def _launch(self, folder: Path, command: list[str]) -> None:
        if self.isRunning(folder):
            raise SyntheXError(f"A training runs in {folder}; stop it first or choose another folder.")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PROGRESS).unlink(missing_ok=True)
        library = str(Path(SyntheXLib.__file__).parents[1])
        paths = [library, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
        process.start(command, folder / OUTPUT, environment).write(folder / RECORD)

    def isRunning(self, folder: Path | str) -> bool:
        """Whether a training runs in a folder, whichever session started it."""
        record = ProcessRecord.read(Path(folder) / RECORD)
        return record is not None and record.running

    def stop(self, folder: Path | str, patienceS: float = 5.0) -> None:
        """End a training with all its processes; whole epochs stay. Waits until they are gone, twice `patienceS` seconds at most."""
        record = ProcessRecord.read(Path(folder) / RECORD)
        if record is not None:
            process.end_tree(record, patienceS)

    def state(self, folder: Path | str) -> TrainingState:
        """Where the training in a folder stands; cheap enough for a timer."""
        folder = Path(folder)
        record = ProcessRecord.read(folder / RECORD)
        if record is None:
            return TrainingState("none")
        running = record.running  # asked before the files are read: what it wrote last is then seen
        line = _last_line(folder / PROGRESS)
        message = "" if running else self._failure(folder, record)
        finished = not running and not message and self._finished(folder)
        status = "running" if running else "failed" if message else "finished" if finished else "stopped"
        if not line:  # not yet, or nothing was left to do
            return TrainingState(status, share=float(finished), message=message)
        share = line["images"] / max(line["images_in_all"], 1)
        return TrainingState(
            status, line["epoch"], line["epochs"], share, line["loss"], line["images_per_second"], line["seconds_left"], message
        )

    def history(self, folder: Path | str) -> list[dict[str, float]]:
        """Rows of log.csv, one an epoch, by column (see `training.report.COLUMNS`); a value that was not measured is absent."""
        try:
            with (Path(folder) / "log.csv").open(encoding="utf-8", newline="") as file:
                return [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(file)]
        except FileNotFoundError:
            return []

    def modelPath(self, folder: Path | str, best: bool = True) -> Path | None:
        """Model file of the epoch with the best validation score, or (where none was validated, or not `best`) of the last; else None."""
        names = ["best.pt", "model.pt"] if best else ["model.pt"]
        return next((path for name in names if (path := Path(folder) / name).is_file()), None)

    @staticmethod
    def _finished(folder: Path) -> bool:
        try:
            epochs = json.loads((folder / "config.json").read_text(encoding="utf-8"))["epochs"]
            done = len((folder / "log.csv").read_text(encoding="utf-8").splitlines()) - 1
        except (OSError, ValueError, KeyError):
            return False
        return (folder / "model.pt").is_file() and bool(done >= epochs)

    @staticmethod
    def _failure(folder: Path, record: ProcessRecord) -> str:
        """The sentence in which `synthex train` or Python itself says why it ended; empty after a stop."""
        status = process.exit_status(record)
        lines = _tail(folder / OUTPUT).strip().splitlines()
        last = lines[-1].removeprefix("synthex train: ") if lines else ""
        if status == 0 or (status is not None and status < 0) or status == 130 or "interrupted; what is finished stays" in last:
            return ""
        said = lines and (lines[-1].startswith("synthex train: ") or "Error" in lines[-1])
        if status is None:  # another session started it: only its last words tell
            return last if said else ""
        return last or f"The training ended with status {status}; see {folder / OUTPUT}."


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _last_line(path: Path) -> dict[str, Any]:
    """The last whole line of a file of JSON lines; empty where there is none."""
    lines = _tail(path).split("\n")[:-1]
    for line in reversed(lines):
        try:
            value: dict[str, Any] = json.loads(line)
        except ValueError:  # cut off by the tail or by a kill
            continue
        return value
    return {}
