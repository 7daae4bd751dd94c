"""A ``synthex`` command as a child process: Slicer's window stays awake, and what the command imports is gone with it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import SyntheXLib
from SyntheXLib import process_tree

# How long a cancelled command may tidy up before it is killed, and how long one whose panel is closed, for which the user waits.
_GRACE_S, _CLOSING_S = 10.0, 5.0
_TAIL_BYTES = 65536  # many lines of progress
_STREAMS = ("errors", "output")  # files of the command's folder


@dataclass(frozen=True)
class Progress:
    """How far a command is.

    Attributes
    ----------
    done, total
        As its bar shows them; 0 of 0 before.
    rate
        How many a second since the bar was seen first.
    secondsLeft
        What follows from it; None before the first one.
    """

    done: int = 0
    total: int = 0
    rate: float = 0.0
    secondsLeft: float | None = None


class LibraryCommand:
    """A running ``synthex COMMAND ...``, in a process tree of its own, which starts with its making and has to be closed.

    Parameters
    ----------
    arguments
        As after ``synthex``.
    inputs
        Called with the command's temporary folder: writes there what the command reads, and gives the rest of the arguments.
    bar
        Title of its progress bar; None: the command's name.
    """

    def __init__(self, *arguments: str, inputs: Callable[[Path], Sequence[str]] = lambda _folder: (), bar: str | None = None) -> None:
        self._name, self._bar = arguments[0], bar or arguments[0]
        self._cancelled: float | None = None
        self._seen: tuple[float, int] | None = None  # when the bar was seen first, and how many were done then
        self.folder = Path(tempfile.mkdtemp(prefix="SyntheX-"))
        try:
            command = [*library_program(), *arguments, *inputs(self.folder)]
            with (self.folder / "output").open("wb") as output, (self.folder / "errors").open("wb") as errors:
                self._process = process_tree.start(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=library_environment()
                )
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def finished(self) -> bool:
        """Whether it has ended; ask often, for that also kills a cancelled one that does not end by itself."""
        if self._cancelled is not None and time.monotonic() - self._cancelled > _GRACE_S:
            process_tree.end(self._process)
        return self._process.poll() is not None

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs."""
        return self._process.poll()

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to end."""
        return self._cancelled is not None

    @property
    def failed(self) -> bool:
        """Whether it ended by an error; a cancelled one did not."""
        return self.status not in (None, 0) and not self.cancelled

    def progress(self) -> Progress:
        """How far it is."""
        bars = re.findall(rf"^{re.escape(self._bar)}:.*?(\d+)/(\d+) \[", "\n".join(_lines(self.folder / "errors")), re.MULTILINE)
        if not bars:
            return Progress()
        done, total = map(int, bars[-1])
        now = time.monotonic()
        if self._seen is None:
            self._seen = now, done
        seconds, made = now - self._seen[0], done - self._seen[1]
        rate = made / seconds if seconds > 0 else 0.0
        return Progress(done, total, rate, (total - done) / rate if rate else None)

    def message(self) -> str:
        """The last line that is no bar, in one sentence: what it does now, what it made or, of its errors, what went wrong."""
        errors, output = ([line for line in _lines(self.folder / name) if not line.startswith(f"{self._bar}:")] for name in _STREAMS)
        said = output or errors if self.status == 0 else errors or output
        ended = "" if self.status is None else f"synthex {self._name} ended with status {self.status}."
        return said[-1].removeprefix(f"synthex {self._name}: ") if said else ended

    def output(self) -> str:
        """All that it printed so far, errors and progress left out."""
        return (self.folder / "output").read_text(encoding="utf-8", errors="replace")

    def cancel(self) -> None:
        """Ask it to end and to tidy up."""
        if self.status is None and self._cancelled is None:
            self._cancelled = time.monotonic()
            # Like Ctrl-C; workers leave that to the first process.
            process_tree.send(self._process.pid, signal.SIGINT)

    def close(self) -> None:
        """End it, if it still runs, and remove its files; what it said is then forgotten."""
        self.cancel()  # first: what it started in a group of its own it alone can end
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_CLOSING_S)
        process_tree.end(self._process)
        shutil.rmtree(self.folder, ignore_errors=True)


def library_program() -> list[str]:
    """Program and first arguments that stand for ``synthex``."""
    # In Slicer itself sys.executable is no Python; PythonSlicer knows the paths of installed extensions.
    return [shutil.which("PythonSlicer") or sys.executable, "-m", "SyntheXLib.cli"]


def library_environment() -> dict[str, str]:
    """This process's environment variables for a child that runs the library."""
    library = str(Path(SyntheXLib.__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, (library, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}


def tail(path: Path) -> str:
    """The end of a text file that may be long and is still written; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _lines(path: Path) -> list[str]:
    """Its last lines; bars end theirs with a carriage return."""
    return [line.strip() for line in re.split(r"[\r\n]", tail(path)) if line.strip()]
