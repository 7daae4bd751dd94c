"""The extension configured, built and installed by CMake, without Slicer."""

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("SyntheX", "SyntheXSimulate", "SyntheXTrain", "SyntheXInfer")
STUB, MACROS = (Path(__file__).with_name(name) for name in ("slicer_stub", "slicer_macros"))
LAUNCHER = Path(__file__).with_name("standin") / "launcher.py"
SCRIPTED_MODULES = Path("lib/Slicer-5.12/qt-scripted-modules")
AVAILABLE = bool(shutil.which("cmake") and (shutil.which("cc") or os.name == "nt"))


def cmake(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run cmake."""
    return subprocess.run(["cmake", *map(str, arguments)], capture_output=True, text=True)


def configure(source: Path, work: Path, *definitions: str, slicer: Path = STUB) -> subprocess.CompletedProcess[str]:
    """Configure `source` in ``work/build``; `slicer` is the folder of a SlicerConfig.cmake."""
    return cmake("-S", source, "-B", work / "build", f"-DSlicer_DIR={slicer}", "-DBUILD_TESTING=ON", *definitions)


def install(source: Path, work: Path, *definitions: str, slicer: Path = STUB) -> Path:
    """Configure, build and install into ``work/installed``; gives the folder in which Slicer would find the modules.

    Raises
    ------
    RuntimeError
        With what cmake said, when a step fails.
    """
    prefix = work / "installed"
    steps = (
        lambda: configure(source, work, *definitions, slicer=slicer),
        lambda: cmake("--build", work / "build"),
        lambda: cmake("--install", work / "build", "--prefix", prefix),
    )
    for step in steps:
        done = step()
        if done.returncode != 0:
            raise RuntimeError(done.stdout + done.stderr)
    return prefix / SCRIPTED_MODULES


def macro_definitions() -> list[str]:
    """What `MACROS` needs to know, from the environment: where Slicer's and CTK's sources are.

    Raises
    ------
    LookupError
        With a sentence that says which is not given.
    FileNotFoundError
        When one that is given is no such checkout.
    """
    checkouts = {"SLICER_SOURCE_DIR": "SlicerMacroBuildScriptedModule.cmake", "CTK_SOURCE_DIR": "ctkMacroCompilePythonScript.cmake"}
    definitions = [f"-DPYTHON_EXECUTABLE={sys.executable}", f"-DSLICER_LAUNCHER={sys.executable};-S;{LAUNCHER}"]
    for name, file in checkouts.items():
        folder = os.environ.get(name)
        if not folder:
            raise LookupError(f"{name} is not set: give checkouts of Slicer/Slicer and commontk/CTK to build with Slicer's own macros")
        if not Path(folder, "CMake", file).is_file():
            raise FileNotFoundError(f"{name} is {folder}, which holds no CMake/{file}")
        definitions.append(f"-D{name}={folder}")
    return definitions


def path_environment(folder: Path) -> dict[str, str]:
    """Environment for ``python -S`` in which the extension is found in `folder` alone.

    -S leaves out site-packages with an editable install of this checkout; the packages that the library needs come back by path.
    """
    site = [path for path in sys.path if path.endswith("site-packages")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *site])}


def bare_environment(folder: Path, site: Path) -> dict[str, str]:
    """As `path_environment`, with no package but what a fresh Slicer has and the stand-in needs: links in the new folder `site`."""
    site.mkdir()
    for name in ("numpy", "SimpleITK", "vtk", "pydicom", "slicer-core", "PySide6-Essentials", "shiboken6"):
        distribution = metadata.distribution(name)
        for part in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            if not (site / part).exists():
                (site / part).symlink_to(str(distribution.locate_file(part)))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(site)])}
