"""The paper's controlled study on DeepFluoro: the same views, labels and network, and images that differ in their appearance alone.

Eight training sets, two levels of domain randomisation, three resolutions, leave one specimen out. Matched twins of the real images, with
each femur at its registered pose, are made at the three levels of realism. Translated images replace the originals; neither CycleGAN nor
ADDA is shown an image, real or simulated, of the specimen that is tested on (Gao et al. 2023, Methods).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from SyntheXLib.benchmarks.benchmark import Benchmark, Fold, Line
from SyntheXLib.datasets.importers import deepfluoro_file
from SyntheXLib.datasets.importers.hdf5 import group, open_hdf5
from SyntheXLib.datasets.importers.imported import chosen_specimens
from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation.study import StudyRun, StudySet
from SyntheXLib.tasks.task import Task, nearest

NAME = "deepfluoro"
_CYCLEGAN, _ADDA = "-CycleGAN", "-ADDA"
#: What is trained on, in the order of the paper's figure.
TRAINING_SETS = (
    "real",
    "realistic",
    "heuristic",
    "naive",
    "realistic-CycleGAN",
    "naive-CycleGAN",
    "realistic-ADDA",
    "naive-ADDA",
)
RANDOMIZATION = ("regular", "strong")
IMAGE_SIZES = (180, 360, 480)


@dataclass(frozen=True)
class ControlledSettings:
    """Which part of the study, and how.

    Attributes
    ----------
    training, randomization, image_sizes
        Lines of the table: all combinations.
    train, cyclegan, adda, simulate
        Options of ``synthex train``, ``adapt cyclegan``, ``adapt adda`` and ``simulate``.
    seed
        Of all trainings; data sets have fixed ones.
    """

    training: tuple[str, ...] = TRAINING_SETS
    randomization: tuple[str, ...] = RANDOMIZATION
    image_sizes: tuple[int, ...] = IMAGE_SIZES
    train: str = ""
    cyclegan: str = ""
    adda: str = ""
    simulate: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the names.

        Raises
        ------
        SyntheXError
            When one is unknown.
        """
        for what, given, known in (
            ("--only", self.training, TRAINING_SETS),
            ("--randomization", self.randomization, RANDOMIZATION),
        ):
            for name in given:
                if name not in known:
                    raise SyntheXError(f"{what} must be one of {', '.join(known)}, found '{name}'{nearest(name, known)}.")
        for size in self.image_sizes:
            if size < 16:
                raise SyntheXError(f"--image-size must be at least 16 px, found {size}.")


def specimens_of(path: Path, wanted: Sequence[str] = ()) -> list[str]:
    """Names of the specimens of DeepFluoro's full-resolution file that have projections, or of those that are wanted.

    Raises
    ------
    SyntheXError
        When the file is missing, no HDF5 file or of another layout, a wanted specimen is not there, or there are fewer than two, of which
        one could be left out.
    """
    with open_hdf5(path) as file:
        deepfluoro_file.read_detector(file)
        found = chosen_specimens(deepfluoro_file.specimen_names(file), wanted, str(path))
        for name in found:
            for part in ("vol", "vol-seg", "vol-landmarks", "projections"):
                group(file[name], part)
    if len(found) < 2:
        raise SyntheXError(f"{path}: expected two specimens or more, to leave one out for the test, found {', '.join(found)}.")
    return found


