"""A real MRML scene, as the logics find it in Slicer, and panels in the stand-in for its window.

SLICER_PYTHON_DIR    Base/Python/slicer of a checkout of Slicer/Slicer; without it tests of panels are skipped
SYNTHEX_INSTALLED    1: build and install the extension first, and load modules and library from there, not from the sources
SYNTHEX_SCREENSHOTS  folder for pictures of the panels
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cmake_build
import pytest

_NOT_GIVEN = "SLICER_PYTHON_DIR is not set: give Base/Python/slicer of a checkout of Slicer/Slicer to test the panels"


def _install() -> Path:
    """Install the extension, and let this process and its children find it there alone."""
    work = tempfile.TemporaryDirectory(prefix="synthex-installed-")
    _kept.append(work)
    if any(name.startswith("SyntheX") for name in sys.modules):
        raise RuntimeError("SYNTHEX_INSTALLED: the extension was imported before it was installed")
    try:
        definitions, slicer = cmake_build.macro_definitions(), cmake_build.MACROS
    except LookupError:  # no checkout with Slicer's macros
        definitions, slicer = [], cmake_build.STUB
    folder = cmake_build.install(cmake_build.ROOT, Path(work.name), *definitions, slicer=slicer)
    sources = {str(cmake_build.ROOT / module) for module in cmake_build.MODULES}
    sys.path[:] = [str(folder), *(path for path in sys.path if path not in sources)]
    inherited = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path not in sources]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *inherited])
    return folder


_kept: list[tempfile.TemporaryDirectory[str]] = []  # removed when Python ends
INSTALLED = _install() if os.environ.get("SYNTHEX_INSTALLED") == "1" else None


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say at the end when panels were not tested: a skip is easily overlooked."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if _NOT_GIVEN in str(report.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests of the panels did NOT run. {_NOT_GIVEN}.", yellow=True)


@pytest.fixture(scope="session")
def slicer_core() -> ModuleType:
    """The package `slicer` of slicer-core with a scene and `slicer.modules`."""
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")
    from SyntheXHomeLib.headless import ensureScene

    ensureScene()
    return slicer


@pytest.fixture
def scene(slicer_core: ModuleType) -> Iterator[Any]:
    """An empty scene; emptied again afterwards. VTK tells its errors to a window, not to Python: any is a failure."""
    import vtk

    before, window = vtk.vtkOutputWindow.GetInstance(), vtk.vtkStringOutputWindow()
    vtk.vtkOutputWindow.SetInstance(window)
    yield slicer_core.mrmlScene
    slicer_core.mrmlScene.Clear(0)
    vtk.vtkOutputWindow.SetInstance(before)
    assert window.GetOutput() == ""


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stand-in for a trained network, which any model file loads as."""
    from infer_network import Network

    from SyntheXLib.inference.predictor import Predictor

    network = Network()
    monkeypatch.setattr(Predictor, "load", lambda path, device="auto", views=("plain",): network)
    return network


@pytest.fixture
def xray(scene: Any, slicer_core: ModuleType) -> Any:
    """A turned image of 12 x 16 pixels of 0.5 x 0.7 mm."""
    import numpy as np
    from infer_network import IJK_TO_RAS

    return slicer_core.util.addVolumeFromArray(np.arange(12 * 16, dtype=np.uint8).reshape(1, 12, 16), IJK_TO_RAS, "X-ray")


@pytest.fixture(scope="session")
def slicer_gui(slicer_core: ModuleType) -> Iterator[ModuleType]:
    """The stand-in for Slicer's application (see `standin`); modules come from the installed extension where there is one."""
    folder = os.environ.get("SLICER_PYTHON_DIR")
    if not folder:
        pytest.skip(_NOT_GIVEN)
    if not Path(folder, "ScriptedLoadableModule.py").is_file():
        pytest.fail(f"SLICER_PYTHON_DIR is {folder}, which holds no ScriptedLoadableModule.py")
    pytest.importorskip("PySide6", reason="PySide6 is not installed (pip install 'PySide6-Essentials!=6.12.0')")
    from standin import application

    application.installed = INSTALLED
    application.start(slicer_core.mrmlScene)
    yield slicer_core
    if INSTALLED:
        files = [
            module.__file__ for name, module in sys.modules.items() if name.startswith("SyntheX") and getattr(module, "__file__", None)
        ]
        assert [file for file in files if not Path(str(file)).is_relative_to(INSTALLED)] == []


@pytest.fixture
def load(slicer_gui: ModuleType, scene: Any) -> Iterator[Callable[[str], tuple[ModuleType, Any, Any]]]:
    """Load a module by name: (Python module, widget, panel)."""
    from standin.application import load_module

    loaded: list[Any] = []

    def load_by_name(name: str) -> tuple[ModuleType, Any, Any]:
        loaded.append(load_module(cmake_build.ROOT / name / f"{name}.py"))
        found: tuple[ModuleType, Any, Any] = loaded[-1]
        return found

    yield load_by_name
    for _, widget, _ in loaded:
        if getattr(widget, "parameters", None) is not None:
            widget.cleanup()  # else it would go on with the scene of the next test


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve views of 32 pixels with squares as bones; no ray was cast for it."""
    import numpy as np

    from SyntheXLib.datasets.format import DatasetHeader, write_header
    from SyntheXLib.datasets.writer import write_shard
    from SyntheXLib.tasks.task import load_task

    folder, task, rng = tmp_path_factory.mktemp("data"), load_task("hip"), np.random.default_rng(0)
    configuration = {"image_size": 32, "pixel_spacing_mm": 8.0, "source_to_detector_mm": 1020.0}
    write_header(folder, DatasetHeader(task, ({"name": "squares"},), configuration, 0, 12, 50))
    views = []
    for _ in range(12):
        mask = np.zeros((32, 32), np.uint16)
        mask[8:24, 8:24] = 1
        views.append(
            {
                "image": (1.0 - 0.5 * mask + 0.01 * rng.random((32, 32))).astype(np.float32),
                "mask": mask,
                "landmark": rng.uniform(4, 28, (14, 2)).astype(np.float32),
                "landmark_visible": np.ones(14, bool),
                "world_to_camera": np.eye(4),
                "intrinsics": np.eye(3),
                "parameters": {"source_to_isocenter_mm": 700.0},
            }
        )
    write_shard(folder, 0, 0, views, 1.0)
    return folder


@pytest.fixture
def remembered(slicer_gui: ModuleType, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the application remembers, empty at first."""
    kept: dict[str, str] = {}
    store = SimpleNamespace(value=lambda key, default=None: kept.get(key, default), setValue=kept.__setitem__)
    monkeypatch.setattr(slicer_gui.app, "userSettings", lambda: store, raising=False)
    return kept


@pytest.fixture
def train(load: Any, remembered: dict[str, str]) -> Iterator[SimpleNamespace]:
    """The panel, with no training and no data set chosen."""
    module, widget, panel = load("SyntheXTrain")
    panel.resize(400, 1000)
    panel.show()
    yield SimpleNamespace(module=module, widget=widget, panel=panel, ui=widget.ui, remembered=remembered)
    widget.cleanup()
