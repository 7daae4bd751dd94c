"""A ``synthex`` command in a process of its own, so that Slicer's window goes on while it works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import SyntheXLib
from SyntheXLib import process_tree


class CommandProcess:
    """A running command.

    Parameters
    ----------
    arguments
        What follows ``synthex``; the first is the command's name, with which its progress bar begins.
    """

    def __init__(self, arguments: Sequence[str | Path]) -> None:
        self._name = str(arguments[0])
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process writes to it
        environment = dict(os.environ)
        library = str(Path(SyntheXLib.__file__).resolve().parents[1])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (library, environment.get("PYTHONPATH"))))
        # Slicer's Python is a launcher, and ending that alone would leave the rest: hence a process tree.
        self._process = process_tree.start(
            [shutil.which("PythonSlicer") or sys.executable, "-m", "SyntheXLib.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=environment,
        )

    def progress(self) -> tuple[int, int]:
        """What is done and what there is to do, as the progress bar shows it; (0, 0) before its first step."""
        found = re.findall(rf"{re.escape(self._name)}:.*?(\d+)/(\d+) \[", self._text())
        return (int(found[-1][0]), int(found[-1][1])) if found else (0, 0)

    def finished(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def failed(self) -> bool:
        """Whether it has ended by an error, or was ended."""
        return self._process.poll() not in (None, 0)

    def message(self) -> str:
        """The command's last line: what it made, or what went wrong."""
        lines = [line.strip() for line in re.split(r"[\r\n]", self._text())]
        lines = [line for line in lines if line and not line.startswith(f"{self._name}:")]
        return lines[-1] if lines else f"synthex {self._name} ended with status {self._process.returncode}."

    def end(self) -> None:
        """End it at once with all its children."""
        process_tree.end(self._process)

    def _text(self) -> str:
        size = os.fstat(self._log.fileno()).st_size
        # By position and not through the file object, whose place the process shares.
        if hasattr(os, "pread"):
            return os.pread(self._log.fileno(), size, 0).decode("utf-8", "replace")
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")
