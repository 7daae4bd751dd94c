"""Real X-rays brought to the CT: ``synthex register`` as a child process, image by image, each from where the last one was found."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from SyntheXHomeLib.image_nodes import factsOf
from SyntheXHomeLib.library_command import LibraryCommand
from SyntheXLib.errors import SyntheXError
from SyntheXLib.inference.outputs import LANDMARK_COLUMNS, landmark_rows, write_csv, write_json
from SyntheXLib.inference.predictions import CONFIDENCE_THRESHOLD
from SyntheXLib.registration.pose_file import read_pose
from SyntheXLib.tasks.task import Task
from SyntheXSimulateLib.case_writer import CaseNodes, writeCase
from SyntheXSimulateLib.real_images import RealImage, imageCamera, meaningOf

# Where the first image starts: the C-arm as it stands, landmarks on the image, those that a network finds, a search of the task's poses.
STARTS = ("arm", "landmarks", "network", "search")
_FEWEST = 4  # landmarks that a pose needs


@dataclass(frozen=True)
class MatchSettings:
    """How real X-rays are registered.

    Attributes
    ----------
    start
        One of `STARTS`, of the first image; the others start from the last pose that is to be trusted, or from the network's landmarks.
    pose
        (4, 4) world (RAS, mm) to camera, of start ``arm``.
    landmarks
        Name to (2,) column and row on the first image, of start ``landmarks``.
    model
        Model file, of start ``network``.
    device, distance
        As `real_images.imageCamera` takes them.
    orientation
        One of `registration.orientation.ORIENTATIONS`, or ``detect``.
    polarity, intensity
        See `inference.images`; ``auto`` finds the polarity, and takes what is known of the intensity.
    bones
        Register each femur on its own as well.
    collimation
        Look for the border of the collimator and leave it out.
    seed
        Of the random search.
    """

    start: str = "arm"
    pose: np.ndarray | None = None
    landmarks: Mapping[str, np.ndarray] = field(default_factory=dict)
    model: str = ""
    device: str = ""
    distance: float = 0.0
    orientation: str = "as-stored"
    polarity: str = "auto"
    intensity: str = "auto"
    bones: bool = True
    collimation: bool = True
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Matched:
    """What became of an image: its pose as `registration.pose_file` has it, or why there is none."""

    image: RealImage
    record: Mapping[str, Any] | None
    failure: str = ""


class MatchRun:
    """A running registration of one image after the other, in processes of their own; has to be closed.

    Parameters
    ----------
    case
        CT, labels and landmarks, written as they are now.
    task, taskName
        The task, and its name or file; empty takes the task's own name.
    images
        At least one.
    settings
        How.

    Attributes
    ----------
    images
        As they were given.
    done
        What became of those that are through, in their order.

    Raises
    ------
    SyntheXError
        When settings contradict each other, or something cannot be written.
    """

    def __init__(self, case: CaseNodes, task: Task, images: Sequence[RealImage], settings: MatchSettings, taskName: str = "") -> None:
        check(settings, task)
        self.images, self.done = list(images), list[Matched]()
        self._settings, self._cancelled = settings, False
        self._orientation = settings.orientation
        self._last: Path | None = None  # pose file of the last image that was found
        self._tables: dict[int, Path] = {}  # landmarks by image
        self._failure = ""  # of the network, and so of all
        self._folder = Path(tempfile.mkdtemp(prefix="SyntheX-match-"))
        self._command: LibraryCommand | None = None
        try:
            files = writeCase(case, self._folder / "case", task)
            self._case = ["--task", taskName or task.name, "--ct", str(files.ct), "--labels", str(files.labels)]
            for option, path in (("--landmarks-3d", files.landmarks), ("--label-names", files.label_names)):
                self._case += [option, str(path)] if path is not None else []
            for number, image in enumerate(self.images):
                (self._folder / str(number)).mkdir()
                image.write(self._image(number))
            if settings.start == "landmarks":
                self._writeTable(0, [[name, f"{x:.3f}", f"{y:.3f}", "1", 1] for name, (x, y) in settings.landmarks.items()])
            elif settings.start == "arm":
                write_json(self._folder / "start.json", {"world_to_camera": np.asarray(settings.pose).tolist()})
            self._command = self._network() if settings.start == "network" else self._register(0)
        except BaseException:
            self.close()
            raise

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to end; what is done stays."""
        return self._cancelled

    def finished(self) -> bool:
        """Whether all images are through, or the run was cancelled; ask often, for that also goes on with the next image."""
        if self._command is not None and not self._command.finished():
            return False
        if self._command is not None and not self._cancelled:
            self._take(self._command)
        self._end()
        if self._cancelled or len(self.done) == len(self.images):
            return True
        self._command = self._register(len(self.done))
        return False

    def progress(self) -> tuple[float, int]:
        """Images done, the part of the present one too, and their number."""
        share = 0.0
        if self._command is not None:
            now = self._command.progress()
            share = min(now.done / now.total, 0.99) if now.total else 0.0
        return len(self.done) + share, len(self.images)

    def cancel(self) -> None:
        """Ask it to end."""
        self._cancelled = True
        if self._command is not None:
            self._command.cancel()

    def close(self) -> None:
        """End it, if it still runs, and remove its files."""
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self) -> None:
        if self._command is not None:
            self._command.close()
            self._command = None

    def _image(self, number: int) -> Path:
        return self._folder / str(number) / "image.nrrd"

    def _pose(self, number: int) -> Path:
        return self._folder / str(number) / "pose.json"

    # The commands

    def _network(self) -> LibraryCommand:
        """Landmarks of all images."""
        images, settings = [str(self._image(number)) for number in range(len(self.images))], self._settings
        intensity = meaningOf(self.images[0].node, settings.intensity)
        polarity = factsOf(self.images[0].node).polarity if settings.polarity == "auto" else settings.polarity
        options = ["--intensity", intensity, "--polarity", "bone-dark" if intensity == "linear" else polarity or "auto", "--no-overlays"]
        return LibraryCommand("infer", settings.model, *images, "--out", str(self._folder / "found"), *options)

    def _register(self, number: int) -> LibraryCommand:
        settings, image = self._settings, self.images[number]
        camera, _ = imageCamera(image.node, settings.device, settings.distance)
        values = {"intrinsics": camera.intrinsics.tolist(), "source_to_detector_mm": camera.source_to_detector_mm}
        intrinsics = self._folder / str(number) / "intrinsics.json"
        write_json(intrinsics, values)
        options = ["--intrinsics", str(intrinsics), "--orientation", self._orientation, "--seed", str(settings.seed)]
        options += ["--polarity", settings.polarity, "--intensity", meaningOf(image.node, settings.intensity), *self._start(number)]
        options += [*([] if settings.bones else ["--no-bones"]), *([] if settings.collimation else ["--no-field"])]
        return LibraryCommand("register", *self._case, "--image", str(self._image(number)), "--out", str(self._pose(number)), *options)

    def _start(self, number: int) -> list[str]:
        if number in self._tables:
            return ["--landmarks-2d", str(self._tables[number])]
        if self._last is not None:
            return ["--start", str(self._last)]
        if 0 in self._tables:  # nothing was found since: better than nothing
            return ["--landmarks-2d", str(self._tables[0])]
        return ["--start", str(self._folder / "start.json")] if self._settings.start == "arm" else []

    # What they found

    def _take(self, command: LibraryCommand) -> None:
        if self._settings.start == "network" and not self._tables and not self.done and not self._failure:
            self._takeLandmarks(command)
            return
        number = len(self.done)
        if not self._pose(number).is_file():
            self.done.append(Matched(self.images[number], None, command.message()))
            return
        record = read_pose(self._pose(number)) | {"name": self.images[number].name}
        if record["trusted"]:
            self._last = self._pose(number)
            self._orientation = record["orientation"]
        self.done.append(Matched(self.images[number], record))

    def _takeLandmarks(self, command: LibraryCommand) -> None:
        from SyntheXLib.inference.predict_images import read_image_predictions

        try:
            if command.failed:
                raise SyntheXError(command.message())
            task, predictions = read_image_predictions(self._folder / "found")
        except SyntheXError as error:
            self._failure = str(error)
        else:
            for number, found in enumerate(predictions):
                rows = [row for row in landmark_rows(found, task, CONFIDENCE_THRESHOLD) if row[-1]]
                if len(rows) >= _FEWEST:
                    self._writeTable(number, rows)
            self._failure = "" if self._tables else f"The network found no {_FEWEST} landmarks on any of the images."
        if self._failure:
            self.done = [Matched(image, None, self._failure) for image in self.images]

    def _writeTable(self, number: int, rows: Sequence[Sequence[Any]]) -> None:
        self._tables[number] = self._folder / str(number) / "landmarks.csv"
        write_csv(self._tables[number], LANDMARK_COLUMNS, rows)


def check(settings: MatchSettings, task: Task) -> None:
    """Refuse settings that contradict each other or lack something.

    Raises
    ------
    SyntheXError
        With what is wrong.
    """
    if settings.start not in STARTS:
        raise SyntheXError(f"The start of a registration must be one of {', '.join(STARTS)}, found '{settings.start}'.")
    if settings.start == "arm" and settings.pose is None:
        raise SyntheXError("A registration that starts from the C-arm needs its pose, found none.")
    if settings.start == "network" and not Path(settings.model).exists():
        raise SyntheXError(f"The model '{settings.model}' does not exist.")
    known = sorted(set(settings.landmarks) & set(task.patient_landmarks))
    if settings.start == "landmarks" and len(known) < _FEWEST:
        raise SyntheXError(
            f"A pose needs at least {_FEWEST} landmarks of task '{task.name}' on the X-ray, found {', '.join(known) or 'none'}."
        )
    if settings.start in ("landmarks", "network") and settings.orientation == "detect":
        raise SyntheXError("Landmarks on the X-ray and an orientation to be detected do not go together: name the orientation.")
