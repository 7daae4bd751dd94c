"""Child processes that end with all their own children."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has no such name


def start(command: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
    """Start a command (options: see ``subprocess.Popen``) in a process group of its own, so that Ctrl-C is ours to pass on.

    On Windows it has a console of its own, which is not shown.
    """
    options.setdefault("creationflags", getattr(subprocess, "CREATE_NO_WINDOW", 0))
    with _interruptible():
        return subprocess.Popen([str(part) for part in command], start_new_session=os.name == "posix", **options)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let children start with Ctrl-C as usual where this process ignores it, as one does that a script has put into the background."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread()
    if ignored:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def send(pid: int, number: int) -> bool:
    """Signal a process that `start` started and its children, by its number, or tell with signal 0 whether there are any.

    Windows knows one way only: whatever the signal, the tree is killed.

    Returns
    -------
    bool
        False when none is left.
    """
    if os.name != "posix":
        done = subprocess.run(["taskkill", "/T", "/F", "/PID", str(pid)], capture_output=True, check=False)
        return done.returncode == 0
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        return False
    return True


def end(process: subprocess.Popen[Any]) -> None:
    """Kill a process that `start` started, with its children, and wait for it.

    Children of one that has ended by itself are found as long as nobody has asked for its status; later its number may be another's.
    """
    if process.returncode is None:
        send(process.pid, _KILL)
        process.kill()
    process.wait()


def has_ended(process: subprocess.Popen[Any]) -> bool:
    """Whether a process has ended, its status left untouched where the system can tell so, for `end`."""
    if process.returncode is None and hasattr(os, "waitid"):
        with suppress(ChildProcessError):
            return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return process.poll() is not None


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs; numbers are used again, so a yes may mean another one."""
    if os.name == "nt":  # os.kill would end the process there
        import ctypes

        handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, pid)  # type: ignore[attr-defined]
        if handle:
            ctypes.windll.kernel32.CloseHandle(handle)  # type: ignore[attr-defined]
        return bool(handle)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def foreign_environment() -> Mapping[str, str]:
    """This process's environment variables for another Python: without what points it to this one's packages.

    Slicer sets PYTHONHOME and PYTHONPATH and puts its own libraries first, with which no other Python runs.
    """
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")}
    home = variables.get("SLICER_HOME")
    if home:
        for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"):
            if name in variables:
                variables[name] = os.pathsep.join(part for part in variables[name].split(os.pathsep) if not part.startswith(home))
    return variables
