"""A ``synthex`` command as a child process: Slicer's window stays awake, and what the command imports is gone with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import SyntheXLib
from SyntheXLib import process_tree

# How long a cancelled command may tidy up before it is killed.
_GRACE_S = 10.0


class LibraryCommand:
    """Runs from its making on.

    Parameters
    ----------
    arguments
        As after ``synthex``.
    """

    def __init__(self, *arguments: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="SyntheX-"))
        self._cancelled: float | None = None
        library = str(Path(SyntheXLib.__file__).resolve().parents[1])
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (library, environment.get("PYTHONPATH"))))
        options = {"creationflags": 0x08000000} if sys.platform == "win32" else {}  # without a console window
        with (self._folder / "output").open("wb") as output, (self._folder / "errors").open("wb") as errors:
            self._process = process_tree.start(
                [shutil.which("PythonSlicer") or sys.executable, "-m", "SyntheXLib.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=environment,
                **options,
            )

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
        """Whether `cancel` ended it."""
        return self._cancelled is not None

    def output(self) -> str:
        """What it printed so far."""
        return self._read("output")

    def message(self) -> str:
        """The last line that it printed, of its errors where there are any: what it does, or what went wrong."""
        lines = [line for line in (self._read("errors") or self._read("output")).splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""

    def cancel(self) -> None:
        """Ask it to end and to tidy up."""
        if self._process.poll() is None and self._cancelled is None:
            self._cancelled = time.monotonic()
            if sys.platform == "win32":
                process_tree.end(self._process)
            else:
                os.killpg(self._process.pid, signal.SIGTERM)  # which `synthex` takes like Ctrl-C

    def close(self) -> None:
        """End it, if it still runs, and forget what it printed."""
        self.cancel()  # first: what it started in a group of its own it ends itself
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        process_tree.end(self._process)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self, name: str) -> str:
        path = self._folder / name
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
