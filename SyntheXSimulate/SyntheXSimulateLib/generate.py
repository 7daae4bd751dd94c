"""A data set from the nodes of a case: files for the command line, which runs as a child process."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from SyntheXHomeLib.library_command import LibraryCommand
from SyntheXLib.datasets.format import HEADER_FILE
from SyntheXLib.rendering.levels import LEVELS
from SyntheXLib.scene.case_files import CaseFiles
from SyntheXLib.tasks.task import Task
from SyntheXSimulateLib.case_writer import CaseNodes, writeCase
from SyntheXSimulateLib.preview import Beam


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
    fullSize
        The whole detector with its own pixels, in place of `imageSize`.
    vary
        Patients made of each CT; 0 takes the CT as it is, None what the task says.
    oversample
        Rays along each side of a pixel; 0 takes the task's.
    views
        JSON of given views, see `scene.given_views.read_views`: in place of `count` they are made at every realism level, each in a folder.
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
    fullSize: bool = False
    vary: int | None = None
    oversample: int = 0
    views: Path | None = None


class Generation(LibraryCommand):
    """A running ``synthex simulate``; what is finished stays, and the same settings go on with it.

    Parameters
    ----------
    nodes
        The case, written as it is now; see `case_writer.writeCase`.
    task
        The task.
    settings
        What is made.
    taskName
        Name or file of the task; empty takes the task's own name.

    Raises
    ------
    SyntheXError
        When the case cannot be written.
    """

    def __init__(self, nodes: CaseNodes, task: Task, settings: GenerateSettings, taskName: str = "") -> None:
        self.dataset = settings.folder / "realistic" if settings.views else settings.folder
        taskName = taskName or task.name
        super().__init__("simulate", inputs=lambda folder: commandOptions(writeCase(nodes, folder, task), taskName, settings))


def commandOptions(case: CaseFiles, taskName: str, settings: GenerateSettings) -> list[str]:
    """What stands behind ``synthex simulate`` for a data set of a case."""
    beam = settings.beam
    options: list[tuple[str, object]] = [("task", taskName), ("ct", case.ct), ("labels", case.labels)]
    options += [("landmarks", case.landmarks), ("label-names", case.label_names), ("lesions", case.lesions)]
    options += [("out", settings.folder), ("seed", settings.seed), ("vary", settings.vary), ("oversample", settings.oversample or None)]
    options += [("matched", settings.views)] if settings.views else [("count", settings.count), ("level", beam.level)]
    options += [
        ("renderer", settings.renderer),
        ("device", settings.device or None),
        ("image-size", "full" if settings.fullSize else settings.imageSize or None),
    ]
    options += [("workers", settings.workers or None), *(("tool", path) for path in settings.tools)]
    if not settings.randomizeExposure:  # what is named is not drawn
        options += [("kvp", beam.kvp), ("aluminium", beam.aluminium_mm), ("copper", beam.copper_mm), ("dose", beam.dose_ugy)]
        options += [("anode-angle", beam.anode_angle_deg)]
    flags = {"no-grid": not beam.grid, "randomize-exposure": settings.randomizeExposure}
    flags["resume"] = any((settings.folder / part / HEADER_FILE).exists() for part in (LEVELS if settings.views else ("",)))
    named = [part for name, value in options if value is not None for part in (f"--{name}", str(value))]
    return [*named, *(f"--{name}" for name, given in flags.items() if given)]
