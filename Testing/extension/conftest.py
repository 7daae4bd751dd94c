"""A real MRML scene, as the logics find it in Slicer."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


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


@pytest.fixture(scope="session")
def slicer_gui(slicer_core: ModuleType) -> ModuleType:
    """The stand-in for Slicer's application (see `standin`)."""
    folder = os.environ.get("SLICER_PYTHON_DIR")
    if not folder:
        pytest.skip("SLICER_PYTHON_DIR is not set: give Base/Python/slicer of a checkout of Slicer/Slicer to test the panels")
    if not Path(folder, "ScriptedLoadableModule.py").is_file():
        pytest.fail(f"SLICER_PYTHON_DIR is {folder}, which holds no ScriptedLoadableModule.py")
    pytest.importorskip("PySide6", reason="PySide6 is not installed (pip install 'PySide6-Essentials==6.11.*')")
    from standin import application

    application.start(slicer_core.mrmlScene)
    return slicer_core


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
def load(slicer_gui: ModuleType, scene: Any) -> Any:
    """Load a module by name: (Python module, widget, panel)."""
    from standin.application import load_module

    return lambda name: load_module(Path(__file__).resolve().parents[2] / name / f"{name}.py")


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
