"""A child process that outlives its parent, is found again by its record, and ends with all its children.

PythonSlicer is a launcher: ending it alone leaves the Python that it started. So a child is the root of a tree (`SyntheXLib.process_tree`),
here one that is known by its number alone. Slicer brings no psutil.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from SyntheXLib import process_tree
from SyntheXLib.files import atomic_write, disk_errors

# Children of this process: whoever started them must ask for their exit status, else they stay as zombies.
_OWN: dict[int, subprocess.Popen[Any]] = {}
_POLL_S = 0.05
#: Files that a process leaves in its folder: what it takes to find it again, and what it prints.
RECORD, OUTPUT = "process.json", "output.log"


@dataclass(frozen=True)
class ProcessRecord:
    """What it takes to find a process again.

    Attributes
    ----------
    pid
        Its number, which the system gives to others later.
    started
        When it started, as `start_mark` tells: with `pid` it names one process for good.
    command
        Program and arguments.
    """

    pid: int
    started: str
    command: list[str]

    @property
    def running(self) -> bool:
        """Whether this very process still runs."""
        child = _OWN.get(self.pid)
        if child is not None and child.poll() is not None:
            return False
        return self.started != "" and start_mark(self.pid) == self.started

    def write(self, path: Path) -> None:
        """Write the record as JSON."""
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @staticmethod
    def read(path: Path) -> ProcessRecord | None:
        """The record in a file; None when there is none that can be read."""
        try:
            return ProcessRecord(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


def start(command: Sequence[str], output: Path, environment: Mapping[str, str]) -> ProcessRecord:
    """Start a process that goes on when this one ends.

    Parameters
    ----------
    command
        Program and arguments.
    output
        File for what it prints, written anew.
    environment
        All its environment variables.

    Raises
    ------
    SyntheXError
        When `output` cannot be written.
    """
    with disk_errors(output), output.open("wb") as file:
        child = process_tree.start(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=dict(environment))
    _OWN[child.pid] = child
    return ProcessRecord(child.pid, start_mark(child.pid), list(command))


def end_tree(record: ProcessRecord, patience_s: float = 5.0) -> None:
    """End a process and all that it started: politely first, by force once the patience is over. Returns when they are gone."""
    if os.name == "nt":
        if record.running:
            process_tree.send(record.pid, signal.SIGTERM)
        return
    # The group may outlive its leader, and keeps its number as long as it has members. Of a leader that somebody else started and that is
    # gone, or whose number another process has, nothing is known.
    mark = start_mark(record.pid)
    if mark != record.started and (mark or record.pid not in _OWN):
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not process_tree.send(record.pid, number):
            return
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            if not _group_lives(record.pid):
                return
            time.sleep(_POLL_S)


def exit_status(record: ProcessRecord) -> int | None:
    """Exit status of a process that this one started and that has ended; None while it runs, or when somebody else started it."""
    child = _OWN.get(record.pid)
    return None if child is None else child.poll()


def start_mark(pid: int) -> str:
    """A text that tells when a process started, different for every process that ever had this number; empty when none has it now."""
    if sys.platform == "win32":
        return _windows_start(pid)
    if sys.platform != "linux":
        found = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()
        return "" if found.startswith("Z") else found.partition(" ")[2].strip()
    try:
        # After the command's name, which may hold blanks and brackets: state, then from field 4 on; field 22: start, in ticks since boot.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else f"{boot} {fields[19]}"


def _group_lives(group: int) -> bool:
    """Whether a process group has a member that runs."""
    child = _OWN.get(group)
    if child is not None:
        child.poll()
    if sys.platform == "linux":  # killpg counts zombies, which a container without init keeps
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                except OSError:
                    continue
                if int(fields[2]) == group and fields[0] not in "ZX":
                    return True
        return False
    return process_tree.send(group, 0)


def _windows_start(pid: int) -> str:
    import ctypes
    from ctypes import wintypes

    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]
    kernel.OpenProcess.restype = wintypes.HANDLE
    handle = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return ""
    handle = wintypes.HANDLE(handle)
    created, ended, in_kernel, in_user = (wintypes.FILETIME() for _ in range(4))
    try:
        kernel.GetProcessTimes(handle, *(ctypes.byref(time) for time in (created, ended, in_kernel, in_user)))
    finally:
        kernel.CloseHandle(handle)
    over = ended.dwHighDateTime or ended.dwLowDateTime
    return "" if over else f"{created.dwHighDateTime} {created.dwLowDateTime}"
