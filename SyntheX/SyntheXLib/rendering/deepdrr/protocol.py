"""Talking to the process that runs DeepDRR: a line of JSON each way, arrays as .npy files in a temporary folder.

A request is ``{"id": 3, "do": "render", ...}``, its reply ``{"id": 3, "ok": {...}}`` or ``{"id": 3, "error": "one sentence"}``.

======  ==========================================================================================================================
do      fields, and what comes back
======  ==========================================================================================================================
hello   none; protocol, deepdrr (version), device (name of the GPU, null without one), problem (why it cannot render, or null)
volume  key; density and labels (files: (K, J, I) float32 g/cm3 and uint16 places in `materials`); materials (list of names); compounds
        (name to element to mass fraction); ijk_to_ras (4 x 4, mm); shift (voxels by which DeepDRR displaces the content along each index
        axis: to be undone)
render  key; spectrum (list of [keV, photons]); world_to_camera (4 x 4, mm); intrinsics (3 x 3, pixel (0, 0) is the CENTRE of the first
        pixel); shape (rows, columns); source_to_detector_mm; image (file to write: (H, W) float32, absorbed energy relative to the open
        beam)
forget  key of a volume
======  ==========================================================================================================================
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import IO, Any

import numpy as np

from SyntheXLib import process_tree
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import disk_errors

PROTOCOL = 1
CHILD = Path(__file__).with_name("child.py")
# Seconds; hello imports torch and more from what may be a network drive, the first image compiles a kernel.
TIME_LIMITS = {"hello": 300.0, "volume": 120.0, "render": 600.0, "forget": 30.0}


class DeepDrrProcess:
    """A running child process; it ends with this object, at `close`, after a cancel, and when this process dies.

    Parameters
    ----------
    python
        Interpreter of the environment that holds DeepDRR.
    variables
        Environment variables on top of this process's.

    Attributes
    ----------
    hello
        What the child said of itself, see above.

    Raises
    ------
    SyntheXError
        When it does not start, speaks another version of the protocol, or does not answer.
    """

    def __init__(self, python: Path, variables: Mapping[str, str] | None = None) -> None:
        with disk_errors(Path(tempfile.gettempdir())):
            self.folder = Path(tempfile.mkdtemp(prefix="synthex-deepdrr-"))
        try:
            with (self.folder / "errors.txt").open("wb") as errors:
                self._process = process_tree.start(
                    [python, "-u", CHILD, self.folder],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env={**process_tree.foreign_environment(), "PYTHONNOUSERSITE": "1", **(variables or {})},
                    encoding="utf-8",
                )
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise SyntheXError(f"Cannot start DeepDRR's Python {python}: {error.strerror or error}.") from error
        self._finalizer = weakref.finalize(self, _end, self._process, self.folder)
        self._replies: SimpleQueue[str] = SimpleQueue()
        Thread(target=_read, args=(self._process.stdout, self._replies), daemon=True).start()
        self._number = 0
        try:
            self.hello = self.request("hello") or {}
            if self.hello.get("protocol") != PROTOCOL:
                raise SyntheXError(f"DeepDRR's process speaks protocol {self.hello.get('protocol')}, expected {PROTOCOL}.")
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._finalizer.alive and not process_tree.has_ended(self._process)

    def request(self, do: str, cancelled: Callable[[], bool] | None = None, **fields: Any) -> dict[str, Any] | None:
        """Ask, and wait for the answer.

        Parameters
        ----------
        do
            See above.
        cancelled
            Asked 20 times a second; once true, the process is ended and the result is None.
        fields
            What belongs to the request.

        Raises
        ------
        SyntheXError
            With the child's own sentence, or when it ends or takes too long; then it is closed.
        """
        self._number += 1
        with suppress(OSError, ValueError):  # a broken pipe: the process has ended, which is told below with the reason
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"id": self._number, "do": do, **fields}) + "\n")
            self._process.stdin.flush()
        deadline = time.monotonic() + TIME_LIMITS[do]
        while True:
            if cancelled is not None and cancelled():
                self.close()
                return None
            try:
                line = self._replies.get(timeout=0.05)
            except Empty:
                # Its children may still hold its output open, so that the end of file does not come.
                if process_tree.has_ended(self._process) and self._replies.empty():
                    raise self._ended(do) from None
                if time.monotonic() > deadline:
                    self.close()
                    raise SyntheXError(f"DeepDRR's process did not answer '{do}' within {TIME_LIMITS[do]:g} s and was ended.") from None
                continue
            return self._answer(line, do)

    def save(self, name: str, array: np.ndarray) -> str:
        """Put an array into the shared folder; returns the name of the file."""
        with disk_errors(self.folder):
            np.save(self.folder / f"{name}.npy", array)
        return f"{name}.npy"

    def load(self, file: str) -> np.ndarray:
        """Take an array out of the shared folder.

        Raises
        ------
        SyntheXError
            When the file is no array.
        """
        try:
            array: np.ndarray = np.load(self.folder / file, allow_pickle=False)
            self.remove(file)
        except (OSError, ValueError) as error:
            raise SyntheXError(f"DeepDRR's process was expected to write an image, found none ({error}).") from error
        return array

    def remove(self, file: str) -> None:
        """Remove a file of the shared folder."""
        (self.folder / file).unlink(missing_ok=True)

    def close(self) -> None:
        """End the process with its children, and remove the shared folder."""
        self._finalizer()

    def _answer(self, line: str, do: str) -> dict[str, Any]:
        if not line:  # end of file
            raise self._ended(do)
        try:
            reply = json.loads(line)
            if reply["id"] == self._number:
                if "error" in reply:
                    raise SyntheXError(str(reply["error"]))
                return dict(reply["ok"])
        except (ValueError, KeyError, TypeError):
            pass
        self.close()
        raise SyntheXError(f"DeepDRR's process was expected to answer '{do}' with JSON, found '{line.strip()[:80]}'.")

    def _ended(self, do: str) -> SyntheXError:
        deadline = time.monotonic() + 5
        while not process_tree.has_ended(self._process) and time.monotonic() < deadline:  # it has closed its output and is about to end
            time.sleep(0.01)
        errors = (self.folder / "errors.txt").read_text(encoding="utf-8", errors="replace").strip()
        self.close()
        reason = f": {errors.splitlines()[-1][:300].rstrip('.')}" if errors else ""
        return SyntheXError(f"DeepDRR's process ended during '{do}' (exit status {self._process.returncode}){reason}.")


def _read(stream: IO[str], replies: SimpleQueue[str]) -> None:
    with stream:
        for line in stream:
            replies.put(line)
    replies.put("")


def _end(process: subprocess.Popen[str], folder: Path) -> None:
    process_tree.end(process)
    if process.stdin is not None:
        with suppress(OSError):  # what was still to be sent
            process.stdin.close()
    shutil.rmtree(folder, ignore_errors=True)