def controlled_study(specimens: Sequence[str], task: Task, settings: ControlledSettings) -> Benchmark:
    """The study on these specimens.

    Parameters
    ----------
    specimens
        At least two.
    task
        Names of structures and landmarks, and the frame: hip.
    settings
        Which part of it.
    """
    sets: list[StudySet] = []
    own: list[StudySet] = []
    for name in specimens:
        sets.append(StudySet(f"cases_{name}", f"dataset import --layout deepfluoro '{{data}}' --specimen '{name}' --cases-only"))
    for size in settings.image_sizes:
        for number, name in enumerate(specimens):
            sets.append(
                StudySet(_real(size, name), f"dataset import --layout deepfluoro '{{data}}' --specimen '{name}' --image-size {size}")
            )
            sets.append(StudySet(_matched(size, name), _simulate(size, name, number, task, settings)))
        for name in specimens:
            for training in settings.training:
                if training.endswith(_CYCLEGAN):
                    own += _translated_sets(training.removesuffix(_CYCLEGAN), size, name, specimens, settings)
    lines = tuple(
        Line(training, level, size, tuple(_fold(training, level, size, name, specimens, settings) for name in specimens))
        for size in settings.image_sizes
        for training in settings.training
        for level in settings.randomization
    )
    adapted = [training.removesuffix(_ADDA) for training in settings.training if training.endswith(_ADDA)]
    starts = tuple(
        _fold(training, level, size, name, specimens, settings).run
        for size in settings.image_sizes
        for training in adapted
        for level in settings.randomization
        for name in specimens
        if training not in settings.training
    )
    return Benchmark(NAME, task, tuple(sets), tuple(own), lines, settings.train, settings.seed, starts)


def _real(size: int, specimen: str) -> str:
    return f"real_{size}_{specimen}"


def _matched(size: int, specimen: str) -> str:
    return f"matched_{size}_{specimen}"


def _simulate(size: int, specimen: str, seed: int, task: Task, settings: ControlledSettings) -> str:
    cases = f"{{cases_{specimen}}}"
    command = f"simulate --task {task.name} --cases '{cases}/cases.csv' --matched '{cases}/poses.json' --image-size {size} --seed {seed}"
    return f"{command} {settings.simulate}".strip()


def _set_names(training: str, size: int, test: str, specimens: Sequence[str]) -> tuple[str, ...]:
    """The sets to train on where `test` is left out, one a specimen."""
    if training.endswith(_CYCLEGAN):
        return tuple(_translated(training.removesuffix(_CYCLEGAN), size, test, name) for name in specimens if name != test)
    realism = training.removesuffix(_ADDA)
    return tuple(_real(size, name) if realism == "real" else f"{_matched(size, name)}/{realism}" for name in specimens if name != test)


def _translated(realism: str, size: int, test: str, specimen: str) -> str:
    return f"{realism}-cyclegan_{size}_without_{test}_{specimen}"


def _domains(realism: str, size: int, test: str, specimens: Sequence[str]) -> str:
    """Source, target and the specimen that neither may show, as options of ``synthex adapt``."""
    sources, targets = (_set_names(training, size, test, specimens) for training in (realism, "real"))
    return f"{_folders(sources)} --target {_folders(targets)} --test {_folders([_real(size, test)])}"


def _folders(names: Sequence[str]) -> str:
    """Names of sets, or of folders in them, as a command's words."""
    parts = [name.partition("/") for name in names]
    return " ".join(f"'{{{name}}}{slash}{rest}'" for name, slash, rest in parts)


def _translated_sets(realism: str, size: int, test: str, specimens: Sequence[str], settings: ControlledSettings) -> list[StudySet]:
    """The CycleGAN of a fold, and its translations."""
    gan = f"{realism}-cyclegan_{size}_without_{test}"
    command = f"adapt cyclegan {_domains(realism, size, test, specimens)} --seed {settings.seed} {settings.cyclegan}".strip()
    found = [StudySet(gan, command)]
    for name in specimens:
        if name != test:
            source = _folders([f"{_matched(size, name)}/{realism}"])
            found.append(StudySet(_translated(realism, size, test, name), f"adapt translate '{{{gan}}}/translator.pt' {source}"))
    return found


def _fold(training: str, level: str, size: int, test: str, specimens: Sequence[str], settings: ControlledSettings) -> Fold:
    adapt = ""
    if training.endswith(_ADDA):
        adapt = f"adda {_domains(training.removesuffix(_ADDA), size, test, specimens)} {settings.adda}".strip()
    run = StudyRun(
        name=f"{training}, {level}, {size} px, without {test}",
        train=_set_names(training, size, test, specimens),
        test=_real(size, test),
        options=f"--randomization {level}",
        adapt=adapt,
    )
    return Fold(test, run, f"{size} px, without {test}")
