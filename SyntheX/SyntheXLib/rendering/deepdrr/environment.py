"""The environment that holds DeepDRR: where it is, how it is made, what works in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from SyntheXLib import process_tree
from SyntheXLib.cache import cache_folder
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import disk_errors
from SyntheXLib.rendering.deepdrr.protocol import DeepDrrProcess
from SyntheXLib.rendering.deepdrr.self_test import SelfTest, forget_test, run_self_test, stored_test

VERSION = "1.2.2"
# An interpreter that has DeepDRR already, as from conda.
VARIABLE = "SYNTHEX_DEEPDRR_PYTHON"
INSTALL = "synthex doctor --install-deepdrr"
# DeepDRR wants numpy below 2, which has wheels for these; cuda-python 13 lacks the module that it imports.
_PYTHONS = ((3, 10), (3, 12))
_REQUIREMENTS = ("numpy<2", "cuda-python<13")


@dataclass(frozen=True)
class State:
    """What there is: ``missing``, ``no CUDA``, ``broken`` or ``works``, and a sentence that says so and what to do."""

    kind: str
    sentence: str


def environment_folder() -> Path:
    """Folder of the environment that `install` makes."""
    return cache_folder() / "deepdrr" / "environment"


def environment_python() -> Path | None:
    """Interpreter of the environment: the one that ``SYNTHEX_DEEPDRR_PYTHON`` names, else the installed one, else None."""
    chosen = os.environ.get(VARIABLE)
    python = Path(chosen).expanduser() if chosen else _python_in(environment_folder())
    return python if chosen or python.exists() else None


def ready() -> tuple[Path, SelfTest]:
    """Interpreter and self-test of an environment that works; the test is run where none is stored.

    Raises
    ------
    SyntheXError
        When there is none, saying what to do.
    """
    python = environment_python()
    if python is None:
        if driver_cuda() is None:
            raise SyntheXError(f"Renderer 'deepdrr': {_no_cuda()}; use --renderer own.")
        raise SyntheXError(f"Renderer 'deepdrr' needs DeepDRR {VERSION}, which is not installed: run '{INSTALL}' or use --renderer own.")
    test = stored_test(python)
    if test is None:
        process = DeepDrrProcess(python)
        try:
            test = run_self_test(process, python)
        finally:
            process.close()
    return python, test


def state() -> State:
    """Start what is there, run the self-test anew, and tell."""
    python = environment_python()
    if python is None:
        if driver_cuda() is None:
            return State("no CUDA", f"{_no_cuda()}.")
        return State("missing", f"not installed; '{INSTALL}' makes its environment.")
    try:
        process = DeepDrrProcess(python)
    except SyntheXError as error:
        return State("broken", f"{error} '{INSTALL}' makes the environment anew.")
    try:
        if not process.hello.get("device"):
            problem = str(process.hello.get("problem"))
            return State("no CUDA" if "No CUDA" in problem else "broken", problem)
        test = run_self_test(process, python)
    except SyntheXError as error:
        return State("broken", str(error))
    finally:
        process.close()
    treatment = "a displacement of one voxel is corrected" if test.shift else "no displacement of the image was found"
    return State("works", f"{test.deepdrr} works on {test.device}; {treatment}.")


def driver_cuda() -> tuple[int, int] | None:
    """CUDA version that the NVIDIA driver supports, or None without a driver."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    try:
        text = subprocess.run([command], capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"CUDA Version:\s*(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def requirements(cuda: tuple[int, int]) -> tuple[str, ...]:
    """What pip is to install for a driver of that CUDA version.

    Raises
    ------
    SyntheXError
        When the driver is too old.
    """
    if cuda < (11, 2):
        raise SyntheXError(f"DeepDRR needs a driver for CUDA 11.2 or later, found {cuda[0]}.{cuda[1]}: update the NVIDIA driver.")
    # A driver of a later CUDA runs programs of an earlier one; 12 is the last that DeepDRR 1.2.2 names.
    return (f"deepdrr[cuda{min(cuda[0], 12)}x]=={VERSION}", *_REQUIREMENTS)


def base_python() -> Path:
    """A Python that can hold DeepDRR.

    Raises
    ------
    SyntheXError
        When there is none.
    """
    own = Path(sys.executable)
    # Slicer's makes no environments; it is called PythonSlicer, or python-real where that started it.
    slicers = "slicer" in own.name.lower() or "SLICER_HOME" in os.environ
    if _PYTHONS[0] <= sys.version_info[:2] <= _PYTHONS[1] and not slicers:
        return own
    for minor in range(_PYTHONS[1][1], _PYTHONS[0][1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found:
            return Path(found)
    raise SyntheXError(
        "DeepDRR needs Python 3.10, 3.11 or 3.12 on the PATH (its numpy is below 2), found none: "
        f"install one, or name an interpreter that has DeepDRR in {VARIABLE}."
    )


def run_command(command: Sequence[str | Path], log: Path) -> int:
    """Run a command with its output in a file; returns the exit status. It ends with all its children whatever happens here."""
    with log.open("ab") as output:
        process = process_tree.start(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=process_tree.foreign_environment()
        )
        try:
            return int(process.wait())
        finally:
            process_tree.end(process)


def install_plan() -> tuple[Path, tuple[str, ...]]:
    """The Python that the environment is made with, and what pip is to install.

    Raises
    ------
    SyntheXError
        When there is no CUDA, the driver is too old, or there is no suitable Python.
    """
    cuda = driver_cuda()
    if cuda is None:
        raise SyntheXError(f"DeepDRR is not installed: {_no_cuda()}.")
    return base_python(), requirements(cuda)


def install(say: Callable[[str], None] = print) -> None:
    """Make the environment: a virtual environment with DeepDRR from the user's package index, some 6 GB. One that is there is replaced.

    Parameters
    ----------
    say
        Told what is going on.

    Raises
    ------
    SyntheXError
        When there is no CUDA or no suitable Python, or pip fails; then all is as before.
    """
    (base, packages), folder = install_plan(), environment_folder()
    # Built beside its place and moved there when it is whole; only the scripts in its bin folder, which are not used, keep the old path.
    part, old = (folder.with_name(f".{folder.name}.{name}") for name in ("part", "old"))
    with disk_errors(folder):
        for leftover in (part, old):  # of a run that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            part.mkdir(parents=True)
            log = part / "install.log"
            say(f"making an environment with {base} ...")
            if run_command([base, "-m", "venv", "--clear", part / "python"], log):
                raise SyntheXError(f"Cannot make an environment with {base}: {_last_line(log)}.")
            say(f"installing {', '.join(packages)} (some 6 GB) ...")
            pip: list[str | Path] = [_python_in(part / "python"), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
            if run_command([*pip, "--progress-bar", "off", *packages], log):
                raise SyntheXError(f"pip could not install DeepDRR: {_last_line(log)}.")
            if folder.exists():
                folder.rename(old)
            (part / "python").rename(folder)
        except BaseException:
            if old.exists() and not folder.exists():
                old.rename(folder)
            raise
        finally:
            for leftover in (part, old):
                _remove(leftover)
    forget_test(_python_in(folder))


def _remove(folder: Path) -> None:
    """Remove a folder, into which a process that is being killed may still put its last file."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def _python_in(folder: Path) -> Path:
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


def _no_cuda() -> str:
    if sys.platform == "darwin":
        return "a Mac has no CUDA, and DeepDRR renders with CUDA alone"
    return "this machine has no CUDA (nvidia-smi finds no NVIDIA driver), and DeepDRR renders with CUDA alone"


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR")] or lines
    return errors[-1].rstrip(".")[:300] if errors else "it gave no message"
