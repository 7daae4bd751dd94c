"""A data set from the nodes of a case: files for the command line, which runs as a child process."""

from __future__ import annotations

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

import SyntheXLib
from SyntheXLib import process_tree
from SyntheXLib.datasets.format import HEADER_FILE
from SyntheXLib.scene.case_files import CaseFiles
from SyntheXLib.tasks.task import Task
from SyntheXSimulateLib.case_writer import CaseNodes, writeCase
from SyntheXSimulateLib.preview import Beam

# How long a cancelled run may tidy up before it is killed.
_GRACE_S = 10.0
_PROGRESS = re.compile(r"simulate:.*?(\d+)/(\d+) \[")


@dataclass(frozen=True)
class GenerateSettings:
    """What is to be made.

    Attributes
    ----------
    count, folder
        Number of images, and where.
    workers
        Processes; 0: one a core.
    seed
        Image i depends on seed and i alone.
    beam
        How the image is made.
    imageSize
        Pixels a side; 0 takes the task's.
    randomizeExposure
        Draw the exposure of every image from the device's ranges, in place of the beam's.
    device
        See `scene.c_arm.load_device`; empty takes the task's.
    renderer
        One of `rendering.renderer.RENDERERS`.
    tools
        Tool files.
    """

    count: int
    folder: Path
    workers: int = 0
    seed: int = 0
    beam: Beam = field(default_factory=Beam)
    imageSize: int = 0
    randomizeExposure: bool = False
    device: str = ""
    renderer: str = "auto"
    tools: tuple[str, ...] = ()


@dataclass(frozen=True)
class Progress:
    """Images there now and in all, images a second of this run, and seconds left (None before the first image)."""

    done: int
    total: int
    rate: float = 0.0
    secondsLeft: float | None = None


class Generation:
    """A running ``synthex simulate``, in a process tree of its own.

    Parameters
    ----------
    case
        See `case_writer.writeCase`.
    caseFolder
        Removed when the run has ended; None keeps the files.
    taskName
        The task.
    settings
        What is made.
    """

    def __init__(self, case: CaseFiles, caseFolder: Path | None, taskName: str, settings: GenerateSettings) -> None:
        self.folder, self._caseFolder = settings.folder, caseFolder
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process writes to it
        self._first: tuple[float, int] | None = None
        self._cancelled: float | None = None
        environment = dict(os.environ)
        library = str(Path(SyntheXLib.__file__).resolve().parents[1])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (library, environment.get("PYTHONPATH"))))
        # Slicer's Python is a launcher, and killing that alone would leave the rest.
        self._process = process_tree.start(
            [shutil.which("PythonSlicer") or sys.executable, "-m", "SyntheXLib.cli", *commandOptions(case, taskName, settings)],
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


def commandOptions(case: CaseFiles, taskName: str, settings: GenerateSettings) -> list[str]:
    """What stands behind ``synthex`` for a data set of a case."""
    beam = settings.beam
    options: list[tuple[str, object]] = [("task", taskName), ("ct", case.ct), ("labels", case.labels)]
    options += [("landmarks", case.landmarks), ("label-names", case.label_names)]
    options += [("count", settings.count), ("out", settings.folder), ("seed", settings.seed), ("level", beam.level)]
    options += [("renderer", settings.renderer), ("device", settings.device or None), ("image-size", settings.imageSize or None)]
    options += [("workers", settings.workers or None), *(("tool", path) for path in settings.tools)]
    if not settings.randomizeExposure:  # what is named is not drawn
        options += [("kvp", beam.kvp), ("aluminium", beam.aluminium_mm), ("copper", beam.copper_mm), ("dose", beam.dose_ugy)]
        options += [("anode-angle", beam.anode_angle_deg)]
    flags = {"no-grid": not beam.grid, "randomize-exposure": settings.randomizeExposure}
    flags["resume"] = (settings.folder / HEADER_FILE).exists()
    named = [part for name, value in options if value is not None for part in (f"--{name}", str(value))]
    return ["simulate", *named, *(f"--{name}" for name, given in flags.items() if given)]


def startGeneration(nodes: CaseNodes, task: Task, settings: GenerateSettings) -> Generation:
    """Write the case to temporary files and start; see `case_writer.writeCase` and `Generation`."""
    folder = Path(tempfile.mkdtemp(prefix="SyntheX-"))
    try:
        return Generation(writeCase(nodes, folder, task), folder, task.name, settings)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
