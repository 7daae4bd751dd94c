"""A real MRML scene, as the logics find it in Slicer."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
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
