"""What must be importable before any pip package is installed: nothing heavy at file scope."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("SyntheX", "SyntheXSimulate", "SyntheXTrain", "SyntheXInfer")

# Slicer has numpy, SimpleITK, vtk and pydicom; what pip would bring is made unfindable.
BLOCK = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{name} is not installed (blocked by the test)", name=name)
sys.meta_path.insert(0, Blocker())
"""
BLOCKED = ["torch", "monai", "ignite", "tensorboard", "h5py", "skimage", "scipy", "llvmlite", "tqdm", "matplotlib", "pandas"]
BLOCKED += ["submitit", "xraylib", "warp", "numba"]


def run(code: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([*(str(ROOT / module) for module in MODULES), str(ROOT / "Testing/extension")])
    environment = {**os.environ, "PYTHONPATH": path}
    source = f"BLOCKED = {BLOCKED!r}\n{BLOCK}\n{code}"
    return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, env=environment)


def test_the_library_but_its_torch_packages_imports_without_pip_packages() -> None:
    done = run("import unittest, SyntheXImportTest as m; sys.exit(not unittest.main(m, argv=['x'], exit=False).result.wasSuccessful())")
    assert done.returncode == 0, done.stderr


def test_the_logics_import_and_start_without_pip_packages() -> None:
    pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
    done = run(
        "from SyntheXHomeLib.logic import SyntheXLogic\n"
        "from SyntheXSimulateLib.logic import SyntheXSimulateLogic\n"
        "from SyntheXTrainLib.logic import SyntheXTrainLogic\n"
        "from SyntheXInferLib.logic import SyntheXInferLogic\n"
        "SyntheXLogic().sampleNames(), SyntheXLogic().packages(), SyntheXSimulateLogic().taskNames()\n"
        "SyntheXTrainLogic(), SyntheXInferLogic()\n"
    )
    assert done.returncode == 0, done.stderr


def imported(path: Path, names: str) -> list[str]:
    """Lines of a file that import one of the top-level names (a regular expression)."""
    return [match.group() for match in re.finditer(rf"^\s*(import|from) ({names})\b.*$", path.read_text(encoding="utf-8"), re.MULTILINE)]


def test_no_package_imports_at_file_scope_what_stands_above_or_beside_it() -> None:
    modules = "|".join(f"{module}Lib" for module in MODULES[1:])
    below = {"SyntheXLib": f"SyntheXHomeLib|{modules}", "SyntheXHomeLib": modules}
    beside = {f"{module}Lib": "|".join(f"{other}Lib" for other in MODULES[1:] if other != module) for module in MODULES[1:]}
    for package, others in (below | beside).items():
        for path in ROOT.glob(f"SyntheX*/{package}/**/*.py"):
            assert not [line for line in imported(path, others) if not line[0].isspace()], path


def reached(start: str) -> set[Path]:
    """Files of the modules' packages that one of them imports, by itself or through others, at file scope or later."""
    folders = {path.name: path for path in ROOT.glob("SyntheX*/SyntheX?*Lib")}
    found: set[Path] = set()
    names = [start]
    while names:
        name = names.pop()
        path = folders[name.partition(".")[0]].joinpath(*name.split(".")[1:]).with_suffix(".py")
        if path in found or not path.is_file():
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in folders:
                names += [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names += [alias.name for alias in node.names if alias.name.partition(".")[0] in folders]
    return found


@pytest.mark.parametrize("package", ["SyntheXHomeLib", "SyntheXSimulateLib", "SyntheXTrainLib", "SyntheXInferLib"])
def test_a_logic_and_what_it_needs_import_neither_qt_nor_the_scripted_module_classes(package: str) -> None:
    files = reached(f"{package}.logic")
    assert ROOT / package.replace("HomeLib", "").replace("Lib", "") / package / "logic.py" in files
    assert {path.name: lines for path in files if (lines := imported(path, r"qt|ctk|slicer\.ScriptedLoadableModule"))} == {}


def test_the_library_imports_neither_slicer_nor_qt_nor_a_logic() -> None:
    files = list((ROOT / "SyntheX/SyntheXLib").rglob("*.py"))
    assert {path.name: lines for path in files if (lines := imported(path, r"slicer|qt|ctk|SyntheX\w+Lib"))} == {}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_file_stays_short(module: str) -> None:
    assert len((ROOT / module / f"{module}.py").read_text(encoding="utf-8").splitlines()) <= 150
