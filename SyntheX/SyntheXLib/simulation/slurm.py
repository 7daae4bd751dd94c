"""Run a shard job as a Slurm job array: its tasks fill one folder, as processes of one machine do."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from SyntheXLib.datasets.format import shard_is_valid, write_header
from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import CaseFiles
from SyntheXLib.simulation.job import ShardJob
from SyntheXLib.simulation.local import Progress, SimulationResult, check_space, run_local

# Where Slurm's logs and what is submitted lie, in the data set's folder.
LOG_FOLDER = "slurm"
_SECONDS_BETWEEN_LOOKS = 2.0


@dataclass(frozen=True)
class SlurmSettings:
    """What is asked of the cluster.

    Attributes
    ----------
    tasks
        Tasks of the job array.
    cpus
        Cores of each, and its worker processes.
    minutes
        Time limit of each. A task that reaches it, or whose node fails, is queued again and loses the shards it was at.
    options
        Further options of sbatch by their long names, without dashes: ``{"partition": "short", "mem": "16G"}``.
    """

    tasks: int = 4
    cpus: int = 4
    minutes: int = 240
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("tasks", "cpus", "minutes"):
            if getattr(self, name) < 1:
                raise SyntheXError(f"Slurm: {name} must be at least 1, found {getattr(self, name)}.")


@dataclass(frozen=True)
class ArrayTask:
    """One task of the array; it is pickled and called on a node.

    Attributes
    ----------
    job
        The job, its paths absolute.
    settings
        What was asked of the cluster.
    """

    job: ShardJob
    settings: SlurmSettings

    def __call__(self, number: int) -> SimulationResult:
        """Make the shards of task `number`, then what others left."""
        return run_local(self.job, self.settings.cpus, part=(number, self.settings.tasks))

    def checkpoint(self, number: int) -> Any:
        """What submitit queues when the time is up: the same again, which finds the shards that are finished."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, number)


def sbatch_script(settings: SlurmSettings, command: Sequence[str]) -> str:
    """The script that makes the data set without submitit: ``sbatch FILE`` in this folder, on a machine where `command` runs.

    Parameters
    ----------
    settings
        What is asked of the cluster.
    command
        ``synthex simulate`` with all its options but those of the cluster.
    """
    options = {
        "job-name": "synthex",
        "array": f"0-{settings.tasks - 1}",
        "cpus-per-task": str(settings.cpus),
        "time": str(settings.minutes),
        "output": "synthex-%A_%a.log",
        "open-mode": "append",
        **settings.options,
    }
    run = f'{shlex.join(command)} --resume --workers {settings.cpus} --part "$SLURM_ARRAY_TASK_ID/{settings.tasks}"'
    lines = ["#!/bin/sh", *(f"#SBATCH --{name}={value}" for name, value in options.items()), "#SBATCH --requeue"]
    return "\n".join([*lines, "", f"exec {run}", ""])


def submit(job: ShardJob, settings: SlurmSettings) -> list[Any]:
    """Send a job to the cluster.

    Returns
    -------
    list
        The tasks, as submitit's ``Job``; empty when the data set is there already.

    Raises
    ------
    SyntheXError
        When submitit or Slurm is missing, Slurm refuses, the folder holds another data set or an input is bad.
    """
    try:
        import submitit
    except ImportError:
        raise SyntheXError("The package submitit is not installed: pip install 'synthex[cluster]', or use --dry-run.") from None
    job = _absolute(job)
    todo = [shard for shard in range(job.shard_count) if not shard_is_valid(job.folder, shard)]
    check_space(job, sum(len(job.shard_range(shard)) for shard in todo))
    write_header(job.folder, job.header())
    if not todo:
        return []
    settings = replace(settings, tasks=min(settings.tasks, len(todo)))
    try:
        executor = submitit.SlurmExecutor(folder=job.folder / LOG_FOLDER, max_num_timeout=100)
        executor.update_parameters(
            job_name="synthex",
            time=settings.minutes,
            cpus_per_task=settings.cpus,
            array_parallelism=settings.tasks,
            additional_parameters={**settings.options, "requeue": True},
        )
        return list(executor.map_array(ArrayTask(job, settings), range(settings.tasks)))
    except (RuntimeError, OSError, submitit.core.utils.FailedSubmissionError) as error:
        raise SyntheXError(f"Slurm did not take the job: {str(error).strip().splitlines()[-1]}") from error


def wait(
    job: ShardJob, tasks: Sequence[Any], progress: Progress | None = None, cancelled: Callable[[], bool] | None = None
) -> SimulationResult:
    """Wait until the tasks have ended.

    Parameters
    ----------
    job
        The job.
    tasks
        What `submit` gave.
    progress
        Called often with the images of finished shards.
    cancelled
        Asked often; once true, the tasks are cancelled; finished shards stay.

    Raises
    ------
    SyntheXError
        When a task failed; the message is the task's own.
    """
    started = time.perf_counter()

    def images() -> int:
        return sum(len(job.shard_range(shard)) for shard in range(job.shard_count) if shard_is_valid(job.folder, shard))

    reused = images()
    while True:
        over = all(task.done() for task in tasks)
        there = images()
        if progress is not None:
            progress(there, job.count)
        if over or there == job.count:
            break
        if cancelled is not None and cancelled():
            for task in tasks:
                task.cancel(check=False)
            break
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    if there < job.count and over:
        for task in tasks:
            if (error := task.exception()) is not None:
                raise SyntheXError(f"Slurm job {task.job_id} failed: {_reason(error)} Its logs lie in {job.folder / LOG_FOLDER}.")
    return SimulationResult(there - reused, reused, time.perf_counter() - started, there == job.count)


def _reason(error: BaseException) -> str:
    """The sentence in what submitit says of a failed task: the last line of its traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt): ", line)]
    own = f"{SyntheXError.__module__}.{SyntheXError.__qualname__}: "
    return told[-1].removeprefix(own) if told else lines[0] if lines else type(error).__name__


def _absolute(job: ShardJob) -> ShardJob:
    """The job with absolute paths: nodes have other working directories."""

    def absolute(case: CaseFiles) -> CaseFiles:
        values: dict[str, Any] = {key: value.resolve() if isinstance(value, Path) else value for key, value in vars(case).items()}
        return CaseFiles(**values)

    return replace(job, folder=job.folder.resolve(), cases=tuple(map(absolute, job.cases)))
