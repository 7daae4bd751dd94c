"""A data set from the nodes of cases, which are written as files for the library: its pixels are those of ``synthex simulate``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from SyntheXLib.simulation.job import ShardJob
from SyntheXLib.simulation.local import Progress, SimulationResult, run_local
from SyntheXLib.simulation.view import ViewSettings
from SyntheXLib.tasks.task import load_task
from SyntheXSimulateLib.case_writer import CaseNodes, writeCase


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
        task = load_task(taskName)
        files = tuple(writeCase(nodes, Path(temporary, str(number)), task) for number, nodes in enumerate(cases))
        job = ShardJob(Path(folder), task, files, settings or ViewSettings(), seed, count)
        return run_local(job, workers, progress, cancelled)
