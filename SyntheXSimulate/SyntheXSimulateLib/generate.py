"""A data set from the nodes of a case: files for the command line, which runs as a child process."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer

import SyntheXLib
from SyntheXHomeLib.nodes import ijkToWorld, labelNames, pointsInWorld
from SyntheXLib import process_tree
from SyntheXLib.datasets.format import HEADER_FILE
from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import itk_image
from SyntheXLib.scene.landmarks import write_markups
from SyntheXLib.tasks.task import Task
from SyntheXSimulateLib.preview import Beam
from SyntheXSimulateLib.structures import isSegmentation, matchStructures, rasterized

# How long a cancelled run may tidy up before it is killed.
_GRACE_S = 10.0
_PROGRESS = re.compile(r"simulate:.*?(\d+)/(\d+) \[")


@dataclass(frozen=True)
class GenerateSettings:
    """What is to be made: number of images, folder, processes (0: one a core), random seed, and how the image is made."""

    count: int
    folder: Path
    workers: int = 0
    seed: int = 0
    beam: Beam = field(default_factory=Beam)


@dataclass(frozen=True)
class Progress:
    """Images there now and in all, images a second of this run, and seconds left (None before the first image)."""

    done: int
    total: int
    rate: float = 0.0
    secondsLeft: float | None = None


def writeCase(folder: Path, volumeNode: Any, labelsNode: Any, markupsNode: Any | None, task: Task) -> list[str]:
    """Write CT, labels and landmarks of a case as files.

    Parameters
    ----------
    folder
        Where; the same nodes give the same bytes, so that a data set can be continued.
    volumeNode, labelsNode, markupsNode
        As for `SyntheXSimulateLogic.specimen`; parent transforms are applied.
    task
        Whose structures are taken from a segmentation.

    Returns
    -------
    list of str
        The options of ``synthex simulate`` that name the files.

    Raises
    ------
    SyntheXError
        When segments overlap: a label map, which the command reads, cannot hold that.
    """
    name = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in volumeNode.GetName()) or "case"
    paths = {"--ct": folder / f"{name}.nrrd", "--labels": folder / "labels.nrrd"}
    if isSegmentation(labelsNode):
        labels, names = _labelsOfSegments(labelsNode, volumeNode, task)
        image: sitk.Image = itk_image(labels, ijkToWorld(volumeNode))
    else:
        image, own = itk_image(slicer.util.arrayFromVolume(labelsNode), ijkToWorld(labelsNode)), labelNames(labelsNode)
        names = list((own or {}).items())
    sitk.WriteImage(itk_image(slicer.util.arrayFromVolume(volumeNode), ijkToWorld(volumeNode)), str(paths["--ct"]))
    sitk.WriteImage(image, str(paths["--labels"]))
    if names:
        paths["--label-names"] = folder / "labels.csv"
        with paths["--label-names"].open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("LabelValue", "Name"), *names])
    if markupsNode is not None:
        paths["--landmarks"] = folder / "landmarks.mrk.json"
        points = pointsInWorld(markupsNode)
        write_markups(paths["--landmarks"], {key: point for key, point in points.items() if key in task.landmark_names})
    return [part for option, path in paths.items() for part in (option, str(path))]


def _labelsOfSegments(segmentationNode: Any, volumeNode: Any, task: Task) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """(K, J, I) uint16 with a number of its own for each segment, and (number, structure) of each."""
    parts = [(key, match.name) for match in matchStructures(segmentationNode, task) for key in match.keys]
    labels = np.zeros(slicer.util.arrayFromVolume(volumeNode).shape, np.uint16)
    with rasterized(segmentationNode, [key for key, _ in parts], volumeNode) as exported:
        for number, (key, _name) in enumerate(parts, 1):
            mask = exported(key)
            if (labels[mask] > 0).any():
                raise SyntheXError(
                    f"Segment '{segmentationNode.GetSegmentation().GetSegment(key).GetName()}' of '{segmentationNode.GetName()}' overlaps "
                    "another: a data set is made from a label map, which needs segments that do not overlap."
                )
            labels[mask] = number
    return labels, [(number, name) for number, (_, name) in enumerate(parts, 1)]


class Generation:
    """A running ``synthex simulate``, in a process tree of its own.

    Parameters
    ----------
    caseOptions
        See `writeCase`.
    caseFolder
        Removed when the run has ended; None keeps the files.
    taskName
        The task.
    settings
        What is made.
    """

    def __init__(self, caseOptions: list[str], caseFolder: Path | None, taskName: str, settings: GenerateSettings) -> None:
        self.folder, self._caseFolder = settings.folder, caseFolder
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process writes to it
        self._first: tuple[float, int] | None = None
        self._cancelled: float | None = None
        environment = dict(os.environ)
        library = str(Path(SyntheXLib.__file__).resolve().parents[1])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (library, environment.get("PYTHONPATH"))))
        # Slicer's Python is a launcher, and killing that alone would leave the rest.
        self._process = process_tree.start(
            [shutil.which("PythonSlicer") or sys.executable, "-m", "SyntheXLib.cli", *_options(caseOptions, taskName, settings)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=environment,
        )

    def progress(self) -> Progress:
        """How far it is; call it often, for it also ends a cancelled run that does not end by itself."""
        found = _PROGRESS.findall(self._text())
        done, total = map(int, found[-1]) if found else (0, 0)
        now = time.monotonic()
        if found and self._first is None:
            self._first = now, done
        if self._cancelled is not None and now - self._cancelled > _GRACE_S:
            process_tree.end(self._process)
        seconds, made = (now - self._first[0], done - self._first[1]) if self._first else (0.0, 0)
        rate = made / seconds if seconds > 0 else 0.0
        return Progress(done, total, rate, (total - done) / rate if rate else None)

    def finished(self) -> bool:
        """Whether the process has ended; the files of the case are then gone."""
        if self._process.poll() is None:
            return False
        if self._caseFolder is not None:
            shutil.rmtree(self._caseFolder, ignore_errors=True)
        return True

    def message(self) -> str:
        """Once finished, the command's last line: what it made, or what went wrong."""
        lines = [line.strip() for line in re.split(r"[\r\n]", self._text()) if line.strip() and not line.startswith("simulate:")]
        return lines[-1] if lines else f"synthex simulate ended with status {self._process.returncode}."

    def failed(self) -> bool:
        """Whether it ended by an error; a cancelled run did not."""
        return self._process.poll() not in (None, 0) and self._cancelled is None

    def cancel(self) -> None:
        """Ask the run to end; finished shards stay, and the same settings go on with them."""
        if self._process.poll() is None and self._cancelled is None:
            self._cancelled = time.monotonic()
            if sys.platform == "win32":
                process_tree.end(self._process)
            else:
                os.killpg(self._process.pid, signal.SIGINT)  # workers leave that to the first process, which tidies up

    def close(self) -> None:
        """End it at once, as when Slicer is closed."""
        process_tree.end(self._process)
        self.finished()

    def _text(self) -> str:
        size = os.fstat(self._log.fileno()).st_size
        # By position and not through the file object, whose place the process shares.
        if hasattr(os, "pread"):
            return os.pread(self._log.fileno(), size, 0).decode("utf-8", "replace")
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")


def _options(caseOptions: list[str], taskName: str, settings: GenerateSettings) -> list[str]:
    beam = settings.beam
    options = ["simulate", "--task", taskName, *caseOptions, "--count", str(settings.count), "--out", str(settings.folder)]
    options += ["--seed", str(settings.seed), "--level", beam.level, "--kvp", str(beam.kvp), "--aluminium", str(beam.aluminium_mm)]
    options += ["--dose", str(beam.dose_ugy)]
    if settings.workers:
        options += ["--workers", str(settings.workers)]
    if (settings.folder / HEADER_FILE).exists():
        options.append("--resume")
    return options


def startGeneration(volumeNode: Any, labelsNode: Any, markupsNode: Any | None, task: Task, settings: GenerateSettings) -> Generation:
    """Write the case to temporary files and start; see `writeCase` and `Generation`."""
    folder = Path(tempfile.mkdtemp(prefix="SyntheX-"))
    try:
        return Generation(writeCase(folder, volumeNode, labelsNode, markupsNode, task), folder, task.name, settings)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
