"""Segmentation by TotalSegmentator, version 2, a program of its own (https://github.com/wasserth/TotalSegmentator).

Nothing of it is part of SyntheX. Its task ``total`` alone is run, whose weights are open (Apache-2.0); others need a licence of their own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import numpy as np
import SimpleITK as sitk

from SyntheXLib import process_tree
from SyntheXLib.datasets.sample import SAMPLES
from SyntheXLib.errors import SyntheXError
from SyntheXLib.scene.case_files import on_grid_of, read_image, read_label_names
from SyntheXLib.tasks.task import Task

VARIABLE = "SYNTHEX_TOTALSEGMENTATOR"
_PART = re.compile(r"part (\d+) of (\d+)", re.IGNORECASE)
_PERCENT = re.compile(r"(\d+)%\|")


@dataclass(frozen=True)
class Program:
    """How TotalSegmentator is started: first words of the command, and the environment variables."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


def find_program() -> Program:
    """The program that SYNTHEX_TOTALSEGMENTATOR names, else the package in this Python, else the program on the path.

    Raises
    ------
    SyntheXError
        When there is none.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not shutil.which(named):
            raise SyntheXError(f"{VARIABLE} is '{named}': expected the path of the program TotalSegmentator, found no program there.")
        return Program((named,), process_tree.foreign_environment())
    if find_spec("totalsegmentator") is not None:
        return Program((sys.executable, "-m", "totalsegmentator.bin.TotalSegmentator"), os.environ)
    found = shutil.which("TotalSegmentator")
    if found is None:
        raise SyntheXError(
            "TotalSegmentator is not installed: run 'pip install TotalSegmentator' (in Slicer: install its extension), or have it in an "
            f"environment of its own and name its program in {VARIABLE}, or give a network of yours with --model."
        )
    return Program((found,), process_tree.foreign_environment())


def require_version_2(program: Program) -> None:
    """Ask a program for its version, which takes seconds.

    Raises
    ------
    SyntheXError
        When it is older than version 2, which numbers the structures in another way, or does not tell.
    """
    try:
        told = subprocess.run([*program.command, "--version"], env=dict(program.environment), capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SyntheXError(f"TotalSegmentator ({program.command[0]}) does not tell its version: {error}.") from error
    version = (told.stdout.split() or ["none"])[-1]
    major = version.partition(".")[0]
    if not major.isdigit() or int(major) < 2:
        raise SyntheXError(f"TotalSegmentator: expected version 2 or later, found {version}: update it.")


def total_names() -> dict[int, str]:
    """Number to name of the structures of TotalSegmentator's task ``total``, version 2."""
    return read_label_names(SAMPLES["pelvis"].label_names)


def segment_by_totalsegmentator(
    ct: sitk.Image,
    task: Task,
    fast: bool = False,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> tuple[sitk.Image, dict[int, str]]:
    """Segment the structures of a task.

    Parameters
    ----------
    ct
        Hounsfield units, on any grid.
    task
        Whose structures; the numbers that it gives for TotalSegmentator are asked for, and nothing else is run.
    fast
        Take the network for 3 mm instead of that for 1.5 mm.
    device
        As in `networks.device.choose_device`.
    progress
        Called with (percent, 100); it begins anew after the rough first run, by which the CT is cut.
    say
        Called with what the program prints.

    Returns
    -------
    labels, names
        TotalSegmentator's numbers on the CT's grid (uint8), and the name of each that was asked for.

    Raises
    ------
    SyntheXError
        When the program is missing, old or fails, or the task has no structure that it knows. Whatever is raised, a Ctrl-C included, its
        whole process tree is ended first.
    """
    program, known = find_program(), total_names()
    device_options = _device_options(device)
    names = {number: known[number] for structure in task.structures for number in structure.totalsegmentator if number in known}
    if not names:
        raise SyntheXError(f"Task '{task.name}': expected numbers of TotalSegmentator with its structures, found none.")
    require_version_2(program)
    with tempfile.TemporaryDirectory(prefix="synthex-", ignore_cleanup_errors=True) as temporary:
        source, target = Path(temporary, "ct.nii.gz"), Path(temporary, "segmentation.nii.gz")
        sitk.WriteImage(ct, str(source))
        options = ["-i", str(source), "-o", str(target), "--ml", "--task", "total", "--roi_subset", *names.values()]
        options += ["--fast"] * fast + device_options
        last = _run(program, options, progress, say)
        if not target.exists():
            raise SyntheXError(f"TotalSegmentator ended without a result; its last line: {last or 'none'}.")
        found, _ = on_grid_of(
            sitk.Cast(read_image(target, "result of TotalSegmentator"), sitk.sitkUInt8), ct, "the case", "of TotalSegmentator"
        )
    labels = sitk.GetArrayFromImage(found)
    labels[~np.isin(labels, list(names))] = 0
    result = sitk.GetImageFromArray(labels)
    result.CopyInformation(ct)
    return result, names


def _device_options(device: str) -> list[str]:
    if device == "auto":
        return []
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda", "mps"):
        raise SyntheXError(f"Device '{device}' is not known, expected auto, cpu, cuda, cuda:1 or mps.")
    return ["--device", {"cuda": "gpu"}.get(kind, kind) + (f":{number}" if number else "")]


def _run(program: Program, options: Sequence[str], progress: Callable[[int, int], None] | None, say: Callable[[str], None] | None) -> str:
    """Run it to its end and give its last line."""
    environment = {**program.environment, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    process = process_tree.start(
        [*program.command, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    assert process.stdout is not None
    part, parts, last = 1, 1, ""
    try:
        for line in _lines(process.stdout):
            if match := _PART.search(line):
                part, parts = int(match[1]), max(int(match[2]), 1)
            if match := _PERCENT.search(line):
                if progress:
                    progress((100 * (part - 1) + int(match[1])) // parts, 100)
            else:
                last = line
                if say:
                    say(line)
        if process.wait():
            raise SyntheXError(f"TotalSegmentator failed with status {process.returncode}: {last or 'it printed nothing'}.")
    finally:
        process_tree.end(process)
        process.stdout.close()
    if progress:
        progress(100, 100)
    return last


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """Lines as they come; bars end theirs with a carriage return."""
    rest = b""
    while chunk := os.read(stream.fileno(), 4096):
        *whole, rest = re.split(rb"[\r\n]+", rest + chunk)
        yield from (text for line in whole if (text := line.decode("utf-8", "replace").strip()))
    if text := rest.decode("utf-8", "replace").strip():
        yield text
