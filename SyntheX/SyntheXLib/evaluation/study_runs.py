"""Run the commands of a study, go on where it was stopped, and gather the table."""

from __future__ import annotations

import csv
import json
import math
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation.bootstrap import Estimate
from SyntheXLib.evaluation.study import Step, Study, run_folder
from SyntheXLib.evaluation.study_pairs import StudyDifference
from SyntheXLib.files import atomic_write

# What a finished step leaves beside its output: the command that made it.
_RECORD = "command.json"
# Two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom.
_T95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)


@dataclass(frozen=True)
class StudyResult:
    """One test of one training.

    Attributes
    ----------
    run, seed
        Which.
    dice
        Mean Dice over images and structures that are there.
    median_mm, mean_mm
        Landmark error on the detector over all visible landmarks, mm; NaN without landmarks.
    """

    run: str
    seed: int
    dice: float
    median_mm: float
    mean_mm: float


def run_steps(found: Sequence[Step], tell: Callable[[str], None], base: Path, data: Path | None = None) -> None:
    """Run the commands one after the other, each in a process of its own; what is finished is passed over.

    A command that is stopped goes on, when the study is started again, from where it was: simulations and trainings resume.

    Parameters
    ----------
    found
        See `steps`.
    tell
        Called with a line before each command.
    base, data
        The study's folder and that of data from outside, from which the commands are told in the records, so that they may be moved.

    Raises
    ------
    SyntheXError
        When a command fails, or a finished one was another.
    """
    started = time.monotonic()
    folders = {str(base): "{study}", **({str(data): "{data}"} if data is not None else {})}
    todo = [step for step in found if not _finished(step, folders)]
    for done, step in enumerate(todo):
        left = (time.monotonic() - started) / done * (len(todo) - done) if done else 0.0
        tell(f"[{done + 1}/{len(todo)}] {step.title}" + (f", some {left / 60:.0f} min left" if done else ""))
        process = subprocess.run([sys.executable, "-m", "SyntheXLib.cli", *step.command], check=False)
        if process.returncode != 0:
            raise SyntheXError(f"The study's step '{step.title}' failed: synthex {shlex.join(step.command)}")
        with atomic_write(record_of(step.folder)) as temporary:
            temporary.write_text(json.dumps(_portable(step, folders)), encoding="utf-8")


def record_of(folder: Path) -> Path:
    """The file that says that what a step writes into a folder is finished."""
    return folder.with_name(f"{folder.name}.{_RECORD}")


def _portable(step: Step, folders: Mapping[str, str]) -> list[str]:
    command = list(step.command)
    # The longest first: one of the folders may lie in the other.
    for folder in sorted(folders, key=len, reverse=True):
        command = [part.replace(folder, folders[folder]) for part in command]
    return command


def _finished(step: Step, folders: Mapping[str, str]) -> bool:
    record = record_of(step.folder)
    if not record.exists():
        return False
    made = json.loads(record.read_text(encoding="utf-8"))
    if made != _portable(step, folders):
        raise SyntheXError(
            f"{step.folder} was made by another command, expected: synthex {shlex.join(step.command)}; "
            f"found: synthex {shlex.join(made)}. Remove {record.name} and what it stands beside to make it anew."
        )
    return True


def results(study: Study, out: Path) -> list[StudyResult]:
    """What has been tested so far."""
    found = []
    for run in study.runs:
        for seed in study.seeds:
            folder = run_folder(out, run, seed) / "report"
            if record_of(folder).exists():
                found.append(_result(run.name, seed, folder))
    return found


def _result(run: str, seed: int, report: Path) -> StudyResult:
    dice = _column(report / "structures.csv", "dice_strict")
    errors = _column(report / "landmarks.csv", "error_detector_mm")
    return StudyResult(
        run,
        seed,
        float(np.mean(dice)) if len(dice) else math.nan,
        float(np.median(errors)) if len(errors) else math.nan,
        float(np.mean(errors)) if len(errors) else math.nan,
    )


def _column(path: Path, name: str) -> np.ndarray:
    with path.open(encoding="utf-8", newline="") as file:
        return np.array([float(row[name]) for row in csv.DictReader(file) if row[name]])


def write_table(found: Sequence[StudyResult], out: Path, differences: Sequence[StudyDifference] = (), reference: str = "") -> str:
    """Write ``results.csv``, a line a test, and ``table.md``, a line a run, and return the table.

    It has the mean over the seeds and half the 95 % interval of Student's t: how far the training with another seed may come out, not how
    far another patient may. Behind them, where there are `differences`, are those from the `reference` with their intervals.
    """
    with atomic_write(out / "results.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["run", "seed", "dice", "median_error_detector_mm", "mean_error_detector_mm"])
        writer.writerows([one.run, one.seed, f"{one.dice:.4f}", f"{one.median_mm:.3f}", f"{one.mean_mm:.3f}"] for one in found)
    heads = ["run", "seeds", "Dice", "median error, mm", "mean error, mm"]
    if differences:
        heads += [f"Dice against {reference}", "mean error against it, mm"]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    compared = {one.run: one for one in differences}
    for run in dict.fromkeys(one.run for one in found):
        own = [one for one in found if one.run == run]
        cells = [_spread([getattr(one, name) for one in own], digits) for name, digits in (("dice", 3), ("median_mm", 2), ("mean_mm", 2))]
        if differences:
            other = compared.get(run)
            cells += [_change(other.dice, 3), _change(other.error_mm, 2)] if other else ["", ""]
        lines.append(f"| {run} | {len(own)} | {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    with atomic_write(out / "table.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return text


def _change(estimate: Estimate, digits: int) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return ""
    return f"{estimate.value:+.{digits}f} [{estimate.low:+.{digits}f}, {estimate.high:+.{digits}f}]"


def _spread(values: Sequence[float], digits: int) -> str:
    mean, half = float(np.mean(values)), t_half_width(values)
    return f"{mean:.{digits}f}" if math.isnan(half) else f"{mean:.{digits}f} ± {half:.{digits}f}"


def t_half_width(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Half the 95 % interval of Student's t about the mean; NaN for fewer than two values or where one is NaN."""
    if len(values) < 2 or not np.isfinite(values).all():
        return math.nan
    quantile = _T95[len(values) - 2] if len(values) - 2 < len(_T95) else 1.96
    return quantile * float(np.std(values, ddof=1)) / math.sqrt(len(values))
