"""A ``synthex`` command that a panel starts, follows and ends."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import SyntheXLib
from SyntheXLib import process_tree

# How long a cancelled command may tidy up before it is killed, and how long one whose panel is closed.
_GRACE_S, _CLOSING_S = 10.0, 3.0


class Command:
    """A running ``synthex COMMAND ...``, in a process tree of its own.

    Parameters
    ----------
    arguments
        Command and options.
    folder
        Temporary folder of the command's files, removed once it has ended and `close` is called; None without.
    """

    def __init__(self, arguments: Sequence[str], folder: Path | None = None) -> None:
        self._name, self._folder = arguments[0], folder
        self._bar = re.compile(rf"{re.escape(self._name)}:.*?(\d+)/(\d+) \[")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process writes to it
        self._cancelled: float | None = None
        environment = dict(os.environ, PYTHONIOENCODING="utf-8")
        library = str(Path(SyntheXLib.__file__).resolve().parents[1])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (library, environment.get("PYTHONPATH"))))
        # Slicer's Python is a launcher, and killing that alone would leave the rest.
        self._process = process_tree.start(
            [shutil.which("PythonSlicer") or sys.executable, "-m", "SyntheXLib.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=environment,
        )

    def progress(self) -> tuple[int, int]:
        """Done and total as its bar shows them, (0, 0) before; call it often, for it also kills a cancelled command that does not end."""
        if self._cancelled is not None and time.monotonic() - self._cancelled > _GRACE_S:
            process_tree.end(self._process)
        found = self._bar.findall(self._text())
        done, total = found[-1] if found else (0, 0)
        return int(done), int(total)

    def message(self) -> str:
        """The last line that is no bar: what it does now, what it made, or what went wrong."""
        lines = [line.strip() for line in re.split(r"[\r\n]", self._text()) if line.strip() and not line.startswith(f"{self._name}:")]
        return lines[-1] if lines else ""

    def finished(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def cancelled(self) -> bool:
        """Whether it was asked to end."""
        return self._cancelled is not None

    def failed(self) -> bool:
        """Whether it ended by an error; a cancelled one did not."""
        return self._process.poll() not in (None, 0) and self._cancelled is None

    def cancel(self) -> None:
        """Ask it to end and tidy up."""
        if self._process.poll() is None and self._cancelled is None:
            self._cancelled = time.monotonic()
            if sys.platform == "win32":
                process_tree.end(self._process)
            else:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGINT)

    def close(self) -> None:
        """End it, by force when it does not tidy up within three seconds, and remove its temporary files."""
        self.cancel()  # first politely: a program of its own that the command runs is in another process group, which it alone can end
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_CLOSING_S)
        process_tree.end(self._process)
        self._log.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _text(self) -> str:
        if self._log.closed:
            return ""
        size = os.fstat(self._log.fileno()).st_size
        # By position and not through the file object, whose place the process shares.
        if hasattr(os, "pread"):
            return os.pread(self._log.fileno(), size, 0).decode("utf-8", "replace")
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")
