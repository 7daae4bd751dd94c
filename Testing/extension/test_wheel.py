"""The wheel that `pip install` makes of the project."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("SyntheX", "SyntheXSimulate", "SyntheXTrain", "SyntheXInfer")


@pytest.mark.slow
def test_the_wheel_carries_the_library_the_four_logic_packages_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", "77", reason="setuptools >= 77 is not installed; it builds the wheel")
    source = tmp_path / "source"
    for module in MODULES:
        shutil.copytree(ROOT / module, source / module, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", str(source), "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("synthex-*.whl")
    carried = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    packages = [folder for module in MODULES for folder in (source / module).glob("SyntheX*Lib")]
    assert {folder.name for folder in packages} == {
        "SyntheXLib", "SyntheXHomeLib", "SyntheXSimulateLib", "SyntheXTrainLib", "SyntheXInferLib",
    }  # fmt: skip
    expected = {path.relative_to(folder.parent).as_posix() for folder in packages for path in folder.rglob("*") if path.is_file()}
    assert carried == expected
    assert {"SyntheXLib/tasks/hip.toml", "SyntheXLib/py.typed", "SyntheXInferLib/logic.py"} <= carried
