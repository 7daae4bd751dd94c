"""A study: data sets, trainings on them and tests, as a list in a TOML file, and the commands that it means."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from SyntheXLib.errors import SyntheXError
from SyntheXLib.tasks.toml_reader import TomlReader, nearest


@dataclass(frozen=True)
class StudySet:
    """A data set of a study.

    Attributes
    ----------
    name
        A folder of that name in ``sets`` of the study's folder.
    command
        What follows ``synthex``, without ``--out``; ``{name}`` stands for the folder of another set.
    """

    name: str
    command: str


@dataclass(frozen=True)
class StudyRun:
    """A training and its test.

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
        File of the run that is tested: ``model.pt``, the last, as in the paper, or ``best.pt``.
    """

    name: str
    train: tuple[str, ...]
    test: str
    options: str = ""
    model: str = "model.pt"


@dataclass(frozen=True)
class Study:
    """What a study's file says.

    Attributes
    ----------
    seeds
        Each run is trained with each of them.
    train
        Options of ``synthex train`` for all runs.
    sets, runs
        The lists.
    """

    seeds: tuple[int, ...]
    sets: tuple[StudySet, ...]
    runs: tuple[StudyRun, ...]
    train: str = ""


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
    for kind, all_names in (("sets", names), ("runs", [run.name for run in study.runs])):
        twice = [name for name in all_names if all_names.count(name) > 1]
        if twice:
            raise SyntheXError(f"{path}: two {kind} have the name '{twice[0]}'.")
    for run in study.runs:
        for name in (*run.train, run.test):
            if _set_of(name) not in names:
                raise SyntheXError(f"{path}: run '{run.name}' names the set '{name}', which is not there{nearest(name, names)}.")
    return study


def steps(study: Study, out: Path, only: Sequence[str] = ()) -> Iterator[Step]:
    """The commands of a study in their order: each run's sets before it, each set once.

    Parameters
    ----------
    study
        The study.
    out
        Its folder.
    only
        Names of the runs that are wanted; empty takes all.

    Raises
    ------
    SyntheXError
        When a wanted run is not there, or sets need each other in a circle.
    """
    names = [run.name for run in study.runs]
    for name in only:
        if name not in names:
            raise SyntheXError(f"The study has no run '{name}'{nearest(name, names)}.")
    made: set[str] = set()
    for run in study.runs:
        if only and run.name not in only:
            continue
        for name in (*run.train, run.test):
            yield from _set_steps(study, out, _set_of(name), made, ())
        for seed in study.seeds:
            folder = run_folder(out, run, seed)
            trained = [str(out / "sets" / name) for name in run.train]
            options = [*shlex.split(study.train), *shlex.split(run.options)]
            test = str(out / "sets" / run.test)
            title = f"{run.name}, seed {seed}"
            train = ("train", *trained, *options, "--seed", str(seed), "--out", str(folder / "run"))
            infer = ("infer", str(folder / "run" / run.model), test, "--out", str(folder / "found"))
            yield Step(f"train {title}", train, folder / "run")
            yield Step(f"test {title}", infer, folder / "found")
            yield Step(f"evaluate {title}", ("evaluate", str(folder / "found"), test, "--out", str(folder / "report")), folder / "report")


def _set_of(name: str) -> str:
    """The set in whose folder a data set lies."""
    return name.partition("/")[0]


def _set_steps(study: Study, out: Path, name: str, made: set[str], above: tuple[str, ...]) -> Iterator[Step]:
    if name in made:
        return
    if name in above:
        raise SyntheXError(f"The sets {', '.join(above)} of the study need each other in a circle.")
    (chosen,) = [one for one in study.sets if one.name == name]
    parts = shlex.split(chosen.command)
    folders = {other.name: str(out / "sets" / other.name) for other in study.sets}
    for other in folders:
        if any(f"{{{other}}}" in part for part in parts):
            yield from _set_steps(study, out, other, made, (*above, name))
    command = [_filled(part, folders) for part in parts]
    made.add(name)
    folder = out / "sets" / name
    again = ["--resume"] if command[0] == "simulate" else []
    yield Step(f"set {name}", (*command, *again, "--out", str(folder)), folder)


def _filled(part: str, folders: Mapping[str, str]) -> str:
    for name, folder in folders.items():
        part = part.replace(f"{{{name}}}", folder)
    return part


def run_folder(out: Path, run: StudyRun, seed: int) -> Path:
    """Where a run's files lie."""
    plain = "".join(character if character.isalnum() else "_" for character in run.name)
    return out / "runs" / plain / f"seed_{seed}"
