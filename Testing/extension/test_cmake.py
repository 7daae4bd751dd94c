"""The extension's CMake files, configured, built and installed against a stub of Slicer and with Slicer's own macros."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import cmake_build
import pytest
from cmake_build import MACROS, MODULES, ROOT, SCRIPTED_MODULES

pytestmark = pytest.mark.skipif(not cmake_build.AVAILABLE, reason="cmake or a C compiler (which project() looks for) is not installed")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the extension, to be changed by the test."""
    copy = tmp_path / "source"
    for folder in (*MODULES, "Testing"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    shutil.copy(ROOT / "CMakeLists.txt", copy)
    return copy


def configure(source: Path) -> subprocess.CompletedProcess[str]:
    return cmake_build.configure(source, source.parent)


def files_under(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def files_of_the_modules(source: Path) -> set[str]:
    return set().union(*(files_under(source / module) for module in MODULES)) - {"CMakeLists.txt"}


def run_installed(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python as PythonSlicer finds an installed extension: by its folder alone, and not in a folder of the sources."""
    command = [sys.executable, "-S", *arguments]
    environment = cmake_build.path_environment(installed)
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment, cwd=installed.parent)


def test_the_installed_extension_holds_every_file_of_the_modules(source: Path) -> None:
    expected = files_of_the_modules(source)
    assert files_under(cmake_build.install(source, source.parent)) == expected
    assert {"SyntheXInfer.py", "SyntheXLib/tasks/hip.toml", "SyntheXLib/py.typed", "Resources/UI/SyntheXTrain.ui"} <= expected


@pytest.fixture
def macro_definitions() -> list[str]:
    try:
        return cmake_build.macro_definitions()
    except LookupError as error:
        pytest.skip(str(error))


def test_slicers_own_macros_install_every_file_and_compile_the_scripts(source: Path, macro_definitions: list[str]) -> None:
    expected = files_of_the_modules(source)
    compiled = {file + "c" for file in expected if file.endswith(".py")}
    installed = cmake_build.install(source, source.parent, *macro_definitions, slicer=MACROS)
    assert files_under(installed) == expected | compiled
    listed = subprocess.run(["ctest", "--show-only"], cwd=source.parent / "build", capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r": (py_\w+)", listed)) == (
        {f"py_{module}" for module in MODULES}
        | {f"py_nomainwindow_qSlicer{module}ModuleGenericTest" for module in MODULES}
        | {"py_SyntheXImportTest"}
    )


def test_slicers_own_macros_stop_at_a_listed_file_that_is_missing(source: Path, macro_definitions: list[str]) -> None:
    (source / "SyntheXTrain/Resources/UI/SyntheXTrain.ui").unlink()
    done = cmake_build.configure(source, source.parent, *macro_definitions, slicer=MACROS)
    assert done.returncode != 0
    assert "'Resources/UI/SyntheXTrain.ui'" in done.stderr


def test_the_installed_library_imports_from_the_install_folder_alone(source: Path) -> None:
    installed = cmake_build.install(source, source.parent)
    code = (
        "import sys, importlib.util\n"
        "import SyntheXLib, SyntheXHomeLib, SyntheXSimulateLib, SyntheXTrainLib, SyntheXInferLib\n"
        "from SyntheXLib.tasks.task import load_task\n"
        "print(load_task('hip').name, *(sys.modules[n].__file__ for n in sorted(sys.modules) if n.startswith('SyntheX')), sep='\\n')"
    )
    done = run_installed(installed, "-c", code)
    assert done.returncode == 0, done.stderr
    task, *paths = done.stdout.splitlines()
    assert task == "hip"
    assert all(Path(path).is_relative_to(installed) for path in paths)


def test_the_command_line_runs_from_the_install_folder(source: Path, tmp_path: Path) -> None:
    import numpy as np
    import SimpleITK as sitk

    installed = cmake_build.install(source, source.parent)
    hu = np.full((20, 20, 20), -1000, np.int16)
    hu[5:15, 5:15, 5:15] = 1000
    labels = np.zeros(hu.shape, np.uint8)
    labels[5:15, 5:15, 5:10], labels[5:15, 5:15, 10:15] = 77, 78  # TotalSegmentator's hips
    for name, array in (("ct", hu), ("labels", labels)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((8.0, 8.0, 8.0))
        sitk.WriteImage(image, str(tmp_path / f"{name}.nrrd"))
    files = ["--ct", str(tmp_path / "ct.nrrd"), "--labels", str(tmp_path / "labels.nrrd")]
    command = ["-m", "SyntheXLib.cli", "simulate", *files, "--count", "2", "--image-size", "32", "--workers", "1"]
    done = run_installed(installed, *command, "--out", str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    done = run_installed(installed, "-m", "SyntheXLib.cli", "dataset", "info", str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    assert re.search(r"\b2\b.*\b32\b", done.stdout, re.DOTALL), done.stdout


def test_a_new_file_of_a_module_is_installed_without_a_change_of_cmake(source: Path) -> None:
    cmake_build.install(source, source.parent)
    added = {"SyntheXLib/tasks/added.py": "SyntheX", "SyntheXLib/tasks/added.toml": "SyntheX", "Resources/Icons/added.png": "SyntheX"}
    added |= {f"{module}Lib/added.py": module for module in MODULES[1:]} | {"Resources/UI/added.ui": "SyntheXTrain"}
    for file, module in added.items():
        (source / module / file).write_text("", encoding="utf-8")
    build, prefix = source.parent / "build", source.parent / "again"
    for done in (cmake_build.cmake("--build", build), cmake_build.cmake("--install", build, "--prefix", prefix)):
        assert done.returncode == 0, done.stdout + done.stderr
    assert set(added) <= files_under(prefix / SCRIPTED_MODULES)


def test_a_listed_file_that_is_missing_stops_the_configure(source: Path) -> None:
    (source / "SyntheXTrain/Resources/UI/SyntheXTrain.ui").unlink()
    done = configure(source)
    assert done.returncode != 0
    assert "listed but missing: Resources/UI/SyntheXTrain.ui" in done.stderr


def test_a_file_of_a_kind_that_no_list_takes_stops_the_configure(source: Path) -> None:
    (source / "SyntheX/SyntheXLib/tasks/table.xlsx").write_text("", encoding="utf-8")
    done = configure(source)
    assert done.returncode != 0
    assert "present but unlisted: SyntheXLib/tasks/table.xlsx" in done.stderr


def test_two_modules_with_a_file_of_one_name_stop_the_configure(source: Path) -> None:
    (source / "SyntheXInfer/SyntheXTrainLib").mkdir()
    (source / "SyntheXInfer/SyntheXTrainLib/logic.py").write_text("", encoding="utf-8")
    lists = source / "SyntheXInfer/CMakeLists.txt"
    lists.write_text(lists.read_text(encoding="utf-8").replace("${MODULE_NAME}Lib/*.py", "*Lib/*.py"), encoding="utf-8")
    done = configure(source)
    assert done.returncode != 0
    assert "SyntheXTrainLib/logic.py is also a file of SyntheXTrain" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a right of their own there")
def test_the_modules_tests_pass_in_the_build_as_ctest_runs_them_with_and_without_pip_packages(
    source: Path, macro_definitions: list[str], slicer_gui: object, tmp_path: Path
) -> None:
    cmake_build.install(source, source.parent, *macro_definitions, slicer=MACROS)
    build = source.parent / "build"
    modules = build / SCRIPTED_MODULES
    bare, full = cmake_build.bare_environment(modules, tmp_path / "site"), cmake_build.path_environment(modules)
    # Slicer's generic tests make every panel: that needs no package.
    for environment, chosen, count in ((bare, "py_", 9), (full, "py_SyntheX", 5)):
        command = ["ctest", "--output-on-failure", "--tests-regex", f"^{chosen}"]
        done = subprocess.run(command, cwd=build, capture_output=True, text=True, encoding="utf-8", env=environment)
        assert done.returncode == 0, done.stdout
        assert f"100% tests passed, 0 tests failed out of {count}" in done.stdout
