"""What a published benchmark is here: a study whose runs are lines of a table, each line tested fold by fold."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation.study import Step, Study, StudyRun, StudySet, steps
from SyntheXLib.evaluation.study_runs import record_of, run_steps
from SyntheXLib.tasks.task import Task


@dataclass(frozen=True)
class Fold:
    """One test fold of a line.

    Attributes
    ----------
    name
        Of the fold, as a specimen; folds of one name are counted as one.
    run
        Training and test.
    unit
        Folds of one unit share data sets of their own, and are run by one process.
    """

    name: str
    run: StudyRun
    unit: str


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes
    ----------
    training
        What is trained on, as the paper calls it.
    randomization
        Level of the domain randomisation.
    image_size
        Pixels a side.
    folds
        Its tests.
    """

    training: str
    randomization: str
    image_size: int
    folds: tuple[Fold, ...]

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.training}, {self.randomization}, {self.image_size} px"


@dataclass(frozen=True)
class Benchmark:
    """A benchmark that is ready to be run.

    Attributes
    ----------
    name
        ``deepfluoro``, ``tool`` or ``chest``.
    task
        Its task.
    sets
        Data sets that several units need, see `Study`.
    own_sets
        Those that one unit alone needs.
    lines
        Of the table.
    train
        Options of ``synthex train`` for all.
    seed
        Of the trainings.
    starts
        Runs that are no lines of the table, whose trainings lines go on from: they come first, so that a training lies in the same folder
        whichever lines are asked for.
    """

    name: str
    task: Task
    sets: tuple[StudySet, ...]
    own_sets: tuple[StudySet, ...]
    lines: tuple[Line, ...]
    train: str
    seed: int = 0
    starts: tuple[StudyRun, ...] = ()

    @property
    def study(self) -> Study:
        """The same as a study."""
        runs = tuple(fold.run for line in self.lines for fold in line.folds)
        return Study(seeds=(self.seed,), sets=(*self.sets, *self.own_sets), runs=(*self.starts, *runs), train=self.train)

    @property
    def units(self) -> list[str]:
        """Names of what can be run apart."""
        return list(dict.fromkeys(fold.unit for line in self.lines for fold in line.folds))


def benchmark_steps(
    benchmark: Benchmark, out: Path, data: Path, part: tuple[int, int] = (0, 1), sets_alone: bool = False, heatmaps: bool = True
) -> list[Step]:
    """The commands of a benchmark, or of a part of it.

    Parameters
    ----------
    benchmark
        The benchmark.
    out
        Its folder.
    data
        The real data, ``{data}`` of the commands.
    part
        Number and count of parts: units number, number + count ... are run.
    sets_alone
        Only make the data sets that all parts share.
    heatmaps
        Store the heatmaps of the tests, which ``released-code`` needs to look for landmarks inside the predicted bone.

    Raises
    ------
    SyntheXError
        When a part is asked for that has nothing to do.
    """
    number, parts = part
    units = benchmark.units[number::parts]
    if not units:
        raise SyntheXError(f"--part {number}/{parts} has nothing to do: the benchmark has {len(benchmark.units)} units that can run apart.")
    only = [fold.run.name for line in benchmark.lines for fold in line.folds if fold.unit in units]
    found = list(steps(benchmark.study, out, only, data))
    if sets_alone:
        shared = {out / "sets" / one.name for one in benchmark.sets}
        return [step for step in found if step.folder in shared]
    # The folds are evaluated together, see `fold_table`.
    kept = [step for step in found if step.command[0] != "evaluate"]
    if heatmaps:
        kept = [replace(step, command=(*step.command, "--heatmaps")) if step.command[0] == "infer" else step for step in kept]
    return kept


def run_benchmark(
    benchmark: Benchmark,
    out: Path,
    data: Path,
    tell: Callable[[str], None],
    part: tuple[int, int] = (0, 1),
    sets_alone: bool = False,
    heatmaps: bool = True,
) -> None:
    """Run the commands of `benchmark_steps`; what is finished is passed over.

    Raises
    ------
    SyntheXError
        When a command fails, or a part is run before the data sets that all parts share are there.
    """
    found = benchmark_steps(benchmark, out, data, part, sets_alone, heatmaps)
    if part[1] > 1 and not sets_alone:
        needed = {step.folder for step in found}
        shared = {one.name: out / "sets" / one.name for one in benchmark.sets}
        missing = [name for name, folder in shared.items() if folder in needed and not record_of(folder).exists()]
        if missing:
            raise SyntheXError(
                f"The data sets that all parts share must be made first, by the same command with --sets in place of --part; "
                f"{len(missing)} are missing in {out / 'sets'}, as '{missing[0]}'."
            )
    for step in found:
        # An import is whole or not there; one that was killed before it was recorded would not write over itself.
        if step.command[:2] == ("dataset", "import") and not record_of(step.folder).exists():
            shutil.rmtree(step.folder, ignore_errors=True)
    run_steps(found, tell, out, data)
