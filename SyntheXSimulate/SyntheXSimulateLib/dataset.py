"""A data set from the nodes of cases, which are written as files for the library: its pixels are those of ``synthex simulate``."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import slicer

from SyntheXHomeLib.nodes import ijkToWorld, labelNames, pointsInWorld
from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import CaseFiles, itk_image
from SyntheXLib.scene.landmarks import write_markups
from SyntheXLib.simulation.job import ShardJob
from SyntheXLib.simulation.local import Progress, SimulationResult, run_local
from SyntheXLib.simulation.view import ViewSettings
from SyntheXLib.tasks.task import load_task


@dataclass(frozen=True)
class CaseNodes:
    """The nodes of a case: see `SyntheXSimulateLogic.specimen`."""

    volume: Any
    labelmap: Any
    markups: Any | None = None


def generate(
    folder: Path | str,
    cases: Sequence[CaseNodes],
    taskName: str,
    count: int,
    seed: int = 0,
    settings: ViewSettings | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> SimulationResult:
    """Simulate a data set, or go on with the one that is in the folder.

    Parameters
    ----------
    folder
        Data set folder.
    cases
        Image i shows case i modulo their number.
    taskName
        See `SyntheXSimulateLogic.taskNames`.
    count
        Number of images.
    seed
        Image i depends on seed and i alone.
    settings
        Image size, realism level, exposure; None takes the task's and the defaults.
    workers
        Processes. One renders in this process, on all cores.
    progress, cancelled
        See `simulation.local.run_local`. Called from this thread.

    Raises
    ------
    SyntheXError
        When a transform is not linear, a case cannot be used, or the folder holds another data set.
    """
    with tempfile.TemporaryDirectory(prefix="synthex-", ignore_cleanup_errors=True) as temporary:
        files = tuple(writeCase(nodes, Path(temporary, str(number))) for number, nodes in enumerate(cases))
        job = ShardJob(Path(folder), load_task(taskName), files, settings or ViewSettings(), seed, count)
        return run_local(job, workers, progress, cancelled)


def writeCase(nodes: CaseNodes, folder: Path) -> CaseFiles:
    """Write a case, in world coordinates, as files that `synthex` takes.

    The same nodes always give the same bytes, so a data set knows its case again by checksum.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ct, labels = folder / "ct.nrrd", folder / "labels.nrrd"
    for node, path in ((nodes.volume, ct), (nodes.labelmap, labels)):
        try:
            sitk.WriteImage(itk_image(slicer.util.arrayFromVolume(node), ijkToWorld(node)), str(path))
        except RuntimeError as error:
            raise SyntheXError(f"Volume '{node.GetName()}' cannot be written to {path}: {str(error).strip().splitlines()[-1]}.") from error
    landmarks = label_names = None
    if nodes.markups is not None:
        landmarks = folder / "landmarks.mrk.json"
        write_markups(landmarks, pointsInWorld(nodes.markups))
    names = labelNames(nodes.labelmap)
    if names:
        label_names = folder / "label_names.csv"
        with label_names.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(names.items())
    return CaseFiles(ct, labels, landmarks, label_names, nodes.volume.GetName())
