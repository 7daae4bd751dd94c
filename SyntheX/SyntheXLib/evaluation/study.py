"""A study: data sets, trainings on them and tests, as a list in a TOML file, and the commands that it means."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from SyntheXLib.errors import SyntheXError
from SyntheXLib.tasks.toml_reader import TomlReader, nearest

# What a command of a study calls the folder of data from outside.
DATA = "data"


@dataclass(frozen=True)
class StudySet:
    """A data set of a study.

    Attributes
    ----------
    name
        A folder of that name in ``sets`` of the study's folder.
    command
        What follows ``synthex``, without ``--out``; ``{name}`` stands for the folder of another set, ``{data}`` for the folder of data from
        outside.
    """

    name: str
    command: str


@dataclass(frozen=True)
class StudyRun:
    """A training and its test. Runs that train alike share the training.

    Attributes
    ----------
    name
        For the table, and the folder.
    train
        Names of the sets to train on, or of folders within one, as in ``matched/naive``.
    test
        The same of the one to test on.
    options
        Further options of ``synthex train``.
    model
        File of the training that is tested: ``model.pt``, the last, as in the paper, or ``best.pt``.
    adapt
        What follows ``synthex adapt`` where the network is adapted after the training, as in ``adda {simulated} --target {unlabelled}``,
        without ``--model``, ``--seed`` and ``--out``; the adapted network is tested.
    """

    name: str
    train: tuple[str, ...]
    test: str
    options: str = ""
    model: str = "model.pt"
    adapt: str = ""


@dataclass(frozen=True)
class Study:
    """What a study's file says.

    Attributes
    ----------
    seeds
        Each run is trained with each of them.
    sets, runs
        The lists.
    train
        Options of ``synthex train`` for all runs.
    reference
        Name of the run that the others are compared with, image by image; empty without.
    """

    seeds: tuple[int, ...]
    sets: tuple[StudySet, ...]
    runs: tuple[StudyRun, ...]
    train: str = ""
    reference: str = ""


@dataclass(frozen=True)
class Step:
    """A command of a study.

    Attributes
    ----------
    title
        For people.
    command
        What follows ``synthex``.
    folder
        What it writes.
    """

    title: str
    command: tuple[str, ...]
    folder: Path


def read_study(path: Path | str) -> Study:
    """Read a study.

    Raises
    ------
    SyntheXError
        When the file is no TOML, a key is unknown or missing (the line is named), or a run names a set that is not there.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SyntheXError(f"The study {path} cannot be read: expected TOML ({error}).") from error
    study = TomlReader(str(path), text).build(Study, values)
    names = [one.name for one in study.sets]
    if DATA in names:
        raise SyntheXError(f"{path}: a set must not be called '{DATA}', which stands for the folder of data from outside.")
    for kind, all_names in (("sets", names), ("runs", [run.name for run in study.runs])):
        twice = [name for name in all_names if all_names.count(name) > 1]
        if twice:
            raise SyntheXError(f"{path}: two {kind} have the name '{twice[0]}'.")
    known = [run.name for run in study.runs]
    if study.reference and study.reference not in known:
        raise SyntheXError(f"{path}: the reference '{study.reference}' is no run{nearest(study.reference, known)}.")
    for run in study.runs:
        for name in (*run.train, run.test):
            if _set_of(name) not in names:
                raise SyntheXError(f"{path}: run '{run.name}' names the set '{name}', which is not there{nearest(name, names)}.")
    return study


