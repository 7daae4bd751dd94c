"""What the Train module does, without Qt."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SyntheXHomeLib.library_command import library_environment, library_program
from SyntheXHomeLib.parameter_node import parameterNode
from SyntheXHomeLib.subject_hierarchy import put_in_folder
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write, disk_errors
from SyntheXLib.training.run_folder import find_pictures, forget_run
from SyntheXTrainLib import process
from SyntheXTrainLib.adaptation import RESULTS, adaptationArguments
from SyntheXTrainLib.command_options import commandOptions
from SyntheXTrainLib.curves import TrainingCurves, make_curves
from SyntheXTrainLib.datasets import DatasetsSummary, summarize
from SyntheXTrainLib.output import failure, lastLine
from SyntheXTrainLib.pictures import pictureNode
from SyntheXTrainLib.process import OUTPUT, RECORD, ProcessRecord
from SyntheXTrainLib.samples import SamplesPage
from SyntheXTrainLib.study import StudyState, studyArguments, studyState, studyTable

_FOLDER = "SyntheX Train"  # in the subject hierarchy
PROGRESS = "progress.jsonl"


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
            out, True stands for a switch; ``more`` are further words of the command line.

        Returns
        -------
        list of str
            Program and arguments, for `subprocess` or a terminal.
        """
        return [*library_program(), "train", *commandOptions(config)]

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
        program = library_program()  # as it is now; Slicer may have been updated since
        self._launch(Path(folder), program + [argument for argument in record.command[len(program) :] if argument != "--restart"])

    def _launch(self, folder: Path, command: list[str]) -> None:
        if self.isRunning(folder):
            raise SyntheXError(f"A training runs in {folder}; stop it first or choose another folder.")
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        (folder / PROGRESS).unlink(missing_ok=True)
        process.start(command, folder / OUTPUT, library_environment()).write(folder / RECORD)

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
        line = lastLine(folder / PROGRESS)
        message = "" if running else failure(folder / OUTPUT, process.exit_status(record))
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

    def exportModel(self, folder: Path | str, target: Path | str) -> Path:
        """Copy the best model file of a run to a place of one's own; give the file that was written.

        Raises
        ------
        SyntheXError
            When the run has no model yet, or the target cannot be written.
        """
        model = self.modelPath(folder)
        if model is None:
            raise SyntheXError(f"Folder {folder}: expected a model file, found none; whole epochs make one.")
        target = Path(target).expanduser()
        if target.is_dir():
            target = target / model.name
        with atomic_write(target) as temporary:
            shutil.copyfile(model, temporary)
        return target

    def deleteRun(self, folder: Path | str) -> None:
        """Remove what a training left in its folder, and the folder if nothing else is in it.

        Raises
        ------
        SyntheXError
            When the training runs.
        """
        folder = Path(folder)
        if self.isRunning(folder):
            raise SyntheXError(f"A training runs in {folder}; stop it first.")
        forget_run(folder)
        for name in (RECORD, PROGRESS, OUTPUT):
            (folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # not empty
            folder.rmdir()

    def datasets(self, folders: Sequence[Path | str], validation: Path | str | None = None) -> DatasetsSummary:
        """What data sets hold, and whether a training can take them together; see `DatasetsSummary`."""
        return summarize(folders, validation)

    def samples(self, config: Mapping[str, Any]) -> SamplesPage:
        """Begin to draw a page of what a training with these settings would see; see `SamplesPage`.

        Parameters
        ----------
        config
            As `trainingCommand` takes it; nothing is written to ``out``.
        """
        return SamplesPage(commandOptions({**config, "out": None}))

    def validationPictures(self, folder: Path | str) -> list[Path]:
        """Pages of the validation in a run's folder, see `training.run_folder.find_pictures`."""
        return find_pictures(Path(folder))

    # Adaptation and studies

    def adaptationCommand(self, config: Mapping[str, Any]) -> list[str]:
        """The command line of an adaptation, see `adaptation.adaptationArguments` for the settings."""
        return [*library_program(), *adaptationArguments(config)]

    def startAdaptation(self, config: Mapping[str, Any]) -> None:
        """Start CycleGAN or ADDA, or go on with what was interrupted in its folder; `state`, `stop` and `resume` serve it as a training.

        Raises
        ------
        SyntheXError
            See `start`.
        """
        folder = Path(config["out"])
        self._launch(folder, self.adaptationCommand({**config, "progress": folder / PROGRESS}))

    def adaptationResult(self, folder: Path | str) -> Path | None:
        """What an adaptation that is finished has left in its folder, ``translator.pt`` or ``model.pt``; None where there is none."""
        return next((path for name in RESULTS.values() if (path := Path(folder) / name).is_file()), None)

    def startStudy(self, study: Path | str, out: Path | str, data: Path | str | None = None) -> None:
        """Run a study, or go on with it, see `study.studyArguments`; `stop` ends it.

        Raises
        ------
        SyntheXError
            See `start`.
        """
        self._launch(Path(out), [*library_program(), *studyArguments(study, out, data)])

    def studyState(self, folder: Path | str) -> StudyState:
        """Where the study in a folder stands; cheap enough for a timer."""
        return studyState(Path(folder))

    def studyTable(self, folder: Path | str) -> str:
        """The table of the study in a folder so far, as Markdown."""
        return studyTable(Path(folder))

    # Nodes

    def parameterNode(self) -> Any:
        """The scene's node for the panel's settings, made when there is none."""
        return parameterNode("SyntheXTrain")

    def curves(self, title: str, rows: Sequence[dict[str, float]]) -> TrainingCurves:
        """New nodes for the curves of a training, see `history` for the rows."""
        curves = make_curves(title)
        curves.update(rows)
        for node in (curves.table, *curves.charts):
            put_in_folder(node, _FOLDER, title)
        return curves

    def picture(self, path: Path | str, node: Any | None = None) -> Any:
        """A picture of the training as a node, a new one or the one given; see `pictures.pictureNode`."""
        node = pictureNode(Path(path), node)
        put_in_folder(node, _FOLDER)
        return node

    @staticmethod
    def _finished(folder: Path) -> bool:
        try:
            epochs = json.loads((folder / "config.json").read_text(encoding="utf-8"))["epochs"]
            done = len((folder / "log.csv").read_text(encoding="utf-8").splitlines()) - 1
        except (OSError, ValueError, KeyError):
            return False
        return any((folder / name).is_file() for name in RESULTS.values()) and bool(done >= epochs)
