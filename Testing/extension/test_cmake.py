"""The extension's CMake files, configured, built and installed against a stub of Slicer."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUB = Path(__file__).with_name("slicer_stub")
MODULES = ("SyntheX", "SyntheXSimulate", "SyntheXTrain", "SyntheXInfer")
SCRIPTED_MODULES = Path("lib/Slicer-5.12/qt-scripted-modules")

pytestmark = pytest.mark.skipif(
    not (shutil.which("cmake") and shutil.which("cc")), reason="cmake or a C compiler (which project() looks for) is not installed"
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the extension, to be changed by the test."""
    copy = tmp_path / "source"
    for folder in (*MODULES, "Testing"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    shutil.copy(ROOT / "CMakeLists.txt", copy)
    return copy


def cmake(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["cmake", *map(str, arguments)], capture_output=True, text=True)


def configure(source: Path) -> subprocess.CompletedProcess[str]:
    return cmake("-S", source, "-B", source.parent / "build", f"-DSlicer_DIR={STUB}", "-DBUILD_TESTING=ON")


def install(source: Path) -> Path:
    """Configure, build and install; the folder in which Slicer would find the modules."""
    build, prefix = source.parent / "build", source.parent / "installed"
    for done in (configure(source), cmake("--build", build), cmake("--install", build, "--prefix", prefix)):
        assert done.returncode == 0, done.stdout + done.stderr
    return prefix / SCRIPTED_MODULES


def files_under(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_installed_extension_holds_every_file_of_the_modules(source: Path) -> None:
    expected = set().union(*(files_under(source / module) for module in MODULES)) - {"CMakeLists.txt"}
    assert files_under(install(source)) == expected
    assert {"SyntheXInfer.py", "SyntheXLib/tasks/hip.toml", "SyntheXLib/py.typed", "Resources/UI/SyntheXTrain.ui"} <= expected


def test_the_installed_library_imports_from_the_install_folder_alone(source: Path) -> None:
    installed = install(source)
    code = (
        "import sys, importlib.util\n"
        "import SyntheXLib, SyntheXHomeLib, SyntheXSimulateLib, SyntheXTrainLib, SyntheXInferLib\n"
        "from SyntheXLib.tasks.task import load_task\n"
        "print(load_task('hip').name, *(sys.modules[n].__file__ for n in sorted(sys.modules) if n.startswith('SyntheX')), sep='\\n')"
    )
    # -S leaves out site-packages with the editable install of this checkout; the packages that the library needs come back by path.
    site = os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    environment = {**os.environ, "PYTHONPATH": f"{installed}{os.pathsep}{site}"}
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, env=environment, cwd=source.parent)
    assert done.returncode == 0, done.stderr
    task, *paths = done.stdout.splitlines()
    assert task == "hip"
    assert all(Path(path).is_relative_to(installed) for path in paths)


def test_a_new_file_of_the_library_is_installed_without_a_change_of_cmake(source: Path) -> None:
    install(source)
    (source / "SyntheX/SyntheXLib/tasks/added_later.py").write_text("", encoding="utf-8")
    (source / "SyntheX/SyntheXLib/tasks/added_later.toml").write_text("", encoding="utf-8")
    build, prefix = source.parent / "build", source.parent / "again"
    for done in (cmake("--build", build), cmake("--install", build, "--prefix", prefix)):
        assert done.returncode == 0, done.stdout + done.stderr
    assert {"added_later.py", "added_later.toml"} <= files_under(prefix / SCRIPTED_MODULES / "SyntheXLib/tasks")


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
    lists.write_text(lists.read_text(encoding="utf-8").replace("${MODULE_NAME}Lib/*.py", "*Lib/*.py"))
    done = configure(source)
    assert done.returncode != 0
    assert "SyntheXTrainLib/logic.py is also a file of SyntheXTrain" in done.stderr


def test_metadata_that_the_catalog_reads_stands_on_one_line_each() -> None:
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    values = dict(re.findall(r'^set\(EXTENSION_(\w+) "([^"]+)"\)$', text, re.MULTILINE))
    assert re.search(r"^project\(SyntheX\)$", text, re.MULTILINE)
    assert values["DEPENDS"] == "PyTorch"
    assert values["CATEGORY"] == "Image Synthesis"
    assert {"HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS"} <= set(values)
    for url in (values["ICONURL"], values["SCREENSHOTURLS"]):
        assert (ROOT / url.partition("/main/")[2]).is_file(), url