def steps(study: Study, out: Path, only: Sequence[str] = (), data: Path | None = None) -> Iterator[Step]:
    """The commands of a study in their order: each run's sets before it, each set and each training once.

    Parameters
    ----------
    study
        The study.
    out
        Its folder.
    only
        Names of the runs that are wanted; empty takes all.
    data
        Folder of data from outside, ``{data}`` of the commands.

    Raises
    ------
    SyntheXError
        When a wanted run is not there, the data are needed and not given, or sets need each other in a circle.
    """
    names = [run.name for run in study.runs]
    for name in only:
        if name not in names:
            raise SyntheXError(f"The study has no run '{name}'{nearest(name, names)}.")
    sets = _Sets(study, out, data)
    trained: set[Path] = set()
    for run in study.runs:
        if only and run.name not in only:
            continue
        for name in (*run.train, run.test):
            yield from sets.needed_by(f"{{{_set_of(name)}}}")
        training = sets.filled(" ".join((study.train, run.options)))
        yield from sets.needed_by(" ".join((study.train, run.options, run.adapt)))
        for seed in study.seeds:
            title = f"{run.name}, seed {seed}"
            folder, start = run_folder(out, run, seed), run_folder(out, _first_alike(study, run), seed)
            if start not in trained:
                trained.add(start)
                from_sets = [str(out / "sets" / name) for name in run.train]
                train = ("train", *from_sets, *training, "--seed", str(seed), "--out", str(start / "run"))
                yield Step(f"train {title}", train, start / "run")
            model, test = start / "run" / run.model, str(out / "sets" / run.test)
            if run.adapt:
                method, *rest = sets.filled(run.adapt)
                adapt = ("adapt", method, *rest, "--model", str(model), "--seed", str(seed), "--out", str(folder / "adapted"))
                yield Step(f"adapt {title}", adapt, folder / "adapted")
                model = folder / "adapted" / "model.pt"
            yield Step(f"test {title}", ("infer", str(model), test, "--out", str(folder / "found")), folder / "found")
            yield Step(f"evaluate {title}", ("evaluate", str(folder / "found"), test, "--out", str(folder / "report")), folder / "report")


def _first_alike(study: Study, run: StudyRun) -> StudyRun:
    """The first run whose training is the same."""
    return next(one for one in study.runs if (one.train, one.options) == (run.train, run.options))


def _set_of(name: str) -> str:
    """The set in whose folder a data set lies."""
    return name.partition("/")[0]


class _Sets:
    """The sets of a study, each made before it is first needed.

    Parameters
    ----------
    study, out, data
        See `steps`.
    """

    def __init__(self, study: Study, out: Path, data: Path | None) -> None:
        self._sets = {one.name: one for one in study.sets}
        self._folders = {name: str(out / "sets" / name) for name in self._sets}
        self._made: set[str] = set()
        self._data = data

    def filled(self, command: str) -> list[str]:
        """The parts of a command, with folders in place of names."""
        if f"{{{DATA}}}" in command and self._data is None:
            raise SyntheXError("The study needs a folder of data from outside, expected --data FOLDER, found none.")
        folders = {**self._folders, **({DATA: str(self._data)} if self._data is not None else {})}
        parts = shlex.split(command)
        for name, folder in folders.items():
            parts = [part.replace(f"{{{name}}}", folder) for part in parts]
        return parts

    def needed_by(self, command: str, above: tuple[str, ...] = ()) -> Iterator[Step]:
        """The commands that make what a command names, unless that was done before; `above` are the sets that wait for it."""
        for name in self._sets:
            if f"{{{name}}}" not in command or name in self._made:
                continue
            if name in above:
                raise SyntheXError(f"The sets {', '.join(above)} of the study need each other in a circle.")
            chosen = self._sets[name].command
            yield from self.needed_by(chosen, (*above, name))
            parts = self.filled(chosen)
            self._made.add(name)
            again = ["--resume"] if parts[0] == "simulate" else []
            folder = Path(self._folders[name])
            yield Step(f"set {name}", (*parts, *again, "--out", str(folder)), folder)


def run_folder(out: Path, run: StudyRun, seed: int) -> Path:
    """Where a run's files lie."""
    return out / "runs" / plain(run.name) / f"seed_{seed}"


def plain(title: str) -> str:
    """A title as the name of a file or folder: letters and digits, and ``_`` for all else."""
    return "".join(character if character.isalnum() else "_" for character in title)
