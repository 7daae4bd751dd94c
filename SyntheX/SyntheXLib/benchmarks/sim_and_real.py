"""The paper's tool and chest studies: Sim2Real and Real2Real on a user's own real X-rays.

Sim2Real trains on simulated images and is tested on all real ones; Real2Real trains on the other folds of the real ones (Gao et al. 2023:
five folds).
"""

from __future__ import annotations

from dataclasses import dataclass

from SyntheXLib.benchmarks.benchmark import Benchmark, Fold, Line
from SyntheXLib.evaluation.study import StudyRun, StudySet
from SyntheXLib.tasks.task import Task

SIM2REAL, REAL2REAL = "Sim2Real", "Real2Real"
FOLDS = 5


@dataclass(frozen=True)
class SimAndRealSettings:
    """How it is run.

    Attributes
    ----------
    task_name
        Name or file of the task.
    image_size
        Pixels a side.
    cases
        Options of ``synthex simulate`` that name its cases.
    count
        Simulated images.
    import_options
        Of ``synthex dataset import --layout images``; None where the real images are a data set already.
    epochs, epochs_real
        Of Sim2Real and Real2Real.
    folds
        Parts of the real images; images of one specimen stay together.
    randomization
        Level.
    train, simulate
        Further options of ``synthex train`` and ``simulate``.
    seed
        Of the trainings.
    """

    task_name: str
    image_size: int
    cases: str
    count: int
    import_options: str | None
    epochs: int
    epochs_real: int
    folds: int = FOLDS
    randomization: str = "strong"
    train: str = ""
    simulate: str = ""
    seed: int = 0


def sim_and_real(name: str, task: Task, settings: SimAndRealSettings) -> Benchmark:
    """The benchmark `name` (``tool`` or ``chest``) with these settings; ``{data}`` is the folder of real images."""
    size = settings.image_size
    sets = []
    source = "{data}"
    if settings.import_options is not None:
        command = f"dataset import --layout images '{{data}}' --task '{settings.task_name}' --image-size {size} {settings.import_options}"
        sets.append(StudySet("imported", command.strip()))
        source = "{imported}"
    sets.append(StudySet("real", f"dataset split '{source}' --parts {settings.folds}"))
    simulate = f"simulate --task '{settings.task_name}' {settings.cases} --count {settings.count} --image-size {size} {settings.simulate}"
    sets.append(StudySet("simulated", simulate.strip()))
    parts = [f"real/part_{number:02d}" for number in range(settings.folds)]
    lines = []
    for training, epochs in ((SIM2REAL, settings.epochs), (REAL2REAL, settings.epochs_real)):
        folds = []
        for number, part in enumerate(parts):
            run = StudyRun(
                name=f"{training}, part {number:02d}",
                train=("simulated",) if training == SIM2REAL else tuple(other for other in parts if other != part),
                test=part,
                options=f"--randomization {settings.randomization} --epochs {epochs}",
            )
            # Sim2Real has one training, which tests on all.
            alone = training == SIM2REAL
            folds.append(Fold("all" if alone else part.partition("/")[2], run, training if alone else run.name))
        lines.append(Line(training, settings.randomization, size, tuple(folds)))
    return Benchmark(name, task, tuple(sets), (), tuple(lines), settings.train, settings.seed)
